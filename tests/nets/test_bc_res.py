"""The broadcasting families against their closed forms, both counters, plain formulas, and the published BC-Res2Net."""

from __future__ import annotations

import io
import itertools
import warnings

import numpy as np
import pytest
import torch
import torchinfo
from torch import nn
from torch.nn import functional

from asc_search.compress.prune import prune_to
from asc_search.errors import NetworkError
from asc_search.nets.blocks import Place, family
from asc_search.nets.blocks.bc_common import BatchResNorm, StatisticResNorm, SubSpectralNorm
from asc_search.nets.ledger import Ledger, Map
from asc_search.nets.network import build, price, shrink
from asc_search.nets.plan import End, Stage, assemble
from asc_search.nets.spec import LayerSpec, NetSpec
from asc_search.nets.systems.bc_res2 import SYSTEMS, bc_res2net
from asc_search.oracle.array_ledger import ArrayLedger

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis

RES2 = {"resnorm": "none", "spare_norm": False, "attachment": "none"}
RES = {"dilation": 1, "attachment": "none"}


def randomised(module: nn.Module) -> nn.Module:
    """The module in evaluation mode, its parameters and running statistics away from their start."""
    torch.manual_seed(0)
    with torch.no_grad():
        for value in (*module.parameters(), *module.buffers()):
            if value.is_floating_point():
                value.add_(0.2 * torch.rand_like(value))
    return module.eval()


def small(block: str, stem: dict, options: dict, stride: tuple[int, int], width: int, channels: int = 1) -> NetSpec:
    """A stem, two blocks and the head on a small map; the blocks get 16 frequency bins or 8."""
    stage = Stage(block, 2, width, stride, "first", options)
    head = End("bc_head", {"features": 7})
    return assemble((channels, 32, 14), 5, End("bc_stem", stem), 16, [stage], (2, 1), head)


NETWORKS = [
    small(block, {"input_norm": one == 1, "resnorm": kind}, options | {"attachment": gate}, stride, width, 1 + one)
    for (block, options), (kind, gate), (stride, width), one in itertools.product(
        (("bc_res", {"dilation": 2}), ("bc_res2", {"resnorm": "statistic"}), ("bc_res2", {"resnorm": "batch"})),
        (("none", "none"), ("statistic", "se"), ("batch", "eca"), ("none", "grn")),
        (((1, 1), 16), ((2, 1), 12)),
        (0, 1),
    )
]


@pytest.mark.parametrize("spec", NETWORKS, ids=range(len(NETWORKS)))
def test_price_is_what_both_counters_say(spec):
    cost, network = price(spec), build(spec).eval()
    counted = torchinfo.summary(network, (1, *spec.input), verbose=0)
    assert (cost.params, cost.macs) == (counted.total_params, counted.total_mult_adds)
    flops = FlopCountAnalysis(network, torch.zeros(1, *spec.input)).unsupported_ops_warnings(False)
    operators = flops.uncalled_modules_warnings(False).by_operator()
    assert cost.conv_linear_macs == operators["conv"] + operators["linear"]


@pytest.mark.parametrize(("ci", "c", "freq", "time"), [(24, 24, 32, 8), (48, 24, 128, 32), (7, 20, 4, 1)])
def test_bc_res2_follows_the_published_formulas(ci, c, freq, time):
    u = c // 4
    params = 8 * (3 * u**2 + u) + 8 * c
    macs = 4 * (3 * u**2 + u) * (freq * time + time) + 8 * c
    if ci != c:
        params += (ci * c + c) + 2 * c + (c**2 + c)
        macs += (ci * c + c) * freq * time + 2 * c + (c**2 + c) * time
    for spare, extra in ((False, 0), (True, 2 * c)):
        ledger = Ledger((ci, freq, time))
        layer = LayerSpec("bc_res2", c, (1, 1), RES2 | {"transition": ci != c, "spare_norm": spare})
        made = family("bc_res2").price(layer, ledger, ledger.input)
        assert (ledger.params, ledger.macs, made.shape) == (params + extra, macs, (c, freq, time))


@pytest.mark.parametrize(("ci", "stride"), [(20, (1, 1)), (20, (2, 1)), (12, (1, 2)), (9, (1, 1))])
def test_bc_res_follows_its_formula(ci, stride):
    c, freq, time = 20, 16, 6
    f, t = freq // stride[0], time // stride[1]
    params, macs = c**2 + 16 * c, 3 * c * f * t + 8 * c + (3 * c + c**2) * t + 2 * c
    if ci != c or stride != (1, 1):
        params, macs = params + ci * c + 2 * c, macs + ci * c * freq * time + 2 * c
    ledger = Ledger((ci, freq, time))
    layer = family("bc_res").layer(ci, c, stride, dilation=2)
    made = family("bc_res").price(layer, ledger, ledger.input)
    assert (ledger.params, ledger.macs, made.shape) == (params, macs, (c, f, t))


def test_sub_spectral_norm_is_a_norm_of_each_band():
    norm = randomised(SubSpectralNorm(3)).norm
    whole = SubSpectralNorm(3).eval()
    whole.norm = norm
    x = torch.randn(2, 3, 8, 5)
    got = whole(x)
    for channel, band in itertools.product(range(3), range(4)):
        index, rows = channel * 4 + band, slice(2 * band, 2 * band + 2)
        scale = norm.weight[index] / torch.sqrt(norm.running_var[index] + 1e-5)
        expected = (x[:, channel, rows] - norm.running_mean[index]) * scale + norm.bias[index]
        torch.testing.assert_close(got[:, channel, rows], expected)


def test_statistic_resnorm_is_the_formula_with_the_deviation():
    x = np.random.default_rng(0).normal(2, 3, (2, 4, 6, 5))
    mean, deviation = x.mean((1, 3), keepdims=True), x.std((1, 3), keepdims=True)
    expected = x + (x - mean) / np.sqrt(deviation + 1e-5)
    np.testing.assert_allclose(StatisticResNorm()(torch.from_numpy(x)).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 1, 4, 1)])
def test_statistic_resnorm_leaves_constant_bins_as_they_are(shape):
    x = torch.full(shape, 1.5, requires_grad=True)
    y = StatisticResNorm()(x)
    y.sum().backward()
    assert torch.equal(y, x)
    assert x.grad.isfinite().all()


def test_batch_resnorm_adds_a_norm_of_each_bin():
    module = randomised(BatchResNorm(6))
    norm, x = module.norm, torch.randn(2, 4, 6, 5)
    scale = norm.weight / torch.sqrt(norm.running_var + 1e-5)
    expected = x + (x - norm.running_mean[:, None]) * scale[:, None] + norm.bias[:, None]
    torch.testing.assert_close(module(x), expected)


def res2_chain(chain: nn.Module, x: torch.Tensor, padding: tuple[int, int]) -> torch.Tensor:
    """The four splits written out."""
    u = x.shape[1] // 4
    ops = [
        lambda part, op=op: op[1](functional.conv2d(part, op[0].weight, op[0].bias, padding=padding))
        for op in chain.ops
    ]
    y1 = ops[0](x[:, :u])
    y2 = ops[1](x[:, u : 2 * u] + y1)
    y3 = ops[2](x[:, 2 * u : 3 * u] + y2)
    return torch.cat((y1, y2, y3, ops[3](x[:, 3 * u :] + y3)), 1)


def test_bc_res2_blocks_compute_the_layers_in_the_published_order():
    layer = LayerSpec("bc_res2", 12, (2, 2), RES2 | {"transition": True, "resnorm": "batch"})
    block = randomised(family("bc_res2").build(layer, (8, 16, 10)))
    x = torch.randn(2, 8, 16, 10)
    y = functional.max_pool2d(x, 2)
    first, norm, _, chain = block.f2
    a = res2_chain(chain, norm(first(y)).relu(), (1, 0))
    b = block.f1[1](res2_chain(block.f1[0], a.mean(2, keepdim=True), (0, 1)))
    torch.testing.assert_close(block(x), block.resnorm((a + b).relu()))
    assert block(x).shape == (2, 12, 8, 5)
    assert (block.f1[2].p, first.bias is None) == (0.1, False)

    normal = randomised(
        family("bc_res2").build(LayerSpec("bc_res2", 8, (1, 1), RES2 | {"transition": False}), (8, 16, 10))
    )
    a = res2_chain(normal.f2[0], x, (1, 0))
    b = res2_chain(normal.f1[0], a.mean(2, keepdim=True), (0, 1))
    torch.testing.assert_close(normal(x), (x + a + b).relu())
    assert not [module for module in normal.modules() if isinstance(module, nn.Dropout2d)]


@pytest.mark.parametrize(("inp", "stride"), [(8, (1, 1)), (8, (2, 1)), (6, (1, 2))])
def test_bc_res_blocks_compute_the_formula_of_the_paper(inp, stride):
    block = randomised(family("bc_res").build(family("bc_res").layer(inp, 8, stride, dilation=4), (inp, 16, 10)))
    x = torch.randn(2, inp, 16, 10)
    transition = inp != 8 or stride != (1, 1)
    y = block.pointwise[1](functional.conv2d(x, block.pointwise[0].weight)).relu() if transition else x
    tall, norm = block.f2
    a = norm(functional.conv2d(y, tall.weight, stride=stride, padding=(1, 0), groups=8))
    wide, bn, _, last, dropout = block.f1
    b = bn(functional.conv2d(a.mean(2, keepdim=True), wide.weight, padding=(0, 4), dilation=(1, 4), groups=8))
    b = functional.conv2d(b * torch.sigmoid(b), last.weight)
    torch.testing.assert_close(block(x), (a + b + (0 if transition else x)).relu())
    assert dropout.p == 0.1


def test_attachment_is_before_the_last_activation_and_resnorm_after_it():
    for block in ("bc_res", "bc_res2"):
        layer = family(block).layer(8, 8, attachment="se")
        module = randomised(family(block).build(layer, (8, 8, 6)))
        x = torch.randn(2, 8, 8, 6)
        seen = {}
        module.attachment.register_forward_hook(
            lambda _, args, out, seen=seen: seen.update(sum=args[0], gated=out.clone())
        )
        y = module(x)
        after = seen["gated"].relu()
        torch.testing.assert_close(y, module.resnorm(after) if block == "bc_res2" else after)
        assert (seen["sum"] < 0).any()


def test_plan_switches_on_width_and_place():
    block = family("bc_res2")
    inner, last = Place(0, 0, False), Place(0, 1, True)
    assert block.layer(8, 12, (1, 1), inner, resnorm="batch").options == RES2 | {"transition": True}
    assert block.layer(12, 12, (1, 1), last, resnorm="batch").options == RES2 | {
        "transition": False,
        "resnorm": "batch",
    }
    assert family("bc_head").layer(40, 10, group_width=8, features=5).options == {"per_group": 8, "features": 5}
    assert family("bc_head").layer(3, 10, group_width=8).options["per_group"] == 3


@pytest.mark.parametrize("name", ["bc_res", "bc_res2"])
def test_one_network_that_cannot_be_built_leaves_the_others_of_its_batch(name):
    many, width = ArrayLedger(3), np.array([8, 16, 24])
    layer = family(name).layer(width, width)
    family(name).price(layer, many, Map(width - [0, 8, 0], np.full(3, 16), np.full(3, 9)))
    assert many.valid.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (
            LayerSpec("bc_res2", 10, (1, 1), RES2 | {"transition": False}),
            (10, 8, 8),
            "width 10 is not a multiple of its 4",
        ),
        (
            LayerSpec("bc_res2", 8, (2, 1), RES2 | {"transition": False}),
            (8, 12, 8),
            "6 frequency bins; .* multiple of 4",
        ),
        (
            LayerSpec("bc_res2", 8, (1, 1), RES2 | {"transition": False}),
            (12, 8, 8),
            "keeps its input's 12 channels, not 8",
        ),
        (LayerSpec("bc_res", 8, (1, 1), RES | {"transition": False}), (8, 6, 8), "6 frequency bins"),
        (LayerSpec("bc_res", 8, (1, 1), RES | {"transition": False}), (9, 8, 8), "keeps its input's 9 channels, not 8"),
        (
            LayerSpec("bc_head", 8, (1, 1), {"per_group": 2, "features": 3}),
            (9, 8, 8),
            "9 channels, which are no groups of 2",
        ),
        (LayerSpec("bc_head", 8, (1, 1), {"per_group": 9, "features": 3}), (9, 8, 4), "conv 5x5 .* map of 4x0"),
    ],
)
def test_what_does_not_divide_is_refused_by_name(layer, shape, message):
    with pytest.raises(NetworkError, match=rf"layer 0 \({layer.family}\): .*{message}"):
        price(NetSpec(shape, 8, (layer,)))


def test_widths_that_pruning_cannot_leave_are_refused_and_the_stem_is_pruned_exactly():
    with pytest.raises(NetworkError, match=r"layer 3 \(bc_res2\): pruning takes 12 .* not 36 and then 18"):
        shrink(bc_res2net(), lambda width: width // 2)
    with pytest.raises(NetworkError, match=r"layer 2 \(bc_res2\): with resnorm statistic it cannot be pruned"):
        shrink(bc_res2net(resnorm="statistic"), lambda width: width // 2)
    source = assemble((2, 12, 9), 3, End("bc_stem"), 8, [], (2, 1))
    network = randomised(build(source))
    conv = network[0][2]
    with torch.no_grad():
        for values in (conv.weight, conv.bias, network[1][0].weight.transpose(0, 1)):
            values[::2] = 0
    x = torch.randn(2, 2, 12, 9)
    before = network(x)
    pruned = prune_to(network, source, shrink(source, lambda width: width // 2))
    assert pruned[0][2].weight.shape == (4, 2, 5, 5)
    torch.testing.assert_close(pruned.eval()(x), before)


def test_published_network_and_its_table():
    spec = SYSTEMS["bcres2-24"]()
    cost, network = price(spec), build(spec).eval()
    assert (cost.params, cost.macs, cost.conv_linear_macs) == (76_906, 23_971_450, 23_198_976)
    called = set()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.register_forward_hook(lambda module, *_: called.add(module))
    network(torch.zeros(1, *spec.input))
    affine = {norm: 2 * norm.num_features for norm in norms}
    assert (sum(affine.values()), sum(affine[norm] for norm in norms if norm not in called)) == (7_392, 1_104)
    assert cost.macs - (7_392 - 1_104) == 23_965_162
    assert sum(buffer.numel() for buffer in network.buffers()) == 7_498
    flops = FlopCountAnalysis(network, torch.zeros(1, *spec.input)).unsupported_ops_warnings(False)
    operators = flops.uncalled_modules_warnings(False).by_operator()
    assert (operators["conv"], operators["batch_norm"]) == (23_198_976, 1_445_888)
    sizes = (row.out[1:] for row in cost.layers if row.out[1] > 1)
    assert [size for size, _ in itertools.groupby(sizes)] == [(256, 32), (128, 32), (64, 16), (32, 8), (28, 4)]


def test_published_network_from_drawn_options_is_the_same_but_for_the_spare_norms():
    stages = [
        Stage("bc_res2", 2, 24),
        Stage("bc_res2", 2, 36, (2, 2)),
        Stage("bc_res2", 4, 48, (2, 2)),
        Stage("bc_res2", 4, 60),
    ]
    spec = assemble((1, 256, 32), 10, End("bc_stem"), 48, stages, (2, 1), End("bc_head", {"group_width": 1}))
    assert spec.layers[:-1] == bc_res2net(spare_norms=False).layers[:-1]
    assert price(bc_res2net(spare_norms=False)).params == 76_906 - 1_104


@pytest.mark.parametrize(
    ("options", "params", "macs"),
    [
        ({"resnorm": "statistic"}, 75_882, 23_970_426),
        ({"deep": True}, 141_306, 40_077_354),
        ({"base": 80}, 763_746, 222_100_906),
    ],
)
def test_other_versions_have_the_totals_their_docstring_says(options, params, macs):
    spec = bc_res2net(**options)
    counted = torchinfo.summary(build(spec).eval(), (1, *spec.input), verbose=0)
    assert (price(spec).params, price(spec).macs) == (params, macs)
    assert (counted.total_params, counted.total_mult_adds) == (params, macs)


def test_what_the_published_files_register_differs_by_shared_convolutions_alone():
    saved = sum(3 * (3 * u**2 + u) for u in (6, 9, 12, 15))
    assert price(bc_res2net(resnorm="statistic")).params - saved == 71_382
    assert price(bc_res2net(deep=True)).params - 2 * saved == 132_306


@pytest.mark.parametrize("index", [0, 12, 20, 24, 35, 46])
@pytest.mark.filterwarnings("ignore")
def test_networks_survive_onnx_at_any_batch_size(index):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    spec, file = NETWORKS[index], io.BytesIO()
    network, x = randomised(build(spec)), torch.randn(3, *spec.input)
    torch.onnx.export(network, (x[:1],), file, input_names=["x"], dynamic_axes={"x": {0: "batch"}}, dynamo=False)
    (logits,) = runtime.InferenceSession(file.getvalue()).run(None, {"x": x.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), network(x), rtol=1e-3, atol=1e-3)
