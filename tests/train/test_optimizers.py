"""Optimisers by name: each makes the published update, against closed forms in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from asc_search.errors import AscSearchError
from asc_search.train.optimizers import OPTIMIZERS, make_optimizer

LR, DECAY, BETA1, BETA2, EPS = 0.01, 0.1, 0.9, 0.999, 1e-8


def adam(theta: np.ndarray, gradients: np.ndarray, kind: str) -> np.ndarray:
    """Kingma & Ba 2015 with L2; ``adamw`` decouples the decay, ``amsgrad`` keeps the largest second moment."""
    m, v, largest = (np.zeros_like(theta) for _ in range(3))
    for t, gradient in enumerate(gradients, 1):
        if kind == "adamw":
            theta = theta * (1 - LR * DECAY)
        else:
            gradient = gradient + DECAY * theta
        m, v = BETA1 * m + (1 - BETA1) * gradient, BETA2 * v + (1 - BETA2) * gradient**2
        largest = np.maximum(largest, v)
        second = (largest if kind == "amsgrad" else v) / (1 - BETA2**t)
        theta = theta - LR * m / (1 - BETA1**t) / (np.sqrt(second) + EPS)
    return theta


def radam(theta: np.ndarray, gradients: np.ndarray, kind: str) -> np.ndarray:
    """Liu et al. 2020, algorithm 2: plain momentum while the variance cannot be rectified."""
    m, v, longest = np.zeros_like(theta), np.zeros_like(theta), 2 / (1 - BETA2) - 1
    for t, gradient in enumerate(gradients, 1):
        gradient = gradient + DECAY * theta
        m, v = BETA1 * m + (1 - BETA1) * gradient, BETA2 * v + (1 - BETA2) * gradient**2
        step = m / (1 - BETA1**t)
        length = longest - 2 * t * BETA2**t / (1 - BETA2**t)
        if length > 5:
            rect = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
            step = step * rect * math.sqrt(1 - BETA2**t) / (np.sqrt(v) + EPS)
        theta = theta - LR * step
    return theta


def sgd(theta: np.ndarray, gradients: np.ndarray, kind: str) -> np.ndarray:
    """Nesterov's momentum 0.7 as Sutskever et al. 2013 write it, with L2."""
    velocity = np.zeros_like(theta)
    for gradient in gradients:
        gradient = gradient + DECAY * theta
        velocity = 0.7 * velocity + gradient
        theta = theta - LR * (gradient + 0.7 * velocity)
    return theta


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_makes_the_published_update(name: str) -> None:
    rng = np.random.default_rng(0)
    theta, gradients = rng.normal(size=5), rng.normal(size=(12, 5)) * rng.uniform(0.1, 3, (12, 1))
    network = nn.Linear(5, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        network.weight.copy_(torch.from_numpy(theta)[None])
    optimizer = make_optimizer(network, LR, DECAY, name, momentum=0.7)
    for gradient in gradients:
        network.weight.grad = torch.from_numpy(gradient)[None]
        optimizer.step()
    expected = {"radam": radam, "sgd": sgd}.get(name, adam)(theta, gradients, name)
    np.testing.assert_allclose(network.weight.detach().numpy()[0], expected, rtol=1e-6, atol=1e-9)


def test_sgd_goes_without_momentum_too_and_other_names_are_said() -> None:
    network = nn.Linear(2, 1)
    assert make_optimizer(network, 0.1, 0.0, "sgd", momentum=0.0).param_groups[0]["nesterov"] is False
    assert isinstance(make_optimizer(network, 0.1, 0.0), torch.optim.AdamW)
    with pytest.raises(AscSearchError, match=r"training\.optimizer: 'lion'"):
        make_optimizer(network, 0.1, 0.0, "lion")
