"""Candidates to choose from, with their prices: random points of the space, priced once, and variations of known ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asc_search.nets.spec import Scalar
from asc_search.oracle.batch import price_columns
from asc_search.oracle.budget import assess, macs_per_second
from asc_search.oracle.to_budget import fitted
from asc_search.space.columns import Column, Columns, draw_columns, known_columns, recorded
from asc_search.space.draw import FixedSuggest, draw
from asc_search.space.encoding import encoded
from asc_search.space.space import Space
from asc_search.study.pareto import Point

POOL = 8192  # random points priced at once: far cheaper each than alone
ERA = 256  # draws that share a pool
TRIES = 8  # pools drawn until some point is within the budget
FEW = 24  # up to which points are priced one by one
LEAST_COST = 1e-4  # of a limit
CHANGED = 0.12  # share of a variation's parameters that are drawn anew, one at least


@dataclass(frozen=True)
class Priced:
    """n points: their costs over their limits (n, k) in the order of the space's objectives, and where they fit (n,)."""

    costs: np.ndarray
    fits: np.ndarray


Pricer = Callable[[Columns], Priced]


@dataclass(frozen=True)
class Points:
    """n points of a space within its budget: ``columns``, ``features`` (n, d), log prices (n, k) and costs (n, k)."""

    columns: Columns
    features: np.ndarray
    costs: np.ndarray

    @property
    def prices(self) -> np.ndarray:
        """The logarithms of the costs."""
        return log_costs(self.costs)


def relative_costs(space: Space, costs: Mapping[str, Any]) -> list[Any]:
    """The costs among the objectives over their limits; ``costs`` has ``macs`` (per second), ``params``, ``weight_bytes``."""
    limits = {"macs": space.budget.macs, "weight_bytes": space.budget.weight_bytes, "params": space.budget.weight_bytes}
    return [costs[name] / limits[name] for name in space.objectives if name != "accuracy"]


def as_point(space: Space, accuracy: float, cost: Mapping[str, int]) -> Point:
    """The objectives minimised, error first, costs scaled to their limits: what ranking compares."""
    return (1 - accuracy, *relative_costs(space, cost))


def log_costs(costs: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(costs, LEAST_COST))


def pricer_of(space: Space, classes: int) -> Pricer:
    """Prices points of ``space`` for ``classes`` classes by closed forms."""
    names = [name for name in space.objectives if name != "accuracy"]

    def one_by_one(columns: Columns, count: int) -> Priced:
        costs, fits = np.zeros((count, len(names))), np.zeros(count, bool)
        for index in range(count):
            candidate = fitted(draw(space, FixedSuggest(recorded(space, columns, index)), classes), space.budget)
            found = assess(candidate, space.budget)
            fits[index] = found.verdict.fits
            if (cost := found.cost) is not None:
                seconds = candidate.frontend.seconds
                known = {"macs": macs_per_second(cost.macs, seconds), "params": cost.params}
                known["weight_bytes"] = cost.weight_bytes(candidate.weight_type)
                costs[index] = relative_costs(space, known)
        return Priced(costs, fits)

    def price(columns: Columns) -> Priced:
        count = len(next(iter(columns.values())).drawn)
        if count <= FEW:
            return one_by_one(columns, count)
        found = price_columns(space, columns, classes)
        known = {"macs": found.macs_per_second, "weight_bytes": found.weight_bytes, "params": found.params}
        costs = relative_costs(space, known)
        return Priced(np.stack(costs, axis=1) if costs else np.zeros((count, 0)), found.fits)

    return price


class Pool:
    """Random points of ``space`` within its budget, and a rough price for any other."""

    def __init__(self, space: Space, price: Pricer, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.points: Points | None = None
        for _ in range(TRIES):
            columns = draw_columns(space, rng, POOL)
            priced = price(columns)
            rows = np.flatnonzero(priced.fits)
            if len(rows):
                features = encoded(space, columns)
                self.points = Points(rows_of(columns, rows), features[rows], priced.costs[rows])
                known = np.flatnonzero((priced.costs > 0).all(axis=1))
                self._rough = np.linalg.lstsq(_with_one(features[known]), log_costs(priced.costs[known]), rcond=None)[0]
                break

    def rough_costs(self, features: np.ndarray) -> np.ndarray:
        """Costs (n, k) by a linear fit of their logarithms."""
        return np.exp(_with_one(features) @ self._rough)


_POOLS: dict[tuple[str, int], Pool] = {}


def pool_for(space: Space, key: str, price: Pricer, seed: int) -> Pool:
    """The pool for a seed, made once in a process; ``key`` says of what space it is and how priced."""
    if (key, seed) not in _POOLS:
        while len(_POOLS) >= 4:
            del _POOLS[next(iter(_POOLS))]
        _POOLS[key, seed] = Pool(space, price, seed)
    return _POOLS[key, seed]


def variations(
    space: Space, records: Sequence[Mapping[str, Scalar]], rng: np.random.Generator, count: int
) -> tuple[Columns, np.ndarray]:
    """``count`` points that differ from one of ``records`` in a few parameters each, and their features."""
    chosen = rng.integers(len(records), size=count)
    known = known_columns(space, [records[parent] for parent in chosen])
    names = list(known)
    anew = rng.random((len(names), count)) < CHANGED
    anew[rng.integers(len(names), size=count), np.arange(count)] = True
    kept = {name: (known[name][0] & ~anew[row], known[name][1]) for row, name in enumerate(names)}
    columns = draw_columns(space, rng, count, kept)
    return columns, encoded(space, columns)


def rows_of(columns: Columns, rows: np.ndarray) -> dict[str, Column]:
    """The points ``rows`` of ``columns``."""
    return {name: column.rows(rows) for name, column in columns.items()}


def _with_one(features: np.ndarray) -> np.ndarray:
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)
