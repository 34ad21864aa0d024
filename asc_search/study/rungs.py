"""Epoch rungs: who goes on to more epochs. Optuna has no pruning for several objectives, so this is our own.

Asynchronous successive halving (Li et al. 2020, ASHA) where a candidate competes with those of about its own price alone.
After few epochs small networks lead, since they learn faster: ranked together, by non-domination too, the large ones would
stop at the first rung, and the front would have its cheap end only. And a rung after which the order says little of the last
one's stops nobody (``TELLS``): where two of three stop by luck, the best are lost with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from asc_search.study.pareto import Point

PEERS = 8  # whom a candidate competes with
LEAST_COST = 1e-6
TELLS = 0.6  # correlation with the last rung's measurements from which a rung stops candidates


def goes_on(mine: Point, others: Sequence[Point], reduction: int) -> bool:
    """Whether a candidate goes on from a rung: its error is among the lowest ``1/reduction`` (rounded up) of its own and its
    peers'.

    Points are (error, costs over their limits ...). The peers are the ``PEERS`` nearest of ``others``, those that reached the
    rung, by the logarithms of their costs; all of them where the error is the only objective.
    """
    if not others:
        return True
    points = np.array([mine, *others])
    if len(mine) > 1:
        prices = np.log(np.maximum(points[:, 1:], LEAST_COST))
        apart = ((prices[1:] - prices[0]) ** 2).sum(axis=1)
        points = points[np.concatenate([[0], 1 + np.argsort(apart, kind="stable")[:PEERS]])]
    better = int((points[1:, 0] < points[0, 0]).sum())
    return better < math.ceil(len(points) / reduction)
