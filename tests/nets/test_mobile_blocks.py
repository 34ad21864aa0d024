"""CP and SSCP, their stems and the attachments: the published formulas, and what the modules compute."""

from __future__ import annotations

import pytest
import torch

from asc_search.nets.blocks import family
from asc_search.nets.cost import Cost, Shape
from asc_search.nets.ledger import Ledger
from asc_search.nets.spec import LayerSpec


def priced(layer: LayerSpec, shape: Shape) -> tuple[Cost, Shape]:
    """The price and the output shape of one layer on a map."""
    ledger = Ledger(shape)
    made = family(layer.family).price(layer, ledger, ledger.input)
    return ledger.cost(made), made.shape


def block(name: str, out: int, hidden: int, stride: tuple[int, int] = (1, 1), **options) -> LayerSpec:
    """A block without shortcut unless told, of explicit widths."""
    fusion = {"fusion": "parallel"} if name == "sscp" else {}
    return LayerSpec(
        name, out, stride, {"hidden": hidden, "shortcut": False, "attachment": "none", **fusion, **options}
    )


@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize("name", ["cp", "sscp"])
@pytest.mark.parametrize(("shape", "stride"), [((32, 64, 17), (1, 1)), ((33, 7, 5), (2, 1)), ((8, 1, 1), (2, 2))])
def test_blocks_follow_the_published_formulas(name, shape, stride, shortcut):
    ci, freq, time = shape
    e, co = 40, ci if shortcut else 24
    positions, after = freq * time, -(-freq // stride[0]) * -(-time // stride[1])
    taps, norms = (9, 4 * e) if name == "cp" else (6, 6 * e)
    cost, out = priced(block(name, co, e, stride, shortcut=shortcut), shape)
    assert cost.params == ci * e + taps * e + e * co + norms + 2 * co
    assert cost.macs == ci * e * positions + (taps * e + e * co) * after + norms + 2 * co
    assert cost.conv_linear_macs == cost.macs - norms - 2 * co
    assert out == (co, -(-freq // stride[0]), -(-time // stride[1]))


def test_serial_fusion_has_its_stride_axis_by_axis():
    ci, e, co, (freq, time) = 12, 20, 9, (16, 9)
    cost, out = priced(block("sscp", co, e, (2, 3), fusion="serial"), (ci, freq, time))
    assert out == (co, 8, 3)
    assert cost.params == ci * e + 6 * e + e * co + 6 * e + 2 * co
    assert cost.macs == ci * e * 16 * 9 + 3 * e * 8 * 9 + (3 * e + e * co) * 8 * 3 + 6 * e + 2 * co


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("sscp_stem", 2 * (3 * 8 + 3 * 8 * 32 + 2 * 8 + 2 * 32), 2 * (24 * 128 * 33 + 768 * 64 * 17 + 16 + 64)),
        ("cp_stem", 9 * 8 + 9 * 8 * 32 + 2 * 8 + 2 * 32, 72 * 128 * 33 + 2304 * 64 * 17 + 16 + 64),
    ],
)
def test_stems_follow_the_published_formula(name, params, macs):
    cost, out = priced(family(name).layer(1, 32, (2, 2)), (1, 256, 65))
    assert (cost.params, cost.macs, out) == (params, macs, (32, 64, 17))


# Squeeze-excitation: 2 c s + c + s; ECA: 3 taps at each channel; GRN: two scalars the counter gives no MACs.
ATTACHMENTS = [("se", 2 * 24 * 3 + 24 + 3, 2 * 24 * 3 + 24 + 3), ("eca", 3, 3 * 24), ("grn", 2, 0)]


@pytest.mark.parametrize(("kind", "params", "macs"), ATTACHMENTS)
def test_attachments_cost_what_their_formula_says(kind, params, macs):
    layer = family("cp").layer(24, 24, attachment=kind, reduction=8)
    cost, plain = (priced(one, (24, 9, 9))[0] for one in (layer, family("cp").layer(24, 24)))
    assert (cost.params - plain.params, cost.macs - plain.macs) == (params, macs)


def test_grn_starts_as_identity_and_is_the_formula_of_its_paper():
    norm = family("cp").build(block("cp", 4, 8, attachment="grn"), (4, 3, 5)).attachment
    x = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(norm(x), x)
    with torch.no_grad():
        norm.gamma.fill_(0.7)
        norm.beta.fill_(-0.2)
    g = (x**2).sum((2, 3)).sqrt()
    n = g / (g.mean(1, keepdim=True) + 1e-6)
    torch.testing.assert_close(norm(x), 0.7 * x * n[:, :, None, None] - 0.2 + x)


def test_gates_are_sigmoids_of_the_channels_means():
    x = torch.randn(2, 6, 3, 5, generator=torch.Generator().manual_seed(0))
    mean = x.mean((2, 3))
    se = family("cp").build(block("cp", 6, 8, attachment="se", squeeze=2), (4, 3, 5)).attachment
    narrow = torch.relu(mean @ se.narrow.weight[:, :, 0, 0].T + se.narrow.bias)
    gate = torch.sigmoid(narrow @ se.wide.weight[:, :, 0, 0].T + se.wide.bias)
    torch.testing.assert_close(se(x), x * gate[:, :, None, None])
    eca = family("cp").build(block("cp", 6, 8, attachment="eca"), (4, 3, 5)).attachment
    padded = torch.nn.functional.pad(mean, (1, 1))
    gate = torch.sigmoid(sum(eca.conv.weight[0, 0, tap] * padded[:, tap : tap + 6] for tap in range(3)))
    torch.testing.assert_close(eca(x), x * gate[:, :, None, None])


def test_parallel_branches_are_summed_not_chained():
    middle = family("sscp").build(block("sscp", 4, 8), (4, 5, 5)).middle.eval()
    x = torch.randn(1, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    (tall, *_), (wide, *_) = middle.first, middle.second
    assert (tall.kernel_size, wide.kernel_size) == ((3, 1), (1, 3))
    assert torch.equal(middle(x), middle.first[1:](tall(x)) + middle.second[1:](wide(x)))


@pytest.mark.parametrize("stride", [(1, 1), (1, 2), (2, 1)])
def test_shortcut_is_the_input_or_its_average_at_the_stride(stride):
    module = family("cp").build(block("cp", 4, 8, stride, shortcut=True), (4, 6, 7)).eval()
    x = torch.randn(2, 4, 6, 7, generator=torch.Generator().manual_seed(0))
    short = x if stride == (1, 1) else torch.nn.functional.avg_pool2d(x, 3, stride, padding=1)
    expected = torch.relu(module.project(module.middle(module.expand(x))) + short)
    torch.testing.assert_close(module(x), expected)


def test_bytes_are_those_of_the_weight_type():
    assert [Cost(params=10).weight_bytes(kind) for kind in ("fp32", "fp16", "int8")] == [40, 20, 10]
    parts = Cost(kernels=100, channels=7, others=5).int8_parts
    assert (parts.weights, parts.biases, parts.scales, parts.others) == (100, 28, 28, 20)
