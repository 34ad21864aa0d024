"""Pruning to the budget: the largest network that fits of those pruned by one rule, found on prices alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from asc_search.errors import NetworkError
from asc_search.nets.cost import Cost
from asc_search.nets.network import grain, price, shrink
from asc_search.nets.spec import NetSpec
from asc_search.oracle.budget import macs_per_second
from asc_search.space.candidate import Candidate
from asc_search.space.pruning import MOST, NOISE, rounded_down
from asc_search.space.space import Budget

STEPS = 1024  # ratios are multiples of 1 / STEPS, exact as floats
LAST = int(MOST * STEPS)
WIDE = 512  # channels, of which ``taper`` counts how wide a layer is
NEAR = 0.98  # of the tighter limit; what is nearer gets no more channels


def tapered(width: Any, step: Any, taper: Any) -> Any:
    """Channels left of ``width`` at ``step``, of ints or arrays of them, before rounding: the share 1 - ``step`` / ``STEPS``,
    of which layers narrower than ``WIDE`` keep the more the higher ``taper`` is; at 1 all have one width or less.
    """
    share = (STEPS - step) / STEPS * (WIDE / np.maximum(width, 1)) ** taper
    return np.floor(np.minimum(1, share) * width + NOISE).astype(np.int64)


def kept_at(width: int, step: int, round_to: int, taper: float = 0.0) -> int:
    """Channels left of ``width`` at ``step``: a multiple of ``round_to``, or that or ``width`` at least."""
    return rounded_down(int(tapered(width, step, taper)), width, round_to) if step else width


def least_step(fits: Callable[[int], bool]) -> int:
    """The least step in 0 to ``LAST`` that ``fits``, by bisection; ``LAST`` where none does."""
    if fits(0):
        return 0
    low, high = 0, LAST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def ratio_to_budget(
    spec: NetSpec, budget: Budget, weight_type: str, seconds: float, round_to: int = 1, taper: float = 0.0
) -> tuple[float, dict[int, int]]:
    """The ratio that brings ``spec`` within ``budget``, and the channels it leaves by width; 0 and none where it fits as it is.

    Costs are those of windows of ``seconds`` stored as ``weight_type``. The ratio is the least of a pruning of ``taper`` that
    fits, to 1 / ``STEPS``. Where that is more than 2 % under the tighter limit, the width that has lost most gets ``round_to``
    channels back (all layers of that width do, so that coupled ones stay equal), again and again while that fits. Where
    even ``MOST`` does not fit, that is the result.

    Raises:
        NetworkError: a layer cannot be pruned.
    """
    round_to = math.lcm(round_to, grain(spec))
    widths: set[int] = set()
    shrink(spec, lambda width: widths.add(width) or width)

    def load(kept: Mapping[int, int]) -> float:
        try:
            return _load(price(shrink(spec, kept.__getitem__)), budget, weight_type, seconds)
        except NetworkError:  # such as a width that does not divide
            return math.inf

    def at(step: int) -> dict[int, int]:
        return {width: kept_at(width, step, round_to, taper) for width in widths}

    step = least_step(lambda step: load(at(step)) <= 1)
    kept = at(step)
    now = load(kept)
    while step and now < NEAR:
        wider = [{**kept, width: left + round_to} for width, left in kept.items() if left + round_to <= width]
        wider.sort(key=lambda other: min(other[width] / width for width in widths if other[width] != kept[width]))
        found = next(((other, its) for other in wider if (its := load(other)) <= 1), None)
        if found is None:
            break
        kept, now = found
    return (step / STEPS, kept) if step else (0.0, {})


def fitted(candidate: Candidate, budget: Budget) -> Candidate:
    """``candidate`` as it is, or where its pruning is to the budget, with the ratio and the widths found for ``budget``.

    One that cannot be pruned is left as it is, for its price to say why.
    """
    pruning = candidate.pruning
    if pruning.target != "budget":
        return candidate
    try:
        ratio, kept = ratio_to_budget(
            candidate.network,
            budget,
            candidate.weight_type,
            candidate.frontend.seconds,
            pruning.round_to,
            pruning.taper,
        )
    except NetworkError:
        return candidate
    widths = ", ".join(f"{width}>{left}" for width, left in sorted(kept.items()))
    return replace(candidate, pruning=replace(pruning, ratio=ratio, widths=widths))


def _load(cost: Cost, budget: Budget, weight_type: str, seconds: float) -> float:
    """The cost over the tighter limit: at most 1 where both are kept."""
    a_second = macs_per_second(cost.macs, seconds)
    return max(a_second / budget.macs, cost.weight_bytes(weight_type) / budget.weight_bytes)
