"""Channels of unlike spread: the same function in parts, with an int8 error that the small channels survive."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from asc_search.compress import unlike
from asc_search.compress.friendly import make_friendly

ATEN = torch.ops.aten
SPREADS = [0.05, 1.0, 1.2, 0.06, 0.04, 0.9, 1e-4, 1.1]  # the seventh is dead


class Stem(nn.Module):
    """The beginning of MobileNetV3: hard swish, read by a depthwise convolution and by the sum behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.swish = nn.Hardswish(inplace=True)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.second = nn.BatchNorm2d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.swish(self.norm(self.conv(x)))
        return y + torch.relu(self.second(self.depthwise(y)))


@pytest.fixture
def stem() -> Stem:
    torch.manual_seed(0)
    network = Stem()
    with torch.no_grad():
        network.norm.weight.copy_(torch.tensor(SPREADS))
        network.norm.bias.uniform_(-0.2, 0.2)
        for _ in range(80):
            network(torch.randn(8, 1, 16, 12))
    return network.eval()


def graph_of(network: nn.Module, training: bool = False) -> torch.fx.GraphModule:
    batch = torch.export.Dim("batch", min=2)
    example = torch.randn(4, 1, 16, 12)
    return torch.export.export(network.train(training), (example,), dynamic_shapes=({0: batch},)).module(
        check_guards=False
    )


def test_runs_are_of_like_channels_and_the_dead_divide_nothing() -> None:
    spreads, shifts = torch.tensor(SPREADS), torch.linspace(-0.3, 0.3, 8)
    drawn = np.random.default_rng(0).normal(shifts.numpy(), spreads.numpy(), (100_000, 8))
    behind = (drawn * np.clip(drawn / 6 + 0.5, 0, 1)).std(0)
    small = behind < behind.max() / 6
    assert small.tolist() == [True, False, False, True, True, False, True, False], "the fixture is what it seems"
    assert unlike.runs(spreads, shifts) == [slice(0, 1), slice(1, 3), slice(3, 5), slice(5, 8)]
    assert unlike.runs(torch.ones(8), shifts) == [slice(0, 8)]


def test_the_function_stays_and_nothing_is_multiplied_twice(stem: Stem) -> None:
    graph = make_friendly(graph_of(stem))
    x = torch.randn(7, 1, 16, 12)
    torch.testing.assert_close(graph(x), stem.eval()(x), rtol=1e-5, atol=1e-6)
    convs = [node for node in graph.graph.nodes if node.target is ATEN.conv2d.default]
    assert len(convs) == 2 * 4
    kernels = [dict(graph.named_parameters())[str(node.args[1].target)] for node in convs]
    assert sum(one.numel() for one in kernels) == stem.conv.weight.numel() + stem.depthwise.weight.numel()


def test_it_trains_as_before(stem: Stem) -> None:
    graph, x = make_friendly(graph_of(stem, training=True)), 2 * torch.randn(8, 1, 16, 12) + 1
    torch.testing.assert_close(graph(x), stem.train()(x), rtol=1e-4, atol=1e-5)
    counted = torch.cat([value for name, value in graph.named_buffers() if name.startswith("norm_running_mean_")])
    torch.testing.assert_close(counted, stem.norm.running_mean)


@pytest.mark.parametrize("trained", [False, True])
def test_small_channels_keep_their_values_in_int8(stem: Stem, monkeypatch: pytest.MonkeyPatch, trained: bool) -> None:
    pytest.importorskip("torchao")
    pytest.importorskip("executorch")
    from asc_search.compress.pt2e import converted, prepared_for_training, quantised

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = stem

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.stem.second(self.stem.depthwise(self.stem.swish(self.stem.norm(self.stem.conv(x)))))

    with torch.no_grad():
        x = torch.randn(64, 1, 16, 12)
        read = stem.swish(stem.norm(stem.conv(x)))
        stem.second.running_var.copy_(stem.depthwise(read).var((0, 2, 3)))  # as after training: all alike behind it
        stem.second.running_mean.copy_(stem.depthwise(read).mean((0, 2, 3)))

    def errors() -> torch.Tensor:
        graph = (
            converted(prepared_for_training(Watched().eval(), x.numpy()))
            if trained
            else quantised(Watched().eval(), x.numpy())
        )
        with torch.no_grad():
            return (graph(x) - Watched().eval()(x)).pow(2).mean((0, 2, 3)).sqrt()

    apart = errors()
    monkeypatch.setattr(unlike, "MOST", 1)
    together = errors()
    small = torch.tensor([0, 3, 4])
    assert (apart[small] < together[small] / 2).all(), (apart, together)
