"""The contract of every registered layer family, on random networks made of them.

``ASC_SEARCH_CONTRACT=N`` in the environment tries N random networks for each family instead of a few.
"""

from __future__ import annotations

import json
import os
import random
import warnings
from dataclasses import replace

import pytest
import torch
import torchinfo

from asc_search.errors import NetworkError
from asc_search.nets.blocks import Option, families, family
from asc_search.nets.cost import Cost
from asc_search.nets.network import build, price, shrink
from asc_search.nets.spec import LayerSpec, NetSpec

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis

FAMILIES = [(role, name) for role in ("stem", "block", "head") for name in families(role)]
SEEDS = range(int(os.environ.get("ASC_SEARCH_CONTRACT", "12")))


def drawn(rng: random.Random, option: Option) -> bool | int | float | str:
    """A random allowed value of ``option``."""
    if option.choices is not None:
        return rng.choice(option.choices)
    if option.kind == "bool":
        return rng.random() < 0.5
    if option.kind == "int":
        return rng.randint(int(option.low), int(option.high))
    if option.kind == "float":
        return rng.uniform(option.low, min(option.high, 4.0))
    return option.default


def random_spec(role: str, name: str, seed: int) -> NetSpec:
    """A small network with the named family in it: odd widths and inputs, all strides, at times pruned."""
    rng = random.Random(f"{name} {seed}")
    shape = (rng.choice((1, 2)), rng.randint(5, 70), rng.randint(5, 40))
    names = [name if role == "stem" else rng.choice(list(families("stem")))]
    blocks = [rng.choice(list(families("block"))) for _ in range(rng.randint(0, 3))]
    if role == "block":
        blocks.insert(rng.randint(0, len(blocks)), name)
    names += [*blocks, name if role == "head" else rng.choice(list(families("head")))]
    layers, channels, classes = [], shape[0], rng.randint(2, 13)
    for index, chosen in enumerate(names):
        # Equal widths half of the time, so that shortcuts occur; widths at 4 to 41, mostly no multiple of 8.
        keeps = 0 < index < len(names) - 1 and rng.random() < 0.5
        out = classes if index == len(names) - 1 else channels if keeps else rng.randint(4, 41)
        stride = (rng.randint(1, 2), rng.randint(1, 2)) if index < len(names) - 1 else (1, 1)
        options = {key: drawn(rng, option) for key, option in family(chosen).options.items()}
        layers.append(family(chosen).plan(channels, out, stride, options))
        channels = out
    spec = NetSpec(shape, classes, tuple(layers))
    if rng.random() < 0.5 and all(family(layer.family).shrink for layer in layers):
        spec = shrink(spec, lambda width: max(1, int(width * 0.7)))
    return spec


def randomised(spec: NetSpec) -> torch.nn.Module:
    """The built module, every parameter and running statistic away from its start, in evaluation mode."""
    torch.manual_seed(0)
    network = build(spec).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
    return network


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[(*item, seed) for item in FAMILIES for seed in SEEDS], ids=lambda p: f"{p[1]}-{p[2]}")
def spec(request) -> NetSpec:
    return random_spec(*request.param)


def test_price_equals_both_counters_on_the_built_module(spec):
    cost, network = price(spec), build(spec).eval()
    counted = torchinfo.summary(network, (1, *spec.input), verbose=0)
    assert (cost.params, cost.macs) == (counted.total_params, counted.total_mult_adds)
    operators = (
        FlopCountAnalysis(network, torch.zeros(1, *spec.input))
        .unsupported_ops_warnings(False)
        .uncalled_modules_warnings(False)
        .by_operator()
    )
    assert cost.conv_linear_macs == operators["conv"] + operators["linear"]
    assert cost.params == sum(parameter.numel() for parameter in network.parameters())


def test_table_adds_up_and_shapes_are_those_that_run(spec):
    cost = price(spec)
    rows = cost.layers
    assert sum(row.params for row in rows) == cost.params
    assert sum(row.macs for row in rows) == cost.macs
    assert sum(row.conv_linear_macs for row in rows) == cost.conv_linear_macs
    assert len({row.name for row in rows}) == len(rows)
    x, shape = torch.zeros(1, *spec.input), spec.input
    for layer, module in zip(spec.layers[:-1], build(spec).eval(), strict=False):
        x = module(x)
        _, shape = family(layer.family).price(layer, shape)
        assert tuple(x.shape[1:]) == shape


def test_network_gives_logits_apart_for_each_example(spec):
    network = randomised(spec)
    x = torch.randn(4, *spec.input)
    with torch.no_grad():
        together = network(x)
        alone = torch.cat([network(x[i : i + 1]) for i in range(4)])
    assert together.shape == (4, spec.classes)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_training_reaches_every_parameter_with_finite_gradients(spec):
    torch.manual_seed(1)
    network = build(spec).train()
    torch.nn.functional.cross_entropy(network(torch.randn(4, *spec.input)), torch.zeros(4, dtype=torch.long)).backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert not [name for name, gradient in gradients.items() if gradient is None]
    assert not [name for name, gradient in gradients.items() if not torch.isfinite(gradient).all()]


def test_spec_and_weights_rebuild_the_network(spec):
    network = randomised(spec)
    again = NetSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert hash(again) == hash(spec)
    other = build(again).eval()
    other.load_state_dict(network.state_dict(), strict=True)
    x = torch.randn(2, *spec.input)
    with torch.no_grad():
        assert torch.equal(network(x), other(x))


@pytest.mark.parametrize(("role", "name"), FAMILIES)
def test_shrinking_prunes_every_width_but_the_classes(role, name):
    if family(name).shrink is None:
        pytest.skip("this family declares that it cannot be pruned")
    spec = random_spec(role, name, 0)
    if not all(family(layer.family).shrink for layer in spec.layers):
        pytest.skip("the random network has another family that cannot be pruned")
    assert shrink(spec, lambda width: width) == spec
    small = shrink(spec, lambda width: max(1, width // 2))
    assert small.layers[-1].out == spec.classes
    assert [layer.out for layer in small.layers[:-1]] == [max(1, layer.out // 2) for layer in spec.layers[:-1]]
    assert price(small).params < price(spec).params
    assert build(small).eval()(torch.zeros(1, *spec.input)).shape == (1, spec.classes)


@pytest.mark.parametrize(("role", "name"), FAMILIES)
def test_options_are_described_and_their_defaults_allowed(role, name):
    assert family(name).role == role
    assert family(name).doc
    for key, option in family(name).options.items():
        assert option.doc, key
        assert option.problem(option.default) is None, key


@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        (Option("float", 2.0, "x", low=1.0, high=8.0), [1, 8.0], ["2", True, None, 0.9, 8.1]),
        (Option("int", 2, "x", low=1, high=4), [1, 4], [1.5, False, 0]),
        (Option("bool", False, "x"), [True], [0, "yes"]),
        (Option("str", "a", "x", choices=("a", "b")), ["b"], ["c", 1]),
    ],
)
def test_option_names_what_is_not_allowed(option, good, bad):
    assert [option.problem(value) for value in good] == [None] * len(good)
    assert all(option.problem(value) for value in bad)


@pytest.mark.parametrize("name", ["cp", "sscp"])
@pytest.mark.parametrize(("shape", "stride"), [((32, 64, 17), (1, 1)), ((33, 7, 5), (2, 1)), ((8, 1, 1), (2, 2))])
def test_mobile_blocks_follow_the_published_formulas(name, shape, stride):
    ci, freq, time = shape
    e, co = 40, 24
    positions, after = freq * time, -(-freq // stride[0]) * -(-time // stride[1])
    taps, norms = (9, 4 * e) if name == "cp" else (6, 6 * e)
    layer = LayerSpec(name, co, stride, {"hidden": e})
    cost, out = family(name).price(layer, shape)
    assert cost.params == ci * e + taps * e + e * co + norms + 2 * co
    assert cost.macs == ci * e * positions + (taps * e + e * co) * after + norms + 2 * co
    assert out == (co, -(-freq // stride[0]), -(-time // stride[1]))


def test_sscp_stem_follows_the_published_formula():
    q, b = 8, 32
    cost, out = family("sscp_stem").price(family("sscp_stem").plan(1, b, (2, 2), {}), (1, 256, 65))
    assert cost.params == 2 * (3 * q + 3 * q * b + 2 * q + 2 * b)
    assert cost.macs == 2 * (3 * q * 128 * 33 + 3 * q * b * 64 * 17 + 2 * q + 2 * b)
    assert out == (b, 64, 17)


def test_grn_is_two_parameters_without_macs_and_starts_as_identity():
    layer = LayerSpec("cp", 24, (1, 1), {"hidden": 40, "grn": True})
    plain = replace(layer, options={"hidden": 40})
    with_grn, without = (family("cp").price(each, (24, 9, 9))[0] for each in (layer, plain))
    assert (with_grn.params - without.params, with_grn.macs - without.macs) == (2, 0)
    torch.manual_seed(0)
    block = family("cp").build(layer, 24).eval()
    other = family("cp").build(plain, 24).eval()
    other.load_state_dict({key: value for key, value in block.state_dict().items() if not key.startswith("norm.")})
    x = torch.randn(2, 24, 9, 9)
    assert torch.equal(block(x), other(x))


def test_grn_is_the_formula_of_its_paper():
    layer = LayerSpec("cp", 4, (1, 1), {"hidden": 8, "grn": True})
    norm = family("cp").build(layer, 4).norm
    with torch.no_grad():
        norm.gamma.fill_(0.7)
        norm.beta.fill_(-0.2)
    x = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    g = (x**2).sum((2, 3)).sqrt()
    n = g / (g.mean(1, keepdim=True) + 1e-6)
    torch.testing.assert_close(norm(x), 0.7 * x * n[:, :, None, None] - 0.2 + x)


def test_parallel_branches_are_summed_not_chained():
    layer = LayerSpec("sscp", 4, (1, 1), {"hidden": 8})
    middle = family("sscp").build(layer, 4).middle.eval()
    x = torch.randn(1, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    (tall, *_), (wide, *_) = middle.first, middle.second
    assert (tall.kernel_size, wide.kernel_size) == ((3, 1), (1, 3))
    expected = middle.first[1:](tall(x)) + middle.second[1:](wide(x))
    assert torch.equal(middle(x), expected)


def test_unknown_family_lists_the_known():
    spec = NetSpec((1, 8, 8), 2, (LayerSpec("cpx", 8),))
    for walk in (price, build, lambda spec: shrink(spec, int)):
        with pytest.raises(NetworkError, match=r"unknown layer family 'cpx'; known: .*\bcp\b.*\bsscp\b"):
            walk(spec)


def test_collapsed_map_names_the_layer_and_what_to_do():
    stem = family("cp_stem").plan(1, 8, (2, 2), {})
    with pytest.raises(NetworkError, match=r"layer 0 \(cp_stem\): its output map is 0x9 .*larger input than 0x33"):
        price(NetSpec((1, 0, 33), 2, (stem, LayerSpec("conv_head", 2))))


def test_family_without_shrink_is_an_error_that_names_it(monkeypatch):
    fixed = replace(family("cp"), shrink=None)
    monkeypatch.setattr("asc_search.nets.network.family", lambda name: fixed)
    with pytest.raises(NetworkError, match=r"layer 0 \(cp\): this family cannot be pruned"):
        shrink(NetSpec((1, 8, 8), 2, (LayerSpec("cp", 8, (1, 1), {"hidden": 8}),)), int)


def test_costs_add_up():
    assert Cost(1, 2, 3) + Cost(10, 20, 30) == Cost(11, 22, 33)
    assert [Cost(params=10).weight_bytes(kind) for kind in ("fp32", "fp16", "int8")] == [40, 20, 10]
