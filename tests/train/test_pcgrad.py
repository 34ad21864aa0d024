"""Projected gradients against NumPy, by the formula of the paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asc_search.train.pcgrad import pcgrad, project


def by_numpy(gradients: np.ndarray, orders: list[list[int]]) -> np.ndarray:
    result = []
    for i, order in enumerate(orders):
        g = gradients[i].copy()
        for j in order:
            if j == i:
                continue
            dot = float(np.dot(g, gradients[j]))
            if dot < 0:
                g = g - dot / float(np.dot(gradients[j], gradients[j])) * gradients[j]
        result.append(g)
    return np.array(result)


@pytest.mark.parametrize("tasks", [2, 3, 4])
def test_projection_is_the_papers(tasks: int) -> None:
    rng = np.random.default_rng(tasks)
    for seed in range(20):
        gradients = rng.normal(size=(tasks, 7))
        again = torch.Generator().manual_seed(seed)
        orders = [torch.randperm(tasks, generator=again).tolist() for _ in range(tasks)]
        got = project(torch.from_numpy(gradients), torch.Generator().manual_seed(seed))
        np.testing.assert_allclose(got.numpy(), by_numpy(gradients, orders), rtol=0, atol=1e-6)


def test_gradients_of_parameters_are_means_where_all_tasks_reach_and_sums_elsewhere() -> None:
    """Two linear heads on a shared layer, their gradients in closed form; one parameter that no task reaches."""
    rng = np.random.default_rng(0)
    x, shared = rng.normal(size=5), rng.normal(size=(3, 5))
    heads = [rng.normal(size=3) for _ in range(2)]
    heads[1] = -heads[0] + 0.3 * heads[1]  # so that they conflict
    parameters = [torch.nn.Parameter(torch.from_numpy(value)) for value in (shared, *heads, np.ones(2))]
    hidden = parameters[0] @ torch.from_numpy(x)
    losses = [(parameters[1] * hidden).sum(), (parameters[2] * hidden).sum()]
    pcgrad(losses, parameters, torch.Generator().manual_seed(0))
    h, nothing = shared @ x, np.zeros(3)
    flat = np.array(
        [
            np.concatenate([np.outer(heads[0], x).ravel(), h, nothing]),
            np.concatenate([np.outer(heads[1], x).ravel(), nothing, h]),
        ]
    )
    assert flat[0] @ flat[1] < 0
    projected = by_numpy(flat, [[1], [0]])
    np.testing.assert_allclose(parameters[0].grad.numpy().ravel(), projected[:, :15].mean(0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(parameters[1].grad.numpy(), projected[:, 15:18].sum(0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(parameters[2].grad.numpy(), projected[:, 18:].sum(0), rtol=0, atol=1e-6)
    assert parameters[3].grad is None
