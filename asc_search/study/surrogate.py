"""A model of the accuracy: a Gaussian process over candidates, their prices and the rung at which they were measured.

Matern 5/2 (Rasmussen and Williams 2006, section 4.2) with a relevance of its own for each parameter of the space and each
price, most of them next to nothing unless the measurements say otherwise: the half-Cauchy prior of SAAS (Eriksson and
Jankowiak 2021), at its likeliest point. So a few dozen measurements do in a space of forty parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

SPARSITY = 0.5  # relevance that all parameters together are thought to have
THOUGHT = {"amplitude": (1.0, 1.0), "own": (0.1, 1.0), "noise": (0.2, 1.5)}  # median, and spread of the logarithm
GAP = (0.25, 1.5)
LEAST = 4  # measurements from which a shape is fitted
STEPS, RATE = 80, 0.1
ALIKE = 3  # trials that are thought to spread at a rung as at the one before
JITTER = 1e-6


@dataclass(frozen=True)
class Observations:
    """n measurements: candidates' ``features`` (n, d) and ``prices`` (n, k), the ``rung`` (n,) of each, its ``trial`` (n,)
    (measurements of one candidate at several rungs share it) and the ``values`` (n,), lower is better. ``groups`` (d,) says
    which parameter, from 0, a feature is of.
    """

    features: np.ndarray
    prices: np.ndarray
    rung: np.ndarray
    trial: np.ndarray
    values: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class Shape:
    """Of the covariance. ``relevance`` (parameters + prices,) of squared distances over their means; the variances
    ``amplitude`` of what features and prices tell, ``own`` of a candidate alone and ``noise`` of one measurement; ``gaps``
    (rungs - 1,) between neighbouring rungs: what they say of one candidate correlates by exp(-gap).
    """

    relevance: Tensor
    amplitude: Tensor
    own: Tensor
    noise: Tensor
    gaps: Tensor

    def correlation(self, rung: int, last: int) -> float:
        """Between measurements of one candidate at two rungs."""
        told = self.amplitude + self.own
        return float(torch.exp(-self.for_rungs(last + 1).gaps[rung:last].sum()) * told / (told + self.noise))

    def for_rungs(self, count: int) -> Shape:
        """With gaps to rungs that none had reached, too."""
        missing = count - 1 - len(self.gaps)
        return replace(self, gaps=torch.cat([self.gaps, _constant(GAP[0], missing)])) if missing > 0 else self


class Surrogate:
    """The process given ``seen``; constant mean and spread at each rung."""

    def __init__(self, seen: Observations, shape: Shape) -> None:
        self._data, self.shape = _Scaled(seen), shape
        self._factor = self._data.factor(shape)
        self._weights = torch.cholesky_solve(self._data.residual[:, None], self._factor)[:, 0]

    def predict(
        self, features: np.ndarray, prices: np.ndarray, rung: int, trial: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (m,) of what candidates would measure at ``rung``, without a measurement's noise.

        ``trial`` (m,) says which of the observed ones they are; by default none.
        """
        data, count = self._data, len(features)
        numbers = None if trial is None else torch.from_numpy(trial)
        across = data.covariance(self.shape, data.points(features, prices), torch.full((count,), rung), numbers)
        half = torch.linalg.solve_triangular(self._factor, across.T, upper=False)
        # Of a new candidate the part of its own counts as luck: with it, twins of the best would promise a gain for ever.
        known = self.shape.amplitude if trial is None else self.shape.amplitude + self.shape.own
        std = (known - (half**2).sum(0)).clamp(min=JITTER).sqrt()
        at = min(rung, len(data.means) - 1)
        unit = data.unit * data.spreads[at]
        return data.means[at] + unit * (across @ self._weights).numpy(), unit * std.numpy()


def likeliest_shape(seen: Observations) -> Shape:
    """The shape of the largest posterior density (Adam, a fixed number of steps); the prior's medians of too few."""
    relevances = _count(seen.groups) + seen.prices.shape[1]
    medians = [*(median for median, _ in THOUGHT.values()), *[GAP[0]] * int(seen.rung.max(initial=0))]
    spreads = [*(spread for _, spread in THOUGHT.values()), *[GAP[1]] * int(seen.rung.max(initial=0))]
    centre, spread = (torch.tensor(values, dtype=torch.float64) for values in (medians, spreads))
    share = SPARSITY / max(relevances, 1)
    logs = torch.cat([_constant(share, relevances), centre]).log()
    if len(seen.values) < LEAST:
        return _shape(logs, relevances)
    data, slope, square = _Scaled(seen), torch.zeros_like(logs), torch.zeros_like(logs)
    for step in range(1, STEPS + 1):
        shape = _shape(logs, relevances)
        half_cauchy = 1 / (1 + share / shape.relevance) - 0.5
        normal = (logs[relevances:] - centre.log()) / spread**2
        # Adam (Kingma and Ba 2015, algorithm 1), as it stands there: PyTorch's imports its compiler first, a second's work.
        slopes = data.slopes(shape) + torch.cat([half_cauchy, normal])
        slope = 0.9 * slope + 0.1 * slopes
        square = 0.999 * square + 0.001 * slopes**2
        logs = logs - RATE * slope / (1 - 0.9**step) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
    return _shape(logs, relevances)


class _Scaled:
    """Observations in units of their own: distances over their means, residuals over their spread."""

    def __init__(self, seen: Observations) -> None:
        self._rung, self._trial = torch.from_numpy(seen.rung), torch.from_numpy(seen.trial)
        self.means = rung_means(seen)
        self.spreads = rung_spreads(seen, self.means)
        residual = (seen.values - self.means[seen.rung]) / self.spreads[seen.rung]
        self.unit = max(float(np.sqrt(np.mean(residual**2))), JITTER)
        self.residual = torch.from_numpy(residual / self.unit)
        groups = _count(seen.groups)
        apart = np.bincount(seen.groups, 2 * seen.features.var(axis=0), groups)
        self._columns = np.concatenate([seen.groups, groups + np.arange(seen.prices.shape[1])])
        # A parameter that hardly varied among those seen is not blown up.
        units = [np.maximum(apart, 0.1)[seen.groups], np.maximum(2 * seen.prices.var(axis=0), 0.01)]
        self._scale = 1 / np.sqrt(np.concatenate(units))
        self._points = self.points(seen.features, seen.prices)

    def points(self, features: np.ndarray, prices: np.ndarray) -> Tensor:
        return torch.from_numpy(np.concatenate([features, prices], axis=1) * self._scale)

    def covariance(self, shape: Shape, points: Tensor, rung: Tensor, trial: Tensor | None) -> Tensor:
        """Between others, of ``trial`` or new, and what was seen, (m, n)."""
        weights = shape.relevance[self._columns].sqrt()
        one, other = points * weights, self._points * weights
        squared = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
        distance = (5 * squared.clamp(min=0)).sqrt()
        smooth = shape.amplitude * _matern(distance, torch.exp(-distance))
        between = self._between(shape, rung)
        return between * (smooth if trial is None else smooth + shape.own * (trial[:, None] == self._trial))

    def _between(self, shape: Shape, rung: Tensor) -> Tensor:
        """How measurements at ``rung`` (m,) correlate with those that were seen, as to their rungs, (m, n)."""
        places = torch.cat([_constant(0.0, 1), shape.gaps.cumsum(0)])
        return torch.exp(-(places[:, None] - places).abs())[:, self._rung][rung]

    @cached_property
    def _apart(self) -> Tensor:
        """Squared distances between what was seen by parameter and price, (parameters + prices, n, n)."""
        squared = (self._points.T[:, :, None] - self._points.T[:, None]) ** 2
        parts = torch.zeros(_count(self._columns), *squared.shape[1:], dtype=torch.float64)
        return parts.index_add(0, torch.from_numpy(self._columns), squared)

    @cached_property
    def _same(self) -> Tensor:
        """Whether two measurements are of one trial, (n, n)."""
        return (self._trial[:, None] == self._trial).double()

    @cached_property
    def _passed(self) -> Tensor:
        """Whether a gap lies between the rungs of two measurements, (rungs - 1, n, n)."""
        passed = self._rung <= torch.arange(len(self.means) - 1)[:, None]
        return (passed[:, :, None] != passed[:, None]).double()

    def slopes(self, shape: Shape) -> Tensor:
        """Of the measurements' negative log density by the logarithms of the shape's numbers, in their order.

        Rasmussen and Williams 2006, eq. 5.9, with the covariance's derivatives put in by hand: PyTorch's own take three times
        as long for matrices this small.
        """
        distance = (5 * torch.tensordot(shape.relevance, self._apart, 1)).sqrt()
        decay = torch.exp(-distance)
        between = self._between(shape, self._rung)
        smooth = between * _matern(distance, decay)
        told = shape.amplitude * smooth + shape.own * (own := between * self._same)
        inverse = torch.cholesky_inverse(_factor(told, shape))
        weights = inverse @ self.residual
        against = (inverse - weights[:, None] * weights) / 2
        by_squared = against * between * (1 + distance) * decay * (-5 / 6 * shape.amplitude)
        by_part = [(against * part).sum() for part in (smooth, own)]
        slopes = [torch.tensordot(self._apart, by_squared, 2), torch.stack([*by_part, against.trace()])]
        if len(shape.gaps):
            slopes.append(-torch.tensordot(self._passed, against * told, 2))
        variances = torch.stack([shape.amplitude, shape.own, shape.noise])
        return torch.cat(slopes) * torch.cat([shape.relevance, variances, shape.gaps])

    def factor(self, shape: Shape) -> Tensor:
        """Cholesky's, of the covariance of the measurements."""
        return _factor(self.covariance(shape, self._points, self._rung, self._trial), shape)


def rung_means(seen: Observations) -> np.ndarray:
    """The mean at each rung, as if all candidates had reached it: from rung to rung by those that did."""
    by_rung = _by_rung(seen, seen.values)
    means = [float(np.mean(list(by_rung[0].values()))) if by_rung[0] else 0.0]
    for before, after in pairwise(by_rung):
        gains = [after[trial] - before[trial] for trial in after if trial in before]
        if gains:
            means.append(means[-1] + float(np.mean(gains)))
        else:
            means.append(float(np.mean(list(after.values()))) if after else means[-1])
    return np.array(means)


def rung_spreads(seen: Observations, means: np.ndarray) -> np.ndarray:
    """How far values are from the mean at each rung, over the first one's: from rung to rung by those that reached both."""
    by_rung = _by_rung(seen, (seen.values - means[seen.rung]) ** 2)
    spreads = [1.0]
    for before, after in pairwise(by_rung):
        both = [trial for trial in after if trial in before]
        alike = ALIKE * float(np.mean(list(before.values()))) if before else 0.0
        was, now = (alike + sum(part[trial] for trial in both) for part in (before, after))
        spreads.append(spreads[-1] * float(np.sqrt(now / was)) if was > 0 and now > 0 else spreads[-1])
    return np.array(spreads)


def _by_rung(seen: Observations, values: np.ndarray) -> list[dict[int, float]]:
    """Values of trials, rung by rung."""
    last = int(seen.rung.max(initial=0))
    return [dict(zip(seen.trial[seen.rung == r], values[seen.rung == r], strict=True)) for r in range(last + 1)]


def _matern(distance: Tensor, decay: Tensor) -> Tensor:
    """Matern 5/2 of distances times the root of five, ``decay`` being exp(-distance)."""
    return (1 + distance + distance**2 / 3) * decay


def _factor(told: Tensor, shape: Shape) -> Tensor:
    """Cholesky's, of the covariance of measurements, which is ``told`` and their noise."""
    covariance = told.clone()
    covariance.diagonal().add_(shape.noise + JITTER)
    return torch.linalg.cholesky(covariance)


def _shape(logs: Tensor, relevances: int) -> Shape:
    parts = logs.exp()
    return Shape(parts[:relevances], *parts[relevances : relevances + 3], parts[relevances + 3 :])


def _constant(value: float, count: int) -> Tensor:
    return torch.full((count,), value, dtype=torch.float64)


def _count(groups: np.ndarray) -> int:
    return int(groups.max(initial=-1)) + 1
