"""Graphs made fit for int8: the same function, by operations that integer kernels have."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import fx, nn

from asc_search.compress.friendly import make_friendly
from asc_search.nets.network import build
from asc_search.nets.plan import mobile
from asc_search.nets.spec import LayerSpec, NetSpec

SHAPE = (1, 16, 12)
ATEN = torch.ops.aten


def with_block(family: str, **options: object) -> NetSpec:
    """A small network with a block of ``family`` between stem and head."""
    spec = mobile("cp", SHAPE, 5, 8, 1.5, 2.0)
    return replace(
        spec, layers=(spec.layers[0], LayerSpec(family, spec.layers[0].out, (1, 1), options), spec.layers[-1])
    )


def gated(kind: str, **options: object) -> NetSpec:
    spec = mobile("cp", SHAPE, 5, 8, 1.5, 2.0)
    layers = [
        replace(one, options={**one.options, "attachment": kind, **options}) if one.family == "cp" else one
        for one in spec.layers
    ]
    return replace(spec, layers=tuple(layers))


SPECS = {
    "average pool with padding": mobile("cp", SHAPE, 5, 8, 1.0, 2.0),
    "se": gated("se", squeeze=2),
    "eca": gated("eca"),
    "sub-spectral norm": with_block("bc_res", transition=False, dilation=1, attachment="none"),
    "resnorm over frequency": with_block(
        "bc_res2", transition=False, spare_norm=False, resnorm="batch", attachment="none"
    ),
    "norm of a sum": with_block("dssdb", attachment="none"),
    "norm of a sum, half the frequencies": with_block("dssdb_seg", attachment="none"),
}


def trained_a_little(spec: NetSpec) -> nn.Module:
    """A network whose norms have statistics, scales and shifts unlike those they start with."""
    torch.manual_seed(0)
    network = build(spec)
    for _ in range(3):
        network(torch.randn(8, *spec.input) * 2 - 1)
    for one in network.modules():
        if isinstance(one, nn.BatchNorm2d):
            nn.init.uniform_(one.weight, 0.5, 1.5)
            nn.init.uniform_(one.bias, -0.5, 0.5)
    return network.eval()


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
    assert ATEN.mean.dim not in operations(friendly) and ATEN.conv1d.default not in operations(friendly)
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
