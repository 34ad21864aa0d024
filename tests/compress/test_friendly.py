"""Graphs made fit for int8: the same function, by operations that integer kernels have."""

from __future__ import annotations

import pytest
import torch
from int8_specs import SHAPE, SPECS, trained_a_little
from torch import fx, nn

from asc_search.compress.friendly import make_friendly

ATEN = torch.ops.aten
LEFT_OUT = {ATEN.conv1d.default, ATEN.split.Tensor, ATEN.unsqueeze.default, ATEN.linalg_vector_norm.default}


def operations(graph: fx.GraphModule) -> list[object]:
    return [node.target for node in graph.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("what", SPECS)
def test_the_function_stays_and_what_has_no_integer_kernel_goes(what: str) -> None:
    network = trained_a_little(SPECS[what])
    example = torch.randn(4, *SHAPE)
    batch = torch.export.Dim("batch", min=2)
    graph = torch.export.export(network, (example,), dynamic_shapes=({0: batch},)).module(check_guards=False)
    before = operations(graph)
    friendly = make_friendly(graph)
    x = torch.randn(7, *SHAPE)  # another batch than that of the example
    expected, found = network(x), friendly(x)
    assert torch.allclose(found, expected, atol=1e-5 * float(expected.detach().abs().max()))
    assert not LEFT_OUT & {*operations(friendly)}
    means = [node for node in friendly.graph.nodes if node.target is ATEN.mean.dim]
    assert not means or what == "grn"
    assert all([*node.args[1:]] == [[2, 3], True] for node in means)
    slices = [node for node in friendly.graph.nodes if node.target is ATEN.slice.Tensor]
    assert all(
        len(node.users) == 1 and node.meta["val"].shape[1:] != node.args[0].meta["val"].shape[1:] for node in slices
    )
    norms = [node for node in friendly.graph.nodes if node.target is ATEN.batch_norm.default]
    assert all(node.args[0].target is ATEN.conv2d.default for node in norms), "those fold into their convolutions"
    assert before != operations(friendly), "there was something to rewrite"


class Summed(nn.Module):
    """BatchNorm of the sum of two convolutions, with biases or a shared convolution before them."""

    def __init__(self, shared: bool, channels: int = 6) -> None:
        super().__init__()
        self.shared = nn.Conv2d(channels, channels, 1, groups=channels, bias=shared) if shared else nn.Identity()
        self.tall = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0), groups=channels)
        self.wide = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1), groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.shared(x)
        return torch.relu(self.norm(self.tall(y) + self.wide(y)))


@pytest.mark.parametrize("shared", [True, False])
def test_channels_of_a_sum_are_as_alike_as_its_norm_makes_them(shared: bool) -> None:
    """One range holds for a whole int8 map: channels a hundred times smaller would have few levels left."""
    torch.manual_seed(0)
    network = Summed(shared)
    sizes = torch.logspace(0, -2, 6).reshape(-1, 1, 1, 1)
    with torch.no_grad():
        for conv in (network.shared,) if shared else (network.tall, network.wide):
            conv.weight *= sizes
        for _ in range(80):
            network(30 * torch.randn(8, 6, 10, 12))
    network.norm.weight.data.uniform_(0.5, 1.5)
    network.norm.bias.data.uniform_(-0.5, 0.5)
    network.eval()
    example, x = torch.randn(4, 6, 10, 12), 30 * torch.randn(5, 6, 10, 12)
    batch = torch.export.Dim("batch", min=2)
    friendly = make_friendly(
        torch.export.export(network, (example,), dynamic_shapes=({0: batch},)).module(check_guards=False)
    )
    torch.testing.assert_close(friendly(x), network(x), rtol=1e-4, atol=1e-4)
    seen: dict[str, float] = {}

    class Watch(fx.Interpreter):
        def run_node(self, node: fx.Node) -> object:
            value = super().run_node(node)
            if node.target in (ATEN.conv2d.default, ATEN.add.Tensor):
                spread = value.abs().amax((0, 2, 3))
                seen[node.name] = float(spread.max() / spread.min())
            return value

    Watch(friendly).run(x)
    assert len(seen) == 3 + shared and ATEN.batch_norm.default not in operations(friendly)
    assert max(seen.values()) < 12, "of more than a hundred before"
