"""Rank correlation of two series, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def kendall(x: Sequence[float], y: Sequence[float]) -> float:
    """Kendall's tau-b (Kendall 1945, ties counted in neither direction); nan where either series does not vary."""
    a, b = (np.sign(np.subtract.outer(np.asarray(values), np.asarray(values))) for values in (x, y))
    scale = np.sqrt(np.square(a).sum() * np.square(b).sum())
    return float((a * b).sum() / scale) if scale else float("nan")


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rho: Pearson's correlation of the ranks, equal values sharing their mean rank; nan as for ``kendall``."""
    a, b = (_ranks(np.asarray(values, float)) for values in (x, y))
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[group]
