"""Several trainings at once against one at a time, on one machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch

from asc_search.nets.systems import system
from asc_search.processes import side_by_side
from asc_search.space.candidate import Training
from asc_search.train.fit import Recipe, device, fit, start
from asc_search.train.losses import Batch, cross_entropy

STARTING_S, RUNNING_S = 20.0, 6.0  # until all processes have imported and made their first step; then measured
ROUNDS = 5


@dataclass(frozen=True)
class Together:
    """Clips a second of ``count`` trainings at once, all together, and of one that has the machine to itself."""

    count: int
    clips_per_s: float
    alone_clips_per_s: float


def measure_together(design: str, recipe: Training) -> Together:
    """Train ``design`` once on all CPU threads, then as many times at once as there are threads (at least two).

    The network's steps alone, on a batch that lies ready: what trainings at once compete for.
    """
    threads = torch.get_num_threads()
    count = max(2, threads)
    alone = median(_rates(design, recipe, time.time(), lambda _: None))
    work = partial(_rates, design, recipe)
    begin = time.time() + STARTING_S
    ended = side_by_side(work, [begin] * count, count, max(1, threads // count), lambda _: None)
    rates = [rates for _, rates in ended]
    return Together(count, median(map(sum, zip(*rates, strict=True))), alone)


def _rates(design: str, training: Training, begin: float, said: Callable[[Any], None]) -> list[float]:
    """Clips a second of a training in ``ROUNDS`` rounds from the time ``begin`` on."""
    spec = system(design)()
    recipe = Recipe(training, 10**6, 1)
    x = torch.randn(training.batch, *spec.input, device=device()).contiguous(memory_format=torch.channels_last)
    batch = Batch(x, torch.zeros(training.batch, dtype=torch.long, device=device()), None, None)
    state = fit(start(spec, recipe, 0), lambda _: [batch], cross_entropy, recipe, 1)
    time.sleep(max(0.0, begin - time.time()))
    rates = []
    for _ in range(ROUNDS):
        at, steps = time.perf_counter(), 0
        while (taken := time.perf_counter() - at) < RUNNING_S:
            fit(state, lambda _: [batch], cross_entropy, recipe, state.epoch + 1)  # ends by reading weights back
            steps += 1
        rates.append(steps * training.batch / taken)
    return rates
