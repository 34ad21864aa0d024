"""Epoch rungs: who goes on to more epochs. Optuna has no pruning for several objectives, so this is our own.

Asynchronous successive halving (Li et al. 2020, ASHA) with non-dominated ranking instead of one score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from asc_search.study.pareto import Point, ranking


def promoted(mine: Point, others: Sequence[Point], reduction: int, reference: Point) -> bool:
    """Whether a trial goes on: it is among the best ``1/reduction`` of all trials that reached this rung so far.

    Points are minimised objectives at the rung; ``reference`` bounds the hypervolume that breaks ties within a front.
    """
    points = [*others, mine]
    kept = math.ceil(len(points) / reduction)
    return len(points) - 1 in ranking(points, reference)[:kept]
