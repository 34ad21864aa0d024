"""A model of the accuracy: a Gaussian process over candidates, their prices and the rung at which they were measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

RUNG_CORRELATION = 0.8  # of what neighbouring rungs say of one candidate


@dataclass(frozen=True)
class Observations:
    """n measurements: candidates' ``features`` (n, d) and ``prices`` (n, k), the ``rung`` (n,) of each, its ``trial`` (n,)
    (measurements of one candidate at several rungs share it) and the ``values`` (n,), lower is better.
    """

    features: np.ndarray
    prices: np.ndarray
    rung: np.ndarray
    trial: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Shape:
    """Of the covariance: how fast it falls with features and prices, and of the variance the parts that belong to one
    candidate alone (``own``) and to one measurement (``noise``).
    """

    features: float = 1.0
    prices: float = 0.5
    own: float = 0.1
    noise: float = 0.05


CHOICES = {
    "features": (0.3, 0.6, 1.0, 1.7),
    "prices": (0.15, 0.3, 0.5, 1.0, 2.0),
    "own": (0.03, 0.1, 0.3),
    "noise": (0.01, 0.05, 0.2),
}


class Surrogate:
    """The process given ``seen``; Matern 5/2 (Rasmussen and Williams 2006, section 4.2), constant mean at each rung."""

    def __init__(self, seen: Observations, shape: Shape) -> None:
        self._seen, self.shape = seen, shape
        self._features, self._prices = _scales(seen)
        self._means = rung_means(seen)
        centred = seen.values - self._means[seen.rung]
        self._unit = max(float(np.sqrt(np.mean(centred**2))), 1e-6)
        self._factor = np.linalg.cholesky(self._covariance(seen) + (shape.noise + 1e-6) * np.eye(len(centred)))
        self._residual = centred / self._unit
        self._weights = _solve(self._factor.T, _solve(self._factor, self._residual[:, None]), upper=True)[:, 0]

    def log_likelihood(self) -> float:
        """Of the observations, the best scale of their variance taken."""
        n = len(self._residual)
        spread = max(float(self._residual @ self._weights) / n, 1e-12)  # none where all measured the same
        return -0.5 * n * np.log(spread) - float(np.log(np.diag(self._factor)).sum())

    def predict(
        self, features: np.ndarray, prices: np.ndarray, rung: int, trial: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (m,) of what candidates would measure at ``rung``, without a measurement's noise.

        ``trial`` (m,) says which of the observed ones they are; by default none.
        """
        count = len(features)
        numbers = np.full(count, -1) if trial is None else trial
        asked = Observations(features, prices, np.full(count, rung), numbers, np.zeros(count))
        across = self._covariance(asked)
        half = _solve(self._factor, across.T)
        scale = self._unit * np.sqrt(max(self._residual @ self._weights / len(self._residual), 1e-3))
        # Of a new candidate the part of its own counts as luck: with it, twins of the best would promise a gain for ever.
        own = 0.0 if trial is None else self.shape.own
        variance = np.maximum(1 + own - (half**2).sum(axis=0), 1e-6)
        return self._means[min(rung, len(self._means) - 1)] + self._unit * (across @ self._weights), scale * np.sqrt(
            variance
        )

    def _covariance(self, one: Observations) -> np.ndarray:
        """Between ``one`` and what was seen, (m, n)."""
        seen, shape = self._seen, self.shape
        squared = shape.features**2 * _squared(one.features, seen.features) / self._features
        squared += shape.prices**2 * _squared(one.prices, seen.prices) / self._prices
        distance = np.sqrt(5 * squared)
        smooth = (1 + distance + distance**2 / 3) * np.exp(-distance)
        between = RUNG_CORRELATION ** np.abs(one.rung[:, None] - seen.rung)
        same = one.trial[:, None] == seen.trial
        return between * (smooth + shape.own * same)


def rung_means(seen: Observations) -> np.ndarray:
    """The mean at each rung, as if all candidates had reached it: from rung to rung by those that did."""
    last = int(seen.rung.max(initial=0))
    by_rung = [dict(zip(seen.trial[seen.rung == r], seen.values[seen.rung == r], strict=True)) for r in range(last + 1)]
    means = [float(np.mean(list(by_rung[0].values()))) if by_rung[0] else 0.0]
    for before, after in pairwise(by_rung):
        gains = [after[trial] - before[trial] for trial in after if trial in before]
        if gains:
            means.append(means[-1] + float(np.mean(gains)))
        else:
            means.append(float(np.mean(list(after.values()))) if after else means[-1])
    return np.array(means)


def best_shape(seen: Observations) -> Shape:
    """The shape of the largest likelihood, one choice after the other."""
    shape, best = Shape(), Surrogate(seen, Shape()).log_likelihood()
    for name, choices in CHOICES.items():
        for choice in choices:
            other = replace(shape, **{name: choice})
            if other != shape and (likelihood := Surrogate(seen, other).log_likelihood()) > best:
                shape, best = other, likelihood
    return shape


def _solve(factor: np.ndarray, known: np.ndarray, upper: bool = False) -> np.ndarray:
    """x (n, m) of ``factor @ x = known`` for a triangular ``factor``."""
    return torch.linalg.solve_triangular(torch.from_numpy(factor), torch.from_numpy(known), upper=upper).numpy()


def _scales(seen: Observations) -> tuple[float, float]:
    """Mean squared distances of features and of prices: the units in which the covariance falls."""
    return tuple(max(2 * float(part.var(axis=0).sum()), 1e-9) for part in (seen.features, seen.prices))


def _squared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Squared distances of rows, (m, n)."""
    found = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.maximum(found, 0)
