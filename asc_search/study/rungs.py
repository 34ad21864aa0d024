"""Epoch rungs: who goes on to more epochs. Optuna has no pruning for several objectives, so this is our own.

Asynchronous successive halving (Li et al. 2020, ASHA) with non-dominated ranking instead of one score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def promoted(index: int, order: Sequence[int], reduction: int) -> bool:
    """Whether trial ``index`` goes on: it is among the best ``1/reduction`` (rounded up) of all that reached this rung.

    ``order`` holds the indices of these trials from best to worst.
    """
    return index in order[: math.ceil(len(order) / reduction)]
