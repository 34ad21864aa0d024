"""Residual blocks of the Seoul networks: totals and sizes of the reference text, both counters, layer order, pruning."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as nnf
import torchinfo
from torch import nn

from asc_search.errors import NetworkError
from asc_search.nets.blocks import family
from asc_search.nets.ledger import Ledger
from asc_search.nets.network import build, price, shrink
from asc_search.nets.plan import End, Stage, assemble
from asc_search.nets.spec import NetSpec
from asc_search.nets.systems.seoul import seoul_mel, seoul_raw

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis

RAW, RAW_K1, MEL, MEL_K3 = seoul_raw(), seoul_raw(shortcut_kernel=1), seoul_mel(), seoul_mel(shortcut_kernel=3)
TOTALS = [  # spec, input, params, NeSsi MACs
    *[(RAW, (2, 1, n), 630_154, macs) for n, macs in [(479_999, 3_021_997_322), (239_999, 1_510_843_786)]],
    (RAW, (2, 1, 47_999), 630_154, 301_999_882),
    *[(RAW_K1, (2, 1, n), 613_770, macs) for n, macs in [(479_999, 2_803_549_450), (239_999, 1_401_628_042)]],
    (RAW_K1, (2, 1, 47_999), 613_770, 280_160_010),
    *[(MEL, (2, 256, n), 1_083_160, macs) for n, macs in [(248, 3_136_859_950), (23, 298_178_230), (26, 348_762_190)]],
    *[(MEL_K3, (2, 256, n), 1_385_560, macs) for n, macs in [(248, 3_688_437_550), (23, 351_400_630)]],
    (MEL_K3, (2, 256, 26), 1_385_560, 412_266_190),
    (MEL, (1, 256, 248), 1_081_690, 3_044_990_830),
]
OPTIONS = [{}, {"attachment": "se"}, {"attachment": "eca"}, {"attachment": "grn"}, {"shortcut_kernel": 1}]
OPTIONS = [*OPTIONS, {"shortcut_kernel": 3, "attachment": "se", "reduction": 3}]


def small(block: str, width: int = 10, options: dict | None = None, stride: tuple[int, int] = (2, 3)) -> NetSpec:
    """Stem and four blocks: width kept, width kept with a stride, widened with a stride, widened."""
    stages = [
        Stage(block, 2, width, stride, "last", options or {}),
        Stage(block, 1, width + 3, stride, options=options or {}),
        Stage(block, 1, 2 * width, options=options or {}),
    ]
    stem = End("res1d_stem", {"kernel": 6}) if block == "res1d" else End("res2d_stem")
    return assemble((2, 19, 65), 4, stem, width, stages, (1, 2))


@pytest.mark.parametrize(("spec", "shape", "params", "macs"), TOTALS)
def test_totals_are_those_of_the_reference_and_of_the_counter(spec, shape, params, macs):
    spec = spec.with_input(shape)
    cost = price(spec)
    assert (cost.params, cost.macs) == (params, macs)
    counted = torchinfo.summary(build(spec).to("meta").eval(), (1, *shape), device="meta", verbose=0)
    assert (counted.total_params, counted.total_mult_adds) == (params, macs)


@pytest.mark.parametrize("spec", [RAW.with_input((2, 1, 47_999)), MEL.with_input((2, 256, 23))], ids=["raw", "mel"])
def test_networks_run_on_one_second(spec):
    network = build(spec).eval()
    counted = torchinfo.summary(network, (1, *spec.input), verbose=0)
    assert counted.total_mult_adds == price(spec).macs
    assert network(torch.randn(1, *spec.input)).shape == (1, 10)


def sizes(spec: NetSpec) -> list[tuple[int, int, int]]:
    """The output shape of each layer before the head."""
    last = {row.name.split(".")[0]: row.out for row in price(spec).layers}
    return list(last.values())[:-1]


def test_lengths_of_the_raw_network_are_those_of_table_2():
    lengths = [39_999, 13_333, 4_444, 1_481, 493, 164, 54, 18]
    assert sizes(RAW) == [(width, 1, n) for width, n in zip([64, 64, *[128] * 6], lengths, strict=True)]
    one_second = RAW.with_input((2, 1, 47_999))
    assert [shape[2] for shape in sizes(one_second)] == [3_999, 1_333, 444, 148, 49, 16, 5, 1]


def test_maps_of_the_mel_network_are_those_of_table_3():
    assert sizes(MEL) == [(30, 252, 248), (30, 252, 248), (60, 126, 124), (120, 63, 62), (240, 21, 21)]


def test_raw_network_varies_in_width_depth_and_stem():
    spec = seoul_raw(base=16, blocks=5, kernel=24, embedding=0).with_input((2, 1, 47_999))
    assert sizes(spec) == [(16, 1, 1999), (16, 1, 666), (32, 1, 222), (32, 1, 74), (32, 1, 24), (32, 1, 8)]
    counted = torchinfo.summary(build(spec).eval(), (1, *spec.input), verbose=0)
    assert (counted.total_params, counted.total_mult_adds) == (price(spec).params, price(spec).macs)


@pytest.mark.parametrize(("ci", "co"), [(5, 5), (4, 9)])
@pytest.mark.parametrize("shortcut", [1, 3])
def test_blocks_follow_the_closed_form(ci, co, shortcut):
    freq, time = 6, 13
    for name, taps, kernel in (("res1d", 3, shortcut), ("res2d", 9, shortcut**2)):
        ledger = Ledger((ci, freq, time))
        block = family(name)
        cost = ledger.cost(block.price(block.layer(ci, co, shortcut_kernel=shortcut), ledger, ledger.input))
        weights = taps * ci * co + co + taps * co**2 + co + ((kernel * ci * co + co) if ci != co else 0)
        assert (cost.params, cost.macs) == (weights + 4 * co, weights * freq * time + 4 * co)


@pytest.mark.parametrize("block", ["res1d", "res2d"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_counters_agree_with_every_option(block, options):
    spec = small(block, 7, options)
    cost, network = price(spec), build(spec).eval()
    counted = torchinfo.summary(network, (1, *spec.input), verbose=0)
    assert (cost.params, cost.macs) == (counted.total_params, counted.total_mult_adds)
    operators = FlopCountAnalysis(network, torch.zeros(1, *spec.input)).unsupported_ops_warnings(False).by_operator()
    assert cost.conv_linear_macs == operators["conv"] + operators["linear"]


def awakened(network: nn.Module) -> nn.Module:
    """The network with BatchNorms as after training, in evaluation mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return network.eval()


def batch_norm(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    return nnf.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)


def test_raw_network_is_the_reference_text_in_one_dimension():
    torch.manual_seed(0)
    spec = seoul_raw(base=6, blocks=3).with_input((2, 1, 1000))
    network = awakened(build(spec))
    x = torch.randn(2, 2, 1, 1000)
    y = nnf.conv1d(x[:, :, 0], network[0][0].weight[:, :, 0], network[0][0].bias, stride=12)
    y = nnf.leaky_relu(batch_norm(network[0][1], y), 0.3)
    for block, _ in list(network)[1:-1]:
        conv1, norm1, _, conv2, norm2 = block.body
        z = nnf.leaky_relu(batch_norm(norm1, nnf.conv1d(y, conv1.weight[:, :, 0], conv1.bias, padding=1)), 0.3)
        z = batch_norm(norm2, nnf.conv1d(z, conv2.weight[:, :, 0], conv2.bias, padding=1))
        if y.shape[1] != z.shape[1]:
            y = nnf.conv1d(y, block.shortcut.weight[:, :, 0], block.shortcut.bias, padding=1)
        y = nnf.max_pool1d(nnf.leaky_relu(y + z, 0.3), 3)
    embedding, _, output = network[-1].classifier
    expected = output(embedding(y.mean(2)))
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)


def test_mel_network_is_the_reference_text_written_out():
    torch.manual_seed(0)
    spec = seoul_mel(base=4).with_input((2, 40, 30))
    network = awakened(build(spec))
    x = torch.randn(2, 2, 40, 30)
    y = nnf.conv2d(nnf.pad(x, (3, 3, 1, 1)), network[0][0].weight, network[0][0].bias)
    y = nnf.leaky_relu(batch_norm(network[0][1], y), 0.3)
    for block, stride in zip(list(network)[1:-1], (1, 2, 2, 3), strict=True):
        conv1, norm1, _, conv2, norm2 = block.body
        z = nnf.conv2d(y, conv1.weight, conv1.bias, stride, padding=1)
        z = nnf.conv2d(nnf.leaky_relu(batch_norm(norm1, z), 0.3), conv2.weight, conv2.bias, padding=1)
        if stride > 1:
            y = nnf.conv2d(y, block.shortcut[1].weight, block.shortcut[1].bias, stride)
        y = nnf.leaky_relu(y + batch_norm(norm2, z), 0.3)
    output = network[-1].classifier[0]
    torch.testing.assert_close(network(x), output(y.mean((2, 3))), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attachment", ["eca", "grn"])
def test_gates_across_channels_forbid_pruning(attachment):
    with pytest.raises(NetworkError, match=rf"layer 1 \(res2d\): with attachment {attachment} it cannot be pruned"):
        shrink(small("res2d", 8, {"attachment": attachment}), lambda width: width)


def test_stem_refuses_to_skip_samples():
    spec = assemble((1, 1, 100), 2, End("res1d_stem", {"kernel": 6}), 4, [], (1, 12))
    with pytest.raises(NetworkError, match=r"layer 0 \(res1d_stem\): a kernel of 6 samples with a stride of 12 skips"):
        price(spec)


def test_input_too_short_is_refused_with_the_layer():
    with pytest.raises(NetworkError, match=r"layer 7 \(res1d\): pool would give 128 channels on a map of 1x0"):
        price(RAW.with_input((2, 1, 20_000)))
