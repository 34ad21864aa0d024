"""Budget and verdict: whether a priced network fits, and if not, by how much not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from asc_search.errors import NetworkError
from asc_search.nets.cost import Cost
from asc_search.nets.network import price
from asc_search.space.candidate import Candidate
from asc_search.space.space import Budget


@dataclass(frozen=True)
class Verdict:
    """Whether a network fits; ``constraints`` are relative overruns, each at most 0 where its limit is kept."""

    fits: bool
    constraints: Mapping[str, float]
    reason: str


@dataclass(frozen=True)
class Assessment:
    """The price of a candidate's deployed network (None where it cannot be built) and the verdict on it."""

    cost: Cost | None
    verdict: Verdict


def macs_per_second(macs: int, seconds: float) -> int:
    """MACs per second of audio, rounded up, for ``macs`` per window of ``seconds``.

    ``seconds`` counts as the decimal number it prints as: 9,000,000 MACs per 0.3 s are exactly 30,000,000 per second.
    """
    return math.ceil(macs / Fraction(str(seconds)))


def judge(cost: Cost, weight_type: str, seconds: float, budget: Budget) -> Verdict:
    """The verdict on a network of ``cost`` per window of ``seconds``, stored as ``weight_type``."""
    measured = (
        ("macs", "MACs per second", macs_per_second(cost.macs, seconds), budget.macs),
        ("weight_bytes", f"bytes of {weight_type} weights", cost.weight_bytes(weight_type), budget.weight_bytes),
    )
    constraints = {key: value / limit - 1 for key, _, value, limit in measured}
    over = [
        f"{value:,} {unit}: {value - limit:,} over the limit of {limit:,}"
        for _, unit, value, limit in measured
        if value > limit
    ]
    within = [f"{value:,} of {limit:,} {unit}" for _, unit, value, limit in measured]
    return Verdict(not over, constraints, "; ".join(over) if over else "fits: " + ", ".join(within))


def price_candidate(candidate: Candidate) -> Cost:
    """The exact cost of what is deployed, the network after pruning, for one input window.

    Raises:
        NetworkError: the network cannot be built; the message names the layer.
    """
    return price(candidate.deployed)


def assess(candidate: Candidate, budget: Budget) -> Assessment:
    """Price and judge ``candidate``; one that cannot be built is a verdict with the constraint ``shape``, no error."""
    try:
        cost = price_candidate(candidate)
    except NetworkError as error:
        return Assessment(None, Verdict(False, {"shape": 1.0}, str(error)))
    return Assessment(cost, judge(cost, candidate.weight_type, candidate.frontend.seconds, budget))
