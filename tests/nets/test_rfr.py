"""RFR and SERFR blocks: the rho rule, totals, formulas and layer order of the reference text, both counters, pruning."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as nnf
import torchinfo
from torch import nn

from asc_search.errors import NetworkError
from asc_search.nets.blocks import Place, family
from asc_search.nets.blocks.rfr import rho_kernels
from asc_search.nets.ledger import Ledger
from asc_search.nets.network import build, price, shrink
from asc_search.nets.plan import End, Stage, assemble
from asc_search.nets.spec import LayerSpec, NetSpec
from asc_search.nets.systems.rfr import SYSTEMS, cp_resnet_2022, serfr

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis

TOTALS = [  # params, NeSsi MACs
    (SYSTEMS["serfr-32-a"](), 38_646, 26_780_630),
    (SYSTEMS["serfr-32-b"](), 60_438, 22_847_734),
    (SYSTEMS["serfr-24-a"](), 25_003, 16_156_243),
    (SYSTEMS["serfr-24-b"](), 37_315, 13_398_763),
    (serfr(32, "L"), 60_438, 46_156_022),
    (serfr(24, "L"), 37_315, 27_054_955),
    (serfr(32, "A+B"), 38_646, 13_272_022),
    (serfr(24, "A+B"), 25_003, 8_012_371),
    (SYSTEMS["cp-resnet-2022"](), 127_684, 28_840_396),
]
FIELDS = [(27, 15), (27, 15), (43, 23), (59, 31), (91, 39), (123, 47), (155, 55), (187, 63)]
FIELDS += [(219, 71), (251, 79), (283, 87), (315, 95), (315, 95), (315, 95), (315, 95)]  # bins x frames, rho 0 to 14
OPTIONS = [
    *[("rfr", {"rho": rho}) for rho in (0, 8, 14)],
    ("rfr", {"bottleneck": 4}),
    ("rfr", {"groups": 2, "bottleneck": 2}),
    ("rfr", {"groups": 4, "attachment": "grn"}),
    ("rfr", {"attachment": "se", "reduction": 3}),
    ("rfr", {"attachment": "eca"}),
    ("serfr", {}),
    ("serfr", {"units": 1, "kernel": 1, "bottleneck": 1}),
    ("serfr", {"units": 4, "attachment": "none"}),
    ("serfr", {"attachment": "eca"}),
    ("serfr", {"attachment": "grn"}),
]
STEMS = [
    {},
    {"kernel": 7, "pool": "none"},
    {"kernel": 3, "padding": 0, "pool": "avg", "pool_freq": 3, "pool_time": 1},
    {"kernel": 7, "padding": 2, "pool_freq": 1, "pool_time": 1},
]


def small(block: str, options: dict | None = None, width: int = 8, stem: dict | None = None) -> NetSpec:
    """Stem and four blocks: width kept, width kept with pooling, widened with pooling, widened."""
    stages = [
        Stage(block, 2, width, (2, 1), "last", options or {}),
        Stage(block, 1, width + 4, (1, 2), options=options or {}),
        Stage(block, 1, 2 * width, options=options or {}),
    ]
    return assemble((2, 33, 29), 4, End("rfr_stem", stem or {}), width, stages, (1, 1))


def counted(spec: NetSpec) -> tuple[tuple[int, int], int]:
    """Params and MACs by the official counter; convolution and linear MACs by fvcore."""
    network = build(spec).eval()
    official = torchinfo.summary(network, (1, *spec.input), verbose=0)
    operators = FlopCountAnalysis(network, torch.zeros(1, *spec.input)).unsupported_ops_warnings(False).by_operator()
    return (official.total_params, official.total_mult_adds), operators["conv"] + operators["linear"]


def priced(layer: LayerSpec, shape: tuple[int, int, int]) -> tuple[int, int, tuple[int, int, int]]:
    """Params, MACs and output shape of one block."""
    ledger = Ledger(shape)
    made = family(layer.family).price(layer, ledger, ledger.input)
    return ledger.params, ledger.macs, made.shape


def sizes(spec: NetSpec) -> list[tuple[int, int, int]]:
    """The output shape of each layer before the head."""
    last = {row.name.split(".")[0]: row.out for row in price(spec).layers}
    return list(last.values())[:-1]


@pytest.mark.parametrize(("spec", "params", "macs"), TOTALS)
def test_totals_are_those_of_the_reference_and_of_the_counters(spec, params, macs):
    cost = price(spec)
    assert (cost.params, cost.macs) == (params, macs)
    assert counted(spec) == ((params, macs), cost.conv_linear_macs)


def test_convolutions_of_cp_resnet_cost_what_the_reference_says():
    spec = cp_resnet_2022()
    cost = price(spec)
    assert (cost.conv_linear_macs, cost.params - cost.kernels) == (28_839_120, 1_276)
    assert [layer.out for layer in spec.layers] == [32, 32, 32, 64, 128 - 36, 10]


def test_maps_are_those_of_the_reference():
    maps = [(85, 14), (42, 7), (21, 3), (10, 1)]
    assert sizes(serfr(32, "L")) == sizes(serfr()) == [(32, *one) for one in maps]
    assert sizes(serfr(24, "B")) == [(24, *one) for one in [(42, 14), (21, 7), (10, 3), (5, 1)]]
    assert sizes(cp_resnet_2022()) == [(32, 63, 10), (32, 31, 10), (32, 15, 10), (64, 15, 10), (92, 15, 10)]


@pytest.mark.parametrize("rho", range(15))
def test_receptive_field_follows_rho_as_published(rho):
    large = (1, 700, 300)
    two_each = cp_resnet_2022(rho=rho, second=2, third=2).with_input(large)
    assert price(two_each).receptive_field == FIELDS[rho]
    if rho == 8:
        assert price(cp_resnet_2022().with_input(large)).receptive_field == (155, 55)


@pytest.mark.parametrize("rho", range(15))
def test_kernels_are_the_thresholds_of_the_2022_network(rho):
    x = rho - 4
    large = [
        *[(True, False), (not -x > 2, not -x > 1)],
        *[(not -x > 0, x > 0), (x > 1, x > 2)],
        *[(x > 3, x > 4), (x > 5, x > 6)],
    ]
    ours = [rho_kernels(rho, stage, block) for stage in range(3) for block in range(2)]
    assert ours == [(3 if one else 1, 3 if two else 1) for one, two in large]


def test_further_blocks_and_stages_keep_the_order_of_the_rule():
    for rho in range(15):
        kernels = [k for stage in range(5) for block in range(4) for k in rho_kernels(rho, stage, block)]
        by_stage = [sum(kernels[start : start + 8]) for start in range(0, 40, 8)]
        assert by_stage[1:] == sorted(by_stage[1:], reverse=True)
        assert rho_kernels(rho, 2, 3) == rho_kernels(rho, 2, 2) == rho_kernels(rho, 2, 1)
    assert rho_kernels(14, 3, 0) == (3, 3)
    assert rho_kernels(14, 3, 1) == (3, 1)


def test_place_decides_the_kernels_of_a_layer():
    for place in (Place(0, 0), Place(1, 0), Place(2, 1)):
        options = family("rfr").layer(8, 8, (1, 1), place, rho=5).options
        assert (options["kernel1"], options["kernel2"]) == rho_kernels(5, place.stage, place.block)


@pytest.mark.parametrize(("ci", "co"), [(8, 8), (12, 20), (16, 4)])
@pytest.mark.parametrize(("bottleneck", "groups"), [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (1, 4)])
@pytest.mark.parametrize("rho", [0, 4, 11])
def test_rfr_follows_the_closed_form(ci, co, bottleneck, groups, rho):
    freq, time, place = 9, 14, Place(1, 0)
    k1, k2 = rho_kernels(rho, 1, 0)
    m = co // bottleneck
    weights = (ci * m * k1**2 + m * co * k2**2 + (ci * co if ci != co else 0)) // groups
    norms = 2 * m + 2 * co + (2 * co if ci != co else 0)
    layer = family("rfr").layer(ci, co, (2, 3), place, rho=rho, bottleneck=bottleneck, groups=groups)
    shape = (co, freq // 2, time // 3)
    assert priced(layer, (ci, freq, time)) == (weights + norms, weights * freq * time + norms, shape)


@pytest.mark.parametrize(("ci", "co"), [(24, 24), (7, 13)])
@pytest.mark.parametrize(("units", "kernel", "bottleneck"), [(3, 3, 2), (1, 3, 1), (4, 1, 2)])
def test_serfr_follows_the_closed_form(ci, co, units, kernel, bottleneck):
    freq, time, m, s = 9, 14, co // bottleneck, max(1, co // 8)
    weights = ci * m + (units - 1) * co * m + units * m * co * kernel**2 + co * co
    once = units * (2 * m + 2 * co) + 2 * co + 2 * co * s + co + s
    layer = family("serfr").layer(ci, co, (2, 3), units=units, kernel=kernel, bottleneck=bottleneck)
    shape = (co, freq // 2, time // 3)
    assert priced(layer, (ci, freq, time)) == (weights + once, weights * freq * time + once, shape)
    assert layer.options["shortcut"] == (ci == co)


@pytest.mark.parametrize(("block", "options"), OPTIONS, ids=str)
def test_counters_agree_with_every_option(block, options):
    spec = small(block, options)
    cost = price(spec)
    assert counted(spec) == ((cost.params, cost.macs), cost.conv_linear_macs)


@pytest.mark.parametrize("options", STEMS, ids=str)
@pytest.mark.parametrize("stride", [(1, 1), (2, 1)])
def test_stem_pads_and_pools_as_told(options, stride):
    layer = family("rfr_stem").layer(2, 7, stride, **options)
    stem = family("rfr_stem").build(layer, (2, 33, 29)).eval()
    kernel = options.get("kernel", 5)
    padding = options.get("padding", kernel // 2)
    x = torch.randn(1, 2, 33, 29)
    y = nnf.relu(batch_norm(stem[1], nnf.conv2d(x, stem[0].weight, None, stride, padding)))
    positions = y[0, 0].numel()
    window = (options.get("pool_freq", 2), options.get("pool_time", 2))
    if options.get("pool") != "none":
        y = (nnf.avg_pool2d if options.get("pool") == "avg" else nnf.max_pool2d)(y, window)
    torch.testing.assert_close(stem(x), y)
    weights = 2 * 7 * kernel**2
    assert priced(layer, (2, 33, 29)) == (weights + 14, weights * positions + 14, tuple(y.shape[1:]))


def batch_norm(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    return nnf.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)


def awakened(network: nn.Module) -> nn.Module:
    """The network with BatchNorms as after training, in evaluation mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return network.eval()


@pytest.mark.parametrize(("ci", "co"), [(8, 8), (8, 12)])
@pytest.mark.parametrize("groups", [1, 2])
def test_rfr_is_the_reference_text_written_out(ci, co, groups):
    torch.manual_seed(0)
    layer = family("rfr").layer(ci, co, (2, 1), Place(0, 0), groups=groups)
    block = awakened(family("rfr").build(layer, (ci, 11, 9)))
    x = torch.randn(2, ci, 11, 9)
    y = nnf.relu(batch_norm(block.conv1[1], nnf.conv2d(x, block.conv1[0].weight, padding=1, groups=groups)))
    y = batch_norm(block.conv2[1], nnf.conv2d(y, block.conv2[0].weight, groups=groups))
    short = x
    if ci != co:
        short = batch_norm(block.shortcut[1], nnf.conv2d(x, block.shortcut[0].weight, groups=groups))
    torch.testing.assert_close(block(x), nnf.max_pool2d(nnf.relu(y + short), (2, 1)))


@pytest.mark.parametrize(("ci", "co"), [(16, 16), (5, 16)])
def test_serfr_is_the_table_written_out(ci, co):
    torch.manual_seed(0)
    layer = family("serfr").layer(ci, co, (2, 2))
    block = awakened(family("serfr").build(layer, (ci, 11, 9)))
    x = y = torch.randn(2, ci, 11, 9)
    convs = [module for module in block.units if isinstance(module, nn.Conv2d)]
    norms = [module for module in block.units if isinstance(module, nn.BatchNorm2d)]
    assert [conv.kernel_size[0] for conv in convs] == [1, 3] * 3
    for conv, norm in zip(convs, norms, strict=True):
        y = nnf.relu(batch_norm(norm, nnf.conv2d(y, conv.weight, padding=conv.kernel_size[0] // 2)))
    gate = block.attachment
    narrow = nnf.relu(nnf.linear(y.mean((2, 3)), gate.narrow.weight[:, :, 0, 0], gate.narrow.bias))
    y = y * torch.sigmoid(nnf.linear(narrow, gate.wide.weight[:, :, 0, 0], gate.wide.bias))[:, :, None, None]
    y = batch_norm(block.transition[1], nnf.conv2d(y, block.transition[0].weight))
    expected = nnf.max_pool2d(nnf.relu(y + x if ci == co else y), 2)
    torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("option", "value"), [("groups", 2), ("groups", 4), ("attachment", "grn")])
def test_groups_and_gates_across_channels_forbid_pruning(option, value):
    spec = small("rfr", {option: value})
    assert not family("rfr").prunable(spec.layers[1])
    with pytest.raises(NetworkError, match=rf"layer 1 \(rfr\): with {option} {value} it cannot be pruned"):
        shrink(spec, lambda width: width)


def test_groups_that_do_not_divide_are_refused_with_the_layer():
    with pytest.raises(NetworkError, match=r"layer 1 \(rfr\): 4 groups do not divide the widths 6, 6 and 6; choose"):
        price(small("rfr", {"groups": 4}, 6))
    with pytest.raises(NetworkError, match=r"layer 4 \(rfr\): 2 groups do not divide the widths 92, 63 and 126"):
        spec = cp_resnet_2022()
        odd = family("rfr").layer(92, 126, (1, 1), Place(3, 0), groups=2, bottleneck=2)
        price(NetSpec(spec.input, 10, (*spec.layers[:3], family("rfr").layer(32, 92), odd, spec.layers[-1])))


def test_input_too_small_is_refused_with_the_layer():
    with pytest.raises(NetworkError, match=r"layer 3 \(serfr\): pool would give 32 channels on a map of 8x0"):
        price(serfr().with_input((1, 192, 14)))


def test_unknown_reading_lists_the_known():
    with pytest.raises(NetworkError, match=r"unknown reading 'C' of SERFR-CNN; known: L, A, B, A\+B"):
        serfr(reading="C")
