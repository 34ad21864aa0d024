"""DSSDB blocks and DSMN: the formulas, totals and layer order of the reference text, and both counters."""

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
from asc_search.nets.network import build, price
from asc_search.nets.spec import LayerSpec, NetSpec
from asc_search.nets.systems.dsmn import dsmn_1, dsmn_2, dsmn_3, dsmn_4

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis

TOTALS = [  # params, NeSsi MACs, convolution and linear weights' MACs
    (dsmn_1(), 45_164, 8_645_641, 8_113_600),
    (dsmn_2(), 56_556, 25_441_889, 24_559_640),
    (dsmn_3(), 56_172, 16_746_033, 16_089_064),
    (dsmn_4(), 140_748, 20_920_441, 20_182_928),
    (dsmn_4(hidden=64), 121_812, 20_901_505, 20_164_028),
]
SIZES = [(16, 24, 8, 11), (6, 7, 9, 5), (64, 64, 16, 2), (2, 5, 2, 3)]  # ci, co, freq, time
BLOCKS = ["dssdb", "dssdb_seg"]


def network_of(layer: LayerSpec, shape: tuple[int, int, int]) -> NetSpec:
    """A 1x1 stem without stride that keeps the width, ``layer``, a convolutional head."""
    stem, head = LayerSpec("dssdb_stem", shape[0]), LayerSpec("conv_head", 3)
    return NetSpec(shape, 3, (stem, layer, head))


@pytest.mark.parametrize(("spec", "params", "macs", "weight_macs"), TOTALS)
def test_totals_are_those_of_the_reference_and_of_the_counter(spec, params, macs, weight_macs):
    cost = price(spec)
    assert (cost.params, cost.macs, cost.conv_linear_macs) == (params, macs, weight_macs)
    counted = torchinfo.summary(build(spec).eval(), (1, *spec.input), verbose=0)
    assert (counted.total_params, counted.total_mult_adds) == (params, macs)


@pytest.mark.parametrize("spec", [dsmn_1(), dsmn_2(), dsmn_3()], ids=["1", "2", "3"])
def test_maps_of_the_blocks_are_the_published_ones(spec):
    maps = [spec.input[1:]]
    for index in range(1, 6):
        maps.append([row.out[1:] for row in price(spec).layers if row.name.startswith(f"{index}.dssdb")][-1])
    assert maps == [(256, 44), (128, 22), (64, 11), (32, 5), (16, 2), (8, 1)]


@pytest.mark.parametrize(("ci", "co", "freq", "time"), SIZES)
def test_dssdb_follows_the_closed_form(ci, co, freq, time):
    h, positions = ci // 2, freq * time
    cost = block_cost("dssdb", ci, co, freq, time)
    assert cost.params == 18 * ci + (ci + 8 * h) + 2 * (ci * h + h) + 3 + (3 * h * co + co) + 2 * co
    taps = 2 * 7 * ci + ci + 6 * h + 2 * (ci * h + h) + 3 * h * co + co
    assert cost.macs == positions * taps + 4 * ci + 2 * h + 9 * h + 2 * co


@pytest.mark.parametrize(("ci", "co", "freq", "time"), SIZES)
def test_dssdb_seg_follows_the_closed_form(ci, co, freq, time):
    h, positions = ci // 2, freq // 2 * time
    cost = block_cost("dssdb_seg", ci, co, freq, time)
    assert cost.params == 18 * ci + (ci + 8 * h) + 2 * (ci * h + h) + 3 + (h * co + co) + 2 * co
    taps = 2 * 7 * ci + ci + 6 * h + 2 * (ci * h + h) + h * co + co
    assert cost.macs == positions * taps + 4 * ci + 2 * h + 3 * h + 2 * co


def block_cost(name: str, ci: int, co: int, freq: int, time: int):
    """The cost of one block alone."""
    ledger = Ledger((ci, freq, time))
    return ledger.cost(family(name).price(family(name).layer(ci, co), ledger, ledger.input))


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("attachment", ["none", "se", "eca", "grn"])
@pytest.mark.parametrize("stride", [(1, 1), (1, 2), (2, 2)])
def test_counters_agree_with_every_attachment_and_stride(name, attachment, stride):
    spec = network_of(family(name).layer(10, 7, stride, attachment=attachment), (10, 9, 6))
    cost, network = price(spec), build(spec).eval()
    counted = torchinfo.summary(network, (1, *spec.input), verbose=0)
    assert (cost.params, cost.macs) == (counted.total_params, counted.total_mult_adds)
    operators = FlopCountAnalysis(network, torch.zeros(1, *spec.input)).unsupported_ops_warnings(False).by_operator()
    assert cost.conv_linear_macs == operators["conv"] + operators["linear"]


def dssc(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """DSSC as the reference has it, on (batch, channel, time, freq): (3,1) goes along time."""
    inp, out = x.shape[1], block.merge.weight.shape[0]
    scale = block.merge.weight.view(1, out, inp // out, 1, 1)
    y = (x.view(len(x), out, inp // out, *x.shape[2:]) * scale).sum(2)
    along_time, along_freq = block.wide.weight.transpose(2, 3), block.tall.weight.transpose(2, 3)
    first = nnf.conv2d(y, along_time, padding=(2, 0), dilation=(2, 1), groups=out)
    second = nnf.conv2d(y, along_freq, padding=(0, 2), dilation=(1, 2), groups=out)
    return torch.relu(batch_norm(block.norm, first + second))


def batch_norm(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    return nnf.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)


def pointwise(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    return torch.einsum("oi,bitf->botf", conv.weight[:, :, 0, 0], x) + conv.bias.view(1, -1, 1, 1)


def eca(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    means = nnf.pad(x.mean((2, 3)), (1, 1))
    taps = module.conv.weight.flatten()
    mixed = taps[0] * means[:, :-2] + taps[1] * means[:, 1:-1] + taps[2] * means[:, 2:]
    return x * torch.sigmoid(mixed)[:, :, None, None]


@pytest.mark.parametrize("name", BLOCKS)
def test_block_is_the_reference_text_written_out(name):
    torch.manual_seed(0)
    seg = name == "dssdb_seg"
    spec = network_of(family(name).layer(6, 5, (1, 2) if seg else (2, 2)), (6, 9, 8))
    block = build(spec)[1].eval()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.uniform_(0.5, 1.5)
    x = torch.randn(2, 6, 9, 8)
    text = x.transpose(2, 3)  # (batch, channel, time, freq)
    if seg:
        low, high = text[..., :4].contiguous(), text[..., 4:8]
        y = pointwise(block.distil1, low) + pointwise(block.distil2, high)
        y = y + dssc(block.third, dssc(block.second, dssc(block.first, low)))
    else:
        first = dssc(block.first, text.contiguous())
        third = dssc(block.third, dssc(block.second, first))
        y = torch.cat([pointwise(block.distil1, text), pointwise(block.distil2, first), third], dim=1)
    y = torch.relu(batch_norm(block.last[1], pointwise(block.last[0], eca(block.attachment, y))))
    y = nnf.avg_pool2d(y, (2, 1) if seg else (2, 2))
    torch.testing.assert_close(block(x), y.transpose(2, 3), rtol=1e-4, atol=1e-5)


def test_stem_is_a_strided_convolution_with_bias():
    spec = NetSpec((2, 9, 8), 3, (LayerSpec("dssdb_stem", 5, (2, 3)), LayerSpec("conv_head", 3)))
    stem = build(spec)[0]
    x = torch.randn(2, 2, 9, 8)
    torch.testing.assert_close(stem(x), nnf.conv2d(x, stem[1].weight, stem[1].bias, (2, 3)))
    cost = price(spec).layers[1]
    assert (cost.params, cost.macs, cost.out) == (15, 15 * 5 * 3, (5, 5, 3))
    # Strided 1x1 convolutions of few channels overrun their memory in training (torch 2.13 on the CPU).
    assert not [m for m in stem.modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1)]


@pytest.mark.parametrize("name", BLOCKS)
def test_odd_width_is_refused_with_the_layer_and_the_reason(name):
    with pytest.raises(NetworkError, match=rf"layer 1 \({name}\): its input has 7 channels; it needs an even number"):
        price(network_of(family(name).layer(7, 8), (7, 8, 8)))


def test_split_needs_two_bins():
    with pytest.raises(
        NetworkError, match=r"layer 1 \(dssdb_seg\): its input has 1 frequency bins; it needs 2 or more"
    ):
        price(network_of(family("dssdb_seg").layer(8, 8), (8, 1, 8)))
