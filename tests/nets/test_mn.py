"""MobileNetV3: blocks against closed forms and both counters, published totals, and pruning that changes nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torchinfo
from torch import nn

from asc_search.compress.prune import prune_to
from asc_search.errors import NetworkError
from asc_search.nets.blocks import family
from asc_search.nets.cost import Cost, Shape
from asc_search.nets.ledger import Ledger
from asc_search.nets.network import Network, build, price, shrink
from asc_search.nets.plan import End, Stage, assemble
from asc_search.nets.spec import LayerSpec, NetSpec
from asc_search.nets.systems.mn import SYSTEMS, mn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis


def kept(ratio: float) -> Callable[[int], int]:
    return lambda width: int(width * (1 - ratio))


def alone(layer: LayerSpec, shape: Shape, ledger_of: type[Ledger] = Ledger) -> Cost:
    ledger = ledger_of(shape)
    return ledger.cost(family(layer.family).price(layer, ledger, ledger.input))


def counted(network: nn.Module, shape: Shape) -> tuple[int, int, int]:
    """Parameters and MACs of torchinfo, and fvcore's convolutions and linear layers."""
    summary = torchinfo.summary(network.eval(), (1, *shape), verbose=0)
    flops = FlopCountAnalysis(network, torch.zeros(1, *shape)).unsupported_ops_warnings(False)
    operators = flops.uncalled_modules_warnings(False).by_operator()
    return summary.total_params, summary.total_mult_adds, operators["conv"] + operators["linear"]


# torchvision's mobilenet_v3_large has 5,483,032 with three input channels and 1,000 classes.
FULL = 5_483_032 - 2 * 16 * 9


@pytest.mark.parametrize(
    ("name", "params", "macs"), [("mn04", 983_599, 12_761_095), ("mn10", FULL - 473 * 1281, 63_029_239)]
)
def test_published_sizes_and_both_counters(name: str, params: int, macs: int) -> None:
    spec = SYSTEMS[name]()
    cost = price(spec)
    assert (cost.params, cost.macs) == (params, macs)
    assert counted(build(spec), spec.input) == (cost.params, cost.macs, cost.conv_linear_macs)
    assert params // 10_000 == {"mn04": 98, "mn10": 487}[name]  # EfficientAT names 0.98 and 4.88 million


def test_thousand_classes_are_the_published_network() -> None:
    assert price(mn(1.0, 1000)).params == FULL


@pytest.mark.parametrize("attachment", ["none", "se", "eca", "grn"])
@pytest.mark.parametrize(("kernel", "act"), [(3, "relu"), (5, "hard_swish")])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize(("inp", "out", "expand"), [(11, 11, True), (16, 13, True), (9, 9, False)])
def test_any_block_costs_what_is_built(
    inp: int, out: int, expand: bool, stride: tuple[int, int], kernel: int, act: str, attachment: str
) -> None:
    shape = (inp, 9, 14)
    layer = family("mn").layer(
        inp, out, stride, expand=expand, expansion=2.3, kernel=kernel, act=act, attachment=attachment
    )
    cost, block = alone(layer, shape), family("mn").build(layer, shape)
    assert counted(block, shape) == (cost.params, cost.macs, cost.conv_linear_macs)
    with torch.no_grad():
        made = block(torch.randn(2, *shape))
    assert made.shape[1:] == (out, -(-9 // stride[0]), -(-14 // stride[1]))
    if inp == out and stride == (1, 1):
        last = block.project[-1]
        nn.init.zeros_(last.weight)
        x = torch.randn(2, *shape)
        assert torch.equal(block(x), x), "a silent block with a shortcut is the identity"


@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
@pytest.mark.parametrize("expand", [True, False])
def test_block_follows_the_published_formula(stride: tuple[int, int], expand: bool) -> None:
    inp, out, kernel, freq, time = 40, 48, 5, 7, 13
    layer = family("mn").layer(inp, out, stride, expand=expand, expansion=3.0, kernel=kernel)
    e, s = (120, 32) if expand else (40, 16)  # 120 / 4 = 30 and 40 / 4 = 10, to multiples of 8 and at least 90 %
    before, after = freq * time, -(-freq // stride[0]) * -(-time // stride[1])
    norms = (4 if expand else 2) * e + 2 * out
    gate = 2 * e * s + e + s
    first = inp * e if expand else 0
    cost = alone(layer, (inp, freq, time))
    assert (layer.options["hidden"], layer.options["squeeze"]) == (e, s)
    assert cost.params == first + kernel**2 * e + e * out + norms + gate
    assert cost.macs == first * before + (kernel**2 * e + e * out) * after + norms + gate


def test_without_expansion_the_widths_must_agree() -> None:
    layer = family("mn").layer(12, 20, expand=False)
    with pytest.raises(NetworkError, match=r"layer 0 \(mn\): without an expansion .* 16, not 12"):
        price(NetSpec((16, 8, 8), 2, (layer, LayerSpec("conv_head", 2))))


def removed(width: int, ratio: float) -> torch.Tensor:
    """The channels to remove, anywhere among ``width``; the same for equal widths, so that shortcuts agree."""
    return torch.randperm(width, generator=torch.Generator().manual_seed(width))[kept(ratio)(width) :]


def silence(network: Network, classes: int, ratio: float) -> None:
    """Make the removed channels zero, and the weights that read them small but not zero."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.1)
                if module.num_features != classes:
                    module.weight[removed(module.num_features, ratio)] = 0
                    module.bias[removed(module.num_features, ratio)] = 0
            if isinstance(module, nn.Conv2d | nn.Linear):
                out, inp = module.weight.shape[:2]
                if inp > 1:
                    module.weight[:, removed(inp, ratio)] *= 1e-3
                if out != classes:
                    module.weight[removed(out, ratio)] *= 1e-3 if module.bias is None else 0
                    if module.bias is not None:
                        module.bias[removed(out, ratio)] = 0


@pytest.mark.parametrize("attachment", ["none", "se"])
@pytest.mark.parametrize(
    "head",
    [
        End("conv_head"),
        End("linear_head", {"features": 44, "hidden": 28, "act": "hard_swish", "dropout": 0.2}),
    ],
    ids=lambda head: head.family,
)
@pytest.mark.parametrize("ratio", [0.3, 0.5])
def test_removing_silent_channels_changes_nothing(ratio: float, head: End, attachment: str) -> None:
    torch.manual_seed(0)
    classes = 7
    options = {"attachment": attachment, "kernel": 5, "act": "hard_swish", "expansion": 2.5}
    stages = [
        Stage("mn", 1, 18, options={**options, "expand": False}),
        Stage("mn", 2, 22, (2, 2), options=options),
        Stage("mn", 2, 30, options={**options, "act": "relu", "kernel": 3}),
    ]
    source = assemble((1, 40, 33), classes, End("mn_stem"), 18, stages, (2, 2), head)
    network = build(source).eval()
    silence(network, classes, ratio)
    x = torch.randn(4, *source.input)
    before = network(x).detach()
    after = prune_to(network, source, shrink(source, kept(ratio))).eval()(x)
    assert before.std() > 1e-3
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("weight_type", "at_most"), [("fp16", 0.73), ("int8", 0.60)])
def test_a_uniform_ratio_makes_mn04_a_dcase_student(weight_type: str, at_most: float) -> None:
    """30 million MACs and 128,000 bytes of weights: the least ratio, by bisection on the price alone."""
    spec = mn(0.4, 10)

    def fits(ratio: float) -> bool:
        cost = price(shrink(spec, kept(ratio)))
        return cost.macs <= 30_000_000 and cost.weight_bytes(weight_type) <= 128_000

    low, high = 0.0, 0.8
    assert not fits(low) and fits(high)
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    assert high < at_most
    target = shrink(spec, kept(high))
    torch.manual_seed(0)
    pruned = prune_to(build(spec), spec, target).eval()
    assert sum(parameter.numel() for parameter in pruned.parameters()) == price(target).params
    assert counted(pruned, spec.input)[1] == price(target).macs
    assert pruned(torch.randn(2, *spec.input)).shape == (2, 10)
