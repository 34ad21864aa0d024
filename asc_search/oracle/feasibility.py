"""How much of a space fits the budget, and which parameter makes the rest too costly."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from asc_search.oracle.batch import price_columns
from asc_search.space.columns import Column, Columns, draw_columns
from asc_search.space.draw import DECIDE, parameters
from asc_search.space.space import Budget, Space

DRAWS = 50_000
LEAST_SHARE = 0.001  # below that a search spends its time refusing
EDGES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # cost over limit
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
NUMERIC_BINS = 6
UNUSED = "(not used)"
LISTED = 8


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
    draws, ``macs_counts`` and ``weight_bytes_counts`` how many of them lie between the ``EDGES`` (cost over limit, upper
    ends included). ``costliest`` is None where no parameter explains anything.
    """

    budget: Budget
    draws: int
    fits: int
    unbuildable: int
    interval: tuple[float, float]
    macs: tuple[int, ...]
    weight_bytes: tuple[int, ...]
    macs_counts: tuple[int, ...]
    weight_bytes_counts: tuple[int, ...]
    costliest: Driver | None

    @property
    def share(self) -> float:
        """Share of the draws that fit."""
        return self.fits / self.draws

    @property
    def enough(self) -> bool:
        """Whether ``LEAST_SHARE`` of the points may fit, as far as the draws can tell."""
        return self.interval[1] >= LEAST_SHARE

    @property
    def draws_per_training(self) -> float:
        """Draws needed on average for one that fits (infinite if none was seen)."""
        return 1 / self.share if self.fits else math.inf

    def advice(self) -> str:
        """The findings in words: how much fits, what the draws cost, and what to change."""
        low, high = self.interval
        lines = [f"{self.share:.2%} of {self.draws:,} random points fit (95 % interval {low:.2%} to {high:.2%})"]
        if self.unbuildable:
            why = "a map becomes empty, or a width or a map does not divide as a family needs"
            lines.append(f"{self.unbuildable / self.draws:.1%} have no valid network: {why}")
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


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _groups_of(column: Column) -> tuple[np.ndarray, list[str]]:
    """Group index of each point (n,) and the groups' labels: numbers in up to ``NUMERIC_BINS`` ranges of equal count."""
    values, drawn = column.values, column.drawn
    if column.table is not None:
        codes, labels = np.where(drawn, values, -1), dict(enumerate(map(_text, column.table)))
    elif len(distinct := np.unique(values[drawn])) <= NUMERIC_BINS:
        codes = np.where(drawn, np.searchsorted(distinct, values), -1)
        labels = {code: _text(value.item()) for code, value in enumerate(distinct)}
    else:
        edges = np.unique(np.quantile(values[drawn], np.linspace(0, 1, NUMERIC_BINS + 1)[1:-1]))
        codes = np.where(drawn, np.searchsorted(edges, values), -1)
        ends = {code: (values[codes == code].min(), values[codes == code].max()) for code in np.unique(codes)}
        labels = {code: " to ".join(dict.fromkeys(_text(end.item()) for end in pair)) for code, pair in ends.items()}
    present, inverse = np.unique(codes, return_inverse=True)
    return inverse, [UNUSED if code == -1 else labels[code] for code in present]


def _direction(column: Column, load: np.ndarray) -> str:
    """Which way the load falls along a number, by its rank correlation; empty where weak or not a number."""
    if column.table is not None and not all(isinstance(value, int | float) for value in column.table):
        return ""
    values = column.numbers(0)[column.drawn]
    distinct = [np.unique(one, return_inverse=True) for one in (values, load[column.drawn])]
    if any(len(unique) < 2 for unique, _ in distinct):
        return ""
    ranks = [(np.cumsum(np.bincount(inverse)) - np.bincount(inverse) / 2)[inverse] for _, inverse in distinct]
    rho = float(np.corrcoef(*ranks)[0, 1])
    return "" if abs(rho) < 0.2 else ("smaller" if rho > 0 else "larger")


def _costliest(columns: Columns, load: np.ndarray, fits: np.ndarray, shown: Callable[[float], float]) -> Driver | None:
    """The parameter that explains most of ``load`` (n,), after correction for the number of its groups."""
    best, best_score = None, 0.0
    for name, column in columns.items():
        codes, labels = _groups_of(column)
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
            best, best_score = Driver(name, explained, _direction(column, load), groups), score
    return best


def estimate(space: Space, classes: int, draws: int = DRAWS, seed: int = 0) -> Feasibility:
    """Draw and price ``draws`` random points of ``space`` for ``classes`` classes; nothing is built or trained.

    The load whose cause is sought is log max(macs / limit, bytes / limit) over buildable draws; where more draws are
    unbuildable than over the budget, it is whether a draw is unbuildable.
    """
    columns = draw_columns(space, np.random.default_rng(seed), draws)
    prices = price_columns(space, columns, classes)
    fits, built, budget = prices.fits, prices.buildable, space.budget
    unbuildable = int((~built).sum())
    searched = {
        parameter.name: columns[parameter.name]
        for parameter in parameters(space)
        if columns[parameter.name].values.ndim == 1 and parameter.name.startswith(DECIDE)
    }
    costs = np.stack([prices.macs_per_second[built], prices.weight_bytes[built]])
    if unbuildable > int((built & ~fits).sum()):
        costliest = _costliest(searched, (~built).astype(float), fits, float)
    else:
        load = np.log((costs / [[budget.macs], [budget.weight_bytes]]).max(axis=0))
        kept = {name: column.rows(built) for name, column in searched.items()}
        costliest = _costliest(kept, load, fits[built], math.exp)
    quantiles = np.quantile(costs, QUANTILES, axis=1) if built.any() else np.empty((0, 2))
    return Feasibility(
        budget=budget,
        draws=draws,
        fits=int(fits.sum()),
        unbuildable=unbuildable,
        interval=wilson_interval(int(fits.sum()), draws),
        macs=tuple(round(value) for value in quantiles[:, 0]),
        weight_bytes=tuple(round(value) for value in quantiles[:, 1]),
        macs_counts=_histogram(costs[0], budget.macs),
        weight_bytes_counts=_histogram(costs[1], budget.weight_bytes),
        costliest=costliest,
    )


def _histogram(values: np.ndarray, limit: int) -> tuple[int, ...]:
    """Draws by cost over limit, in bins with the ``EDGES``."""
    return tuple(np.bincount(np.searchsorted(EDGES, values / limit), minlength=len(EDGES) + 1).tolist())
