"""Learning-rate schedules as factors of the peak rate, over the share of the training that is done.

Everything is a share of the training, so a schedule means the same for 30 epochs and for 800, and can be searched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from asc_search.errors import AscSearchError
from asc_search.space.candidate import Training

RAMPS = {
    "linear": lambda done: done,
    "exponential": lambda done: math.exp(-5 * (1 - done) ** 2),  # CP-JKU 2023
}
FALLS = {
    "constant": lambda done, final: 1.0,
    "cosine": lambda done, final: final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))),
    "linear": lambda done, final: 1 - (1 - final) * min(1.0, done),
    "inverse": lambda done, final: 1 / (1 + (1 / final - 1) * min(1.0, done)),
    "steps": lambda done, final: final ** (1 + math.floor(done + 1e-9)),  # the sum of two shares may lack the last bit
}


@dataclass(frozen=True)
class Schedule:
    """Rise, hold, fall, stay: a factor of the peak rate for each point of the training.

    The rate rises over the share ``warmup`` from ``start`` (``linear``) or from e^-5 (``exponential``), stays at the peak
    for the share ``hold``, and falls as ``kind`` says over the share ``fall`` (0: all that is left; more than is left:
    the end is cut off) to ``final``, where it stays. ``steps`` instead multiplies the rate by ``final`` at the end of the
    hold and after each further ``fall``.
    """

    kind: str = "cosine"
    ramp: str = "linear"
    start: float = 0.0
    warmup: float = 0.0
    hold: float = 0.0
    fall: float = 0.0
    final: float = 0.0

    def __call__(self, progress: float) -> float:
        """The factor when the share ``progress`` in [0, 1] of the training is done."""
        if progress < self.warmup:
            rise = RAMPS[self.ramp](progress / self.warmup)
            return self.start + (1 - self.start) * rise
        fallen = progress - self.warmup - self.hold
        if fallen < 0:
            return 1.0
        return FALLS[self.kind](fallen / (self.fall or max(1e-9, 1 - self.warmup - self.hold)), self.final)


# The published schedules, by report (their peak rates differ). Where a report counts steps, the share is that of its own
# training: 150 epochs of 546 batches for the DCASE2024 baseline (139,620 clips by 256), 200 of 184 for Seoul (9,185 by 50).
PUBLISHED = {
    # 300 of 800 epochs up, then down from 1e-3 to 1e-5; the rise is said to be exponential only: read as CP-JKU's.
    "vivo": Schedule("linear", "exponential", warmup=300 / 800, final=0.01),
    # 750 epochs: up for 100 (read as the exponential of 2023), held to 250, down over 400.
    "cpjku2022": Schedule("linear", "exponential", warmup=100 / 750, hold=150 / 750, fall=400 / 750, final=0.005),
    # 150 epochs: up for 14, held to 50, down over 84.
    "cpjku2023": Schedule("linear", "exponential", warmup=14 / 150, hold=36 / 150, fall=84 / 150, final=0.005),
    # Also SJTU-THU's fine-tuning.
    "baseline2024": Schedule("cosine", warmup=2000 / (150 * 546)),
    # timm's cosine over 100 epochs after 5 of warm-up from 5e-5 to 1e-3: the 100 epochs trained cut off its last 5.
    "scut": Schedule("cosine", start=0.05, warmup=5 / 100, fall=100 / 100, final=1e-3),
    # 70 epochs, x 0.2 at 20 and 50.
    "seoul_raw": Schedule("steps", hold=20 / 70, fall=30 / 70, final=0.2),
    # 60 epochs, x 0.2 at 15, 30 and 45.
    "seoul_student": Schedule("steps", hold=15 / 60, fall=15 / 60, final=0.2),
    # 1 / (1 + 1e-4 t) for each batch t.
    "seoul_mel": Schedule("inverse", final=1 / (1 + 1e-4 * 200 * 184)),
}


def schedule_of(training: Training) -> Schedule:
    """The schedule ``training`` names: a published one as it is, or a shape with the other fields' shares.

    Raises:
        AscSearchError: a name that does not exist, or ``inverse`` to 0, which it never reaches.
    """
    names = {"schedule": (training.schedule, [*FALLS, *PUBLISHED]), "ramp": (training.ramp, [*RAMPS])}
    for key, (value, known) in names.items():
        if value not in known:
            raise AscSearchError(f"training.{key}: {value!r} is not known; use one of {', '.join(known)}")
    if training.schedule in PUBLISHED:
        return PUBLISHED[training.schedule]
    if training.schedule == "inverse" and training.final_lr <= 0:
        raise AscSearchError("training.final_lr: the schedule 'inverse' never reaches 0; set a value above 0")
    return Schedule(
        training.schedule,
        training.ramp,
        warmup=training.warmup,
        hold=training.hold,
        fall=training.fall,
        final=training.final_lr,
    )
