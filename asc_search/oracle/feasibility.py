"""How much of a space fits the budget, and which parameter makes the rest too costly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from asc_search.oracle.budget import Assessment, Budget, assess, macs_per_second
from asc_search.space.candidate import Candidate

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
NUMERIC_BINS = 6
UNUSED = "(not used)"
LISTED = 8

Draw = Callable[[np.random.Generator], tuple[Candidate, dict[str, object]]]


@dataclass(frozen=True)
class Group:
    """Draws with one value (or range of values) of a parameter: how many, which share fits, and the mean load.

    ``load`` is the geometric mean of max(macs / limit, bytes / limit), or the share of unbuildable networks.
    """

    label: str
    draws: int
    share: float
    load: float


@dataclass(frozen=True)
class Driver:
    """A parameter, the share of the variation of the load it explains (eta squared) and its values, best group first.

    ``direction`` is ``smaller`` or ``larger`` for a number with a trend, else empty.
    """

    parameter: str
    explained: float
    direction: str
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Feasibility:
    """What ``draws`` random points of a space say about it.

    ``fits`` draws are within the budget, ``unbuildable`` ones have no valid network. ``interval`` is the 95 % Wilson
    interval of the feasible share; ``macs`` (per second) and ``weight_bytes`` are the ``QUANTILES`` over the buildable
    draws. ``costliest`` is None where no parameter explains anything.
    """

    budget: Budget
    draws: int
    fits: int
    unbuildable: int
    interval: tuple[float, float]
    macs: tuple[int, ...]
    weight_bytes: tuple[int, ...]
    costliest: Driver | None

    @property
    def share(self) -> float:
        """Share of the draws that fit."""
        return self.fits / self.draws

    def advice(self) -> str:
        """The findings in words: how much fits, what the draws cost, and what to change."""
        low, high = self.interval
        lines = [f"{self.share:.1%} of {self.draws:,} random points fit (95 % interval {low:.1%} to {high:.1%})"]
        if self.unbuildable:
            lines.append(f"{self.unbuildable / self.draws:.1%} have no valid network: a feature map becomes empty")
        if self.macs:
            for name, values, limit in (
                ("MACs per second", self.macs, self.budget.macs),
                ("weight bytes", self.weight_bytes, self.budget.weight_bytes),
            ):
                at = dict(zip(QUANTILES, values, strict=True))
                lines.append(f"{name}: median {at[0.5]:,}, 90 % from {at[0.05]:,} to {at[0.95]:,}; limit {limit:,}")
        if self.costliest is not None and self.fits < self.draws:
            lines.extend(_driver_lines(self.costliest))
        return "\n".join(lines)


def _driver_lines(driver: Driver) -> list[str]:
    best = driver.groups[0]
    prefer = f"{driver.direction} values" if driver.direction else best.label
    shown = "; ".join(f"{group.label}: {group.share:.0%} fit" for group in driver.groups[:LISTED])
    if len(driver.groups) > LISTED:
        shown += f"; and {len(driver.groups) - LISTED} more"
    return [
        f"most of it is decided by {driver.parameter} ({driver.explained:.0%} of the variation): prefer {prefer}",
        f"  {shown}",
    ]


def wilson_interval(hits: int, draws: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a share (Wilson 1927): stays in [0, 1] and is sensible for 0 or all hits."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, scale = hits / draws, 1 + z * z / draws
    centre = share + z * z / (2 * draws)
    half = z * math.sqrt(share * (1 - share) / draws + z * z / (4 * draws * draws))
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def eta_squared(codes: np.ndarray, values: np.ndarray) -> float:
    """Correlation ratio: share of the variance of ``values`` (n,) that lies between the groups ``codes`` (n,).

    ``codes`` are the integers 0 to k - 1, each present. 0 where ``values`` do not vary.
    """
    centred = values - values.mean()
    total = float(centred @ centred)
    if total <= 1e-12 * len(values):
        return 0.0
    sums, counts = np.bincount(codes, centred), np.bincount(codes)
    return float((sums**2 / counts).sum() / total)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _groups_of(values: Sequence[object]) -> tuple[np.ndarray, list[str]]:
    """Group index of each value and the groups' labels: numbers in up to ``NUMERIC_BINS`` ranges of equal count."""
    present = [value for value in values if value is not UNUSED]
    distinct = sorted(set(present)) if present and all(map(_number, present)) else None
    if distinct is None or len(distinct) <= NUMERIC_BINS:
        labels = [_text(value) for value in values]
        order = {label: code for code, label in enumerate(dict.fromkeys(labels))}
        return np.array([order[label] for label in labels]), list(order)
    edges = np.unique(np.quantile(np.array(present, dtype=float), np.linspace(0, 1, NUMERIC_BINS + 1)[1:-1]))
    bins = [-1 if value is UNUSED else int(np.searchsorted(edges, float(value), side="left")) for value in values]
    order = {code: index for index, code in enumerate(sorted(set(bins)))}
    labels = []
    for code in order:
        members = [value for value, bin_ in zip(values, bins, strict=True) if bin_ == code]
        low, high = min(members, key=_sort_key), max(members, key=_sort_key)
        labels.append(UNUSED if code == -1 else _text(low) if low == high else f"{_text(low)} to {_text(high)}")
    return np.array([order[code] for code in bins]), labels


def _sort_key(value: object) -> float:
    return float(value) if _number(value) else -math.inf


def _direction(values: Sequence[object], load: np.ndarray) -> str:
    """Which way the load falls along a number, by its rank correlation; empty where weak or not a number."""
    pairs = [(float(value), target) for value, target in zip(values, load, strict=True) if _number(value)]
    if len({value for value, _ in pairs}) < 2 or len(pairs) < sum(value is not UNUSED for value in values):
        return ""
    columns = np.array(pairs)
    distinct = [np.unique(column, return_inverse=True) for column in columns.T]
    ranks = [(np.cumsum(np.bincount(inverse)) - np.bincount(inverse) / 2)[inverse] for _, inverse in distinct]
    if any(len(unique) < 2 for unique, _ in distinct):
        return ""
    rho = float(np.corrcoef(*ranks)[0, 1])
    return "" if abs(rho) < 0.2 else ("smaller" if rho > 0 else "larger")


def _costliest(
    parameters: Sequence[Mapping[str, object]], load: np.ndarray, fits: np.ndarray, shown: Callable[[float], float]
) -> Driver | None:
    """The parameter that explains most of ``load`` (n,), after correction for the number of its groups."""
    names = dict.fromkeys(name for values in parameters for name in values)
    best, best_score = None, 0.0
    for name in names:
        values = [drawn.get(name, UNUSED) for drawn in parameters]
        codes, labels = _groups_of(values)
        if not 1 < len(labels) < len(load):
            continue
        explained = eta_squared(codes, load)
        # Kelley's epsilon squared: many groups explain something by chance alone.
        score = 1 - (1 - explained) * (len(load) - 1) / (len(load) - len(labels))
        if score > best_score:
            means = [float(load[codes == code].mean()) for code in range(len(labels))]
            groups = tuple(
                Group(labels[code], int((codes == code).sum()), float(fits[codes == code].mean()), shown(means[code]))
                for code in np.argsort(means, kind="stable")
            )
            best, best_score = Driver(name, explained, _direction(values, load), groups), score
    return best


def estimate(draw: Draw, budget: Budget, draws: int = 1000, seed: int = 0) -> Feasibility:
    """Draw ``draws`` random points and judge them; nothing is built or trained.

    ``draw`` gives a candidate and the parameter values it was made from (a value may be missing where it is not used).
    The load whose cause is sought is log max(macs / limit, bytes / limit) over buildable draws; where more draws are
    unbuildable than over the budget, it is whether a draw is unbuildable.
    """
    rng = np.random.default_rng(seed)
    points: list[tuple[Assessment, dict[str, object]]] = []
    loads: list[tuple[int, int]] = []
    for _ in range(draws):
        candidate, parameters = draw(rng)
        assessment = assess(candidate, budget)
        points.append((assessment, parameters))
        if assessment.cost is not None:
            seconds = macs_per_second(assessment.cost.macs, candidate.frontend.seconds)
            loads.append((seconds, assessment.cost.weight_bytes(candidate.weight_type)))
    fits = np.array([assessment.verdict.fits for assessment, _ in points])
    built = np.array([assessment.cost is not None for assessment, _ in points])
    parameters = [values for _, values in points]
    unbuildable = int((~built).sum())
    costs = np.array(loads, dtype=float).reshape(-1, 2)
    if unbuildable > int((built & ~fits).sum()):
        costliest = _costliest(parameters, (~built).astype(float), fits, float)
    else:
        load = np.log((costs / [budget.macs, budget.weight_bytes]).max(axis=1))
        costliest = _costliest([p for p, ok in zip(parameters, built, strict=True) if ok], load, fits[built], math.exp)
    quantiles = np.quantile(costs, QUANTILES, axis=0) if len(costs) else np.empty((0, 2))
    return Feasibility(
        budget=budget,
        draws=draws,
        fits=int(fits.sum()),
        unbuildable=unbuildable,
        interval=wilson_interval(int(fits.sum()), draws),
        macs=tuple(round(value) for value in quantiles[:, 0]),
        weight_bytes=tuple(round(value) for value in quantiles[:, 1]),
        costliest=costliest,
    )
