"""`asc-search bench oracle`: how many candidates a second are drawn and priced, and that the prices are right."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from asc_search.bench.bars import at_least, at_most, report
from asc_search.bench.mixed import mixed_space
from asc_search.errors import AscSearchError
from asc_search.nets.network import build
from asc_search.oracle.batch import Prices, price_columns
from asc_search.oracle.nessi import count_module
from asc_search.processes import cpu_threads
from asc_search.progress import bar
from asc_search.space.columns import Columns, draw_columns, recorded
from asc_search.space.draw import FixedSuggest, draw
from asc_search.space.load import load
from asc_search.space.space import Space

CLASSES = 10
DRAWS = 100_000
REPEATS = 5
BUILT = 12  # modules built and counted in each repeat, for the ratio
LARGEST_MACS = 200_000_000  # of the modules that are built, so that the count takes seconds


def bench_oracle(space: Path | None, checked: int) -> dict[str, Any]:
    """Measure drawing and pricing on one core, against building the module and counting it with fvcore, in turn.

    ``checked`` candidates are compared number by number with the module's own counts.
    """
    measured = mixed_space() if space is None else load(space)
    with cpu_threads(1), bar() as progress:
        task = progress.add_task("drawing and counting", total=REPEATS * BUILT + checked)
        rates, counted, fits, compared, wrong = [], [], [], 0, 0
        for repeat in range(REPEATS):
            start = time.perf_counter()
            columns = draw_columns(measured, np.random.default_rng(repeat), DRAWS)
            prices = price_columns(measured, columns, CLASSES)
            rates.append(DRAWS / (time.perf_counter() - start))
            fits.append(float(prices.fits.mean()))
            share = checked // REPEATS + (repeat < checked % REPEATS)
            chosen = _small(prices, BUILT + share)
            compared += len(chosen)
            if not len(chosen):
                raise AscSearchError(
                    f"none of {DRAWS:,} points can be built with at most {LARGEST_MACS:,} MACs; nothing to count"
                )
            start = time.perf_counter()
            for index in chosen[:BUILT]:
                wrong += _differs(measured, columns, prices, index)
                progress.advance(task)
            counted.append((time.perf_counter() - start) / len(chosen[:BUILT]))
            for index in chosen[BUILT:]:
                wrong += _differs(measured, columns, prices, index)
                progress.advance(task)
    speedup = median(rate * seconds for rate, seconds in zip(rates, counted, strict=True))
    ran = {
        "space": "all registered layer families" if space is None else str(space),
        "parameters": len(measured.varying),
        "draws": DRAWS * REPEATS,
        "feasible": round(mean(fits), 4),
        "modules_counted": compared,
        "threads": 1,
    }
    bars = [
        at_least("candidates_per_s", round(median(rates)), 20_000),
        at_least("speedup_vs_fvcore", round(speedup), 100),
        at_most("mismatches", wrong, 0),
    ]
    return report("oracle", ran, bars)


def _small(prices: Prices, count: int) -> np.ndarray:
    """The first ``count`` points whose module is not too large to be counted quickly."""
    return np.flatnonzero(prices.buildable & (prices.macs <= LARGEST_MACS))[:count]


def _differs(space: Space, columns: Columns, prices: Prices, index: int) -> bool:
    """Whether a built module's counts are not the price."""
    candidate = draw(space, FixedSuggest(recorded(space, columns, int(index))), CLASSES)
    counted = count_module(build(candidate.deployed), candidate.frontend.shape)
    priced = (prices.params[index], prices.macs[index], prices.conv_linear_macs[index])
    return (counted.params, counted.macs, counted.conv_linear_macs) != tuple(map(int, priced))
