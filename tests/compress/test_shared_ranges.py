"""Tensors with one range in training with fake quantisation: it is that of all their values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("torchao")
pytest.importorskip("executorch")

from asc_search.compress.pt2e import converted, prepared_for_training

DEQUANTISE = torch.ops.quantized_decomposed.dequantize_per_tensor.default


class Joined(nn.Module):
    """Two convolutions of unlike range, joined, one of them read by a third, too; pooled at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow, self.wide = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1)
        self.other = nn.Conv2d(3, 6, 1)
        with torch.no_grad():
            self.wide.weight *= 20

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        narrow = self.narrow(x)
        joined = torch.cat([narrow, self.wide(x)], 1)
        return torch.flatten(nn.functional.adaptive_avg_pool2d(joined, 1), 1) + self.other(narrow).mean((2, 3))


def test_a_shared_range_is_that_of_what_is_joined() -> None:
    torch.manual_seed(0)
    network, x = Joined().eval(), torch.randn(32, 2, 8, 8)
    prepared = prepared_for_training(network, x.numpy())
    with torch.no_grad():
        for _ in range(400):  # steps of training; the average moves by a hundredth in each
            prepared(x)
        joined = torch.cat([network.narrow(x), network.wide(x)], 1)
    width = float(joined.max() - joined.min())
    (join,) = (node for node in prepared.graph.nodes if node.target is torch.ops.aten.cat.default)
    (behind,) = join.users
    observer = prepared.get_submodule(behind.target).activation_post_process
    assert float(observer.max_val - observer.min_val) == pytest.approx(width, rel=1e-3)
    assert float(network.narrow(x).max() - network.narrow(x).min()) < width / 5, "it would settle between them"

    graph = converted(prepared)
    (join,) = (node for node in graph.graph.nodes if node.target is torch.ops.aten.cat.default)
    parts = join.args[0]
    assert [one.target for one in parts] == [DEQUANTISE] * 2, "integer kernels join integers"
    scales = {one.args[1] for one in parts} | {next(iter(join.users)).args[1]}
    assert len(scales) == 1 and scales.pop() == pytest.approx(width / 255, rel=1e-3)
    with torch.no_grad():
        error = np.abs((graph(x) - network(x)).numpy()).max()
    assert error < 1.5 * width / 255


def test_what_is_read_apart_is_quantised_there() -> None:
    torch.manual_seed(0)
    network, x = Joined().eval(), torch.randn(32, 2, 8, 8)
    prepared = prepared_for_training(network, x.numpy())
    (third,) = (
        node
        for node in prepared.graph.nodes
        if node.target is torch.ops.aten.conv2d.default and "other" in str(node.args[2].target)
    )
    module = prepared.get_submodule(third.args[0].target)
    assert module.fake_quant_enabled.item() == 1 and module.observer_enabled.item() == 0
