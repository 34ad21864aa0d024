"""FrontEnd: what turns a waveform into the network's input, as a value."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

KINDS = ("logmel", "raw")
MEL_SCALES = ("htk", "slaney", "fant", "kaldi")
MEL_NORMS = ("none", "slaney")
LOGS = ("ln", "log10")
AUDIOSET_MEAN, AUDIOSET_DEVIATION = -4.5, 5.0
STANDARDISATIONS = ("none", "sample", "frequency", "global", "audioset")


@dataclass(frozen=True)
class FrontEnd:
    """A front end by its parameters; the defaults are those of the DCASE 2024 baseline.

    Rates in Hz, lengths in samples, ``seconds`` the length of one input window of ``channels`` channels.

    Both kinds: the waveform times ``scale``; with ``pre_emphasis`` c > 0, x[t] - c x[t-1], which drops the first sample.
    ``raw`` is then ready; all but ``standardise`` of what follows concerns ``logmel`` alone.

    Frames of ``n_fft`` samples every ``hop``, a periodic Hann window of ``window`` samples in their middle; with
    ``centre`` around each hop's sample, the ends reflected, without only where they fit whole. Power spectrum, ``mels``
    triangular filters from ``fmin_hz`` to ``fmax_hz`` (0: half the rate), ``log`` of (power + ``log_floor``).

    ``mel_scale``: ``htk`` 2595 log10(1 + f / 700); ``slaney`` linear below 1 kHz, logarithmic above; ``fant``
    1000 log2(1 + f / 1000), which vivo's report has; ``kaldi``, HTK's curve with triangles straight in mel, not in Hz.
    ``mel_norm``: ``slaney`` divides each filter by half its width in Hz.

    ``deltas`` adds the slope over five frames as further channels. ``standardise``: ``sample`` gives every channel of
    every window mean 0 and deviation 1; ``frequency`` and ``global`` do so with statistics of the training part, by
    mel bin or by channel, which ``standardise.Standardise`` holds. ``audioset``, for log-mels, is (x - AUDIOSET_MEAN) /
    AUDIOSET_DEVIATION, as EfficientAT's taggers have it.
    """

    rate_hz: int = 32_000
    window: int = 3072
    hop: int = 500
    n_fft: int = 4096
    mels: int = 256
    fmin_hz: float = 0.0
    fmax_hz: float = 0.0
    log_floor: float = 1e-5
    seconds: float = 1.0
    kind: str = "logmel"
    channels: int = 1
    scale: float = 1.0
    pre_emphasis: float = 0.0
    centre: bool = True
    mel_scale: str = "htk"
    mel_norm: str = "none"
    log: str = "ln"
    deltas: bool = False
    standardise: str = "none"

    @property
    def samples(self) -> int:
        """Samples in one input window, before pre-emphasis."""
        return round(self.rate_hz * self.seconds)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Network input (channel, freq, time); a raw waveform has one row of samples."""
        samples = self.samples - (self.pre_emphasis > 0)
        if self.kind == "raw":
            return (self.channels, 1, samples)
        return (self.channels * (1 + self.deltas), self.mels, self.frames(samples))

    def frames(self, samples: int) -> int:
        """Frames of ``samples`` samples after pre-emphasis: 1 + samples // hop, or 1 + (samples - n_fft) // hop."""
        return 1 + (samples if self.centre else samples - self.n_fft) // self.hop

    @property
    def fill(self) -> float:
        """What a mask writes into the front end's output: silence, or the mean where that is standardised."""
        if self.kind == "raw" or self.standardise != "none":
            return 0.0
        return math.log10(self.log_floor) if self.log == "log10" else math.log(self.log_floor)

    @property
    def needs_statistics(self) -> bool:
        """Whether it is standardised with statistics of the training part, which belong to the trained model."""
        return self.standardise in ("frequency", "global")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> FrontEnd:
        """The front end of ``to_json``'s dict; keys it lacks (older files) have their defaults."""
        return FrontEnd(**data)
