"""Means of int8 numbers that lie between two levels, against whole numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from asc_search.compress.ties import break_ties, with_ties

pytest.importorskip("torchao")

from asc_search.compress.pt2e import quantised
from asc_search.nets.graph_file import ROUND


class Gated(nn.Module):
    """A map times its mean over 4 values."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return x * nn.functional.adaptive_avg_pool2d(x, 1)


def scales(graph: torch.fx.GraphModule) -> list[tuple[float, float]]:
    """Of what is averaged, and of the rounded mean."""
    rounded = [node for node in graph.graph.nodes if node.target is ROUND and "avg_pool" in str(node.args[0].target)]
    return [(node.args[0].args[0].args[1], node.args[1]) for node in rounded]


def test_halves_go_away_from_zero_and_everything_else_where_it_went() -> None:
    levels = np.random.default_rng(0).integers(-100, 101, (400, 1, 2, 2))
    graph = quantised(Gated(), np.linspace(-12.8, 12.7, 256, dtype=np.float32).reshape(64, 1, 2, 2))
    ((before, after),) = scales(graph)
    assert 0 < before - after < 1e-3 * before
    x = torch.from_numpy(levels * before).float()
    (pool,) = [node for node in graph.graph.nodes if "avg_pool" in str(node.target)]
    (rounded,) = pool.users
    (again,) = rounded.users
    zero = rounded.args[2]
    means = rounded.target(nn.functional.adaptive_avg_pool2d(x, 1), *rounded.args[1:]).int().flatten().numpy() - zero
    total = levels.sum((1, 2, 3))
    away = np.sign(total) * ((2 * np.abs(total) + 4) // 8)  # halves away from zero, in whole numbers
    assert (total % 4 == 2).mean() > 0.2
    assert np.array_equal(means, away) and again.args[1] == before
    ((one, other),) = scales(with_ties(graph))
    assert one == other == before
    break_ties(graph)
    assert scales(graph) == [(before, after)], "once is enough"
