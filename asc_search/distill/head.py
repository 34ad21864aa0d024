"""Fitting a linear head on frozen embeddings, cross-fitted so that its logits on training clips are honest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from asc_search.data.clips import Clips
from asc_search.train.windows import Windows

FOLDS = 5


@dataclass(frozen=True)
class Head:
    """Standardisation and a linear layer: embeddings (rows, width) -> logits (rows, classes)."""

    mean: torch.Tensor
    scale: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        x = (torch.from_numpy(embeddings.astype(np.float32)) - self.mean) / self.scale
        return (x @ self.weight.T + self.bias).numpy()


def fit_head(embeddings: np.ndarray, labels: np.ndarray, classes: int, decay: float = 1e-4, steps: int = 60) -> Head:
    """Multinomial logistic regression with L2 penalty ``decay``/2 * ||W||^2 on the mean loss, by L-BFGS."""
    x = torch.from_numpy(embeddings.astype(np.float32))
    y = torch.from_numpy(labels)
    mean, scale = x.mean(0), x.std(0).clamp_min(1e-4)
    x = (x - mean) / scale
    weight = torch.zeros(classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(x @ weight.T + bias, y) + 0.5 * decay * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return Head(mean, scale, weight.detach(), bias.detach())


def location_folds(clips: Clips, folds: int = FOLDS, seed: int = 0) -> np.ndarray:
    """A fold for each clip (clips,), whole locations together (clips without a location stand alone)."""
    groups = [location or f"clip {index}" for index, location in enumerate(clips.locations)]
    names = sorted(set(groups))
    fold_of = dict(zip(names, np.random.default_rng(seed).permutation(len(names)) % folds, strict=True))
    return np.array([fold_of[group] for group in groups])


def cross_fitted_logits(windows: Windows, classes: int, decay: float) -> np.ndarray:
    """Logits (windows, classes) where each window's come from a head that never saw its location, a mixture's from one
    that never saw its louder part's.
    """
    labels = windows.clips.label_array()[windows.clip_of]
    fold = location_folds(windows.clips)[windows.clip_of]
    values = windows.values[np.arange(len(windows))]
    logits = np.zeros((len(values), classes), np.float32)
    for held_out in np.unique(fold):
        taught = (fold != held_out) & windows.audible
        head = fit_head(values[taught], labels[taught], classes, decay)
        logits[fold == held_out] = head(values[fold == held_out])
    return logits
