"""Learning-rate schedules as factors of the peak rate."""

from __future__ import annotations

import math


def warmup_cosine(progress: float, warmup: float) -> float:
    """Linear from 0 to 1 over the share ``warmup`` of the training, then cosine to 0; ``progress`` in [0, 1]."""
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / max(1e-9, 1 - warmup)))
