"""A simulated table: a space's own candidates and prices, with a made-up accuracy in place of the training.

What it imitates: more computation and more parameters help with diminishing returns; families, options and their
combinations matter; the learning rate has a best value; larger networks learn more slowly, so that short rungs favour small
ones; and a measurement on a few hundred clips is noisy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from asc_search.bench.tables import Table
from asc_search.space.columns import draw_columns, known_columns
from asc_search.space.encoding import encoded
from asc_search.space.space import Space
from asc_search.study.pool import log_costs, pricer_of
from asc_search.study.seeds import derived_seed

CLASSES = 10
SPREAD = 0.35  # of the logarithm of the error, by what the parameters are
TREES, DEPTH = 60, 4
SLOWNESS = 0.9  # how much more a first rung hides of a network of the budget's size than of one of a tenth
CLIPS = 400  # on which a measurement is made
TWIN_NOISE = 0.04  # of the logarithm of the error, from one training to the next


def simulated(space: Space, landscape: int = 0) -> Table:
    """The table of ``space`` for one of many ``landscape``s; errors are those of random trees over the parameters, which no
    compared strategy has as its model."""
    price = pricer_of(space, CLASSES)
    rng = np.random.default_rng(landscape)
    width = encoded(space, draw_columns(space, rng, 1)).shape[1]
    splits = rng.integers(width, size=(TREES, DEPTH))
    at = rng.uniform(0.15, 0.6, (TREES, DEPTH))
    leaves = rng.standard_normal((TREES, 2**DEPTH))
    sample = encoded(space, draw_columns(space, rng, 4096))

    def trees(features: np.ndarray) -> np.ndarray:
        sides = features[:, splits] > at
        leaf = (sides * 2 ** np.arange(DEPTH)).sum(axis=2)
        return leaves[np.arange(TREES), leaf].sum(axis=1)

    centre, unit = trees(sample).mean(), trees(sample).std()
    rungs = space.search.rungs
    full = rungs[-1]
    memo: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}

    def point(params: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        key = tuple(sorted(params.items()))
        if key not in memo:
            columns = draw_columns(space, np.random.default_rng(0), 1, known_columns(space, [params]))
            priced = price(columns)
            costs = np.append(priced.costs[0], float(priced.fits[0]))
            memo[key] = (encoded(space, columns), costs)
        return memo[key]

    def error(params: Mapping[str, Any], epochs: int) -> float:
        features, costs = point(params)
        size = float(log_costs(costs[:1])[0])  # 0 at the limit
        quality = float((trees(features)[0] - centre) / unit)
        final = np.exp(-0.9 - 0.22 * size + SPREAD * quality)
        slow = 0.9 + SLOWNESS * (1 + size / np.log(10))
        floor = 0.9
        return float(min(floor, final + (floor - final) * (np.exp(-1.6 * (epochs / full) * 10 / max(slow, 0.3)))))

    def measured(params: Mapping[str, Any], rung: int, seed: int) -> float:
        noise = np.random.default_rng(derived_seed("training", seed))
        true = error(params, rungs[rung]) * np.exp(TWIN_NOISE * noise.standard_normal())
        counted = np.random.default_rng(derived_seed("clips", seed, rung))
        return 1 - counted.binomial(CLIPS, min(true, 1.0)) / CLIPS

    def costs_of(params: Mapping[str, Any]) -> tuple[dict[str, float], bool]:
        _, costs = point(params)
        names = [name for name in space.objectives if name != "accuracy"]
        return dict(zip(names, map(float, costs[:-1]), strict=True)), bool(costs[-1])

    fits = price(columns := draw_columns(space, rng, 2000))
    rows = np.flatnonzero(fits.fits)
    size = log_costs(fits.costs)[rows, 0]
    quality = (trees(encoded(space, columns))[rows] - centre) / unit
    worst = float(np.median(np.minimum(0.9, np.exp(-0.9 - 0.22 * size + SPREAD * quality))))
    return Table(
        f"simulated {landscape}",
        space,
        price,
        costs_of,
        measured,
        lambda params: 1 - error(params, full),
        (worst, *(1.0 for name in space.objectives if name != "accuracy")),
    )
