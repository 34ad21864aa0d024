"""What a candidate of known price and uncertain error would add to a front."""

from __future__ import annotations

import numpy as np
import torch

BUDGETS = 64


def budgets(objectives: int, top: float) -> np.ndarray:
    """Budgets (m, k) spread evenly over [0, top]^k for k costs: on a line by equal steps, else a Kronecker sequence."""
    if objectives == 0:
        return np.zeros((1, 0))
    steps = np.arange(1, BUDGETS * objectives + 1)[:, None]
    if objectives == 1:
        return top * (steps - 0.5) / BUDGETS
    golden = _root(objectives)
    return top * ((0.5 + steps * golden ** -np.arange(1.0, objectives + 1)) % 1)


def _root(k: int) -> float:
    """The root of x^(k+1) = x + 1 in (1, 2): its powers spread best."""
    x = 1.5
    for _ in range(30):
        x = (1 + x) ** (1 / (k + 1))
    return x


def best_within(errors: np.ndarray, costs: np.ndarray, limits: np.ndarray, worst: float) -> np.ndarray:
    """The lowest of ``errors`` (n,) among candidates whose ``costs`` (n, k) are within each of ``limits`` (m, k), ``worst``
    where there is none: (m,)."""
    inside = (costs[None] <= limits[:, None]).all(axis=2)
    return np.where(inside, errors, worst).min(axis=1, initial=worst)


def expected_improvement(
    mean: np.ndarray, std: np.ndarray, costs: np.ndarray, limits: np.ndarray, best: np.ndarray
) -> np.ndarray:
    """The expected gain in hypervolume (p,) of candidates whose log error is normal with ``mean`` and ``std`` (p,) and whose
    ``costs`` (p, k) are known: the mean over the budgets ``limits`` (m, k) that hold it of the improvement over ``best`` (m,).
    """
    within = (costs[:, None] <= limits[None]).all(axis=2)
    spread = std[:, None]
    z = (np.log(best)[None] - mean[:, None]) / spread
    gain = best[None] * _normal(z) - np.exp(mean[:, None] + spread**2 / 2) * _normal(z - spread)
    return np.where(within, np.maximum(gain, 0), 0).mean(axis=1)


def _normal(z: np.ndarray) -> np.ndarray:
    """The distribution function of the standard normal."""
    return torch.special.ndtr(torch.from_numpy(z)).numpy()
