"""The contract of every registered layer family, on random networks made of them.

``--candidates N`` compares the price of N random networks with both counters instead of a few.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torchinfo
from random_specs import FAMILIES, random_options, random_place, random_spec, random_stride
from torch import nn

from asc_search.errors import NetworkError
from asc_search.nets.blocks import Family, Option, families, family
from asc_search.nets.ledger import Ledger
from asc_search.nets.network import build, price, shrink, walk
from asc_search.nets.spec import LayerSpec, NetSpec

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis

EACH = 3  # random networks of each family
TINY = 120  # networks of each family on maps so small that many cannot be


def random_specs(kind: Family, count: int, salt: str = "", prunable: bool = False) -> list[NetSpec]:
    """``count`` random networks with a layer of ``kind``, the same ones each time."""
    rng = random.Random(f"{kind.name} {salt}")
    return [random_spec(rng, kind, prunable) for _ in range(count)]


SPECS = [(kind.name, number, spec) for kind in FAMILIES for number, spec in enumerate(random_specs(kind, EACH))]
every_family = pytest.mark.parametrize("kind", FAMILIES, ids=lambda kind: kind.name)


@pytest.fixture(params=SPECS, ids=lambda param: f"{param[0]}-{param[1]}")
def spec(request: pytest.FixtureRequest) -> NetSpec:
    return request.param[2]


def awakened(spec: NetSpec) -> nn.Module:
    """The built module, every parameter and running statistic away from its start, in evaluation mode."""
    torch.manual_seed(0)
    network = build(spec).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return network


def refused(use: Callable[[NetSpec], object], spec: NetSpec) -> str | None:
    """Why ``use`` refuses ``spec``, or None."""
    try:
        use(spec)
    except NetworkError as error:
        return str(error)
    return None


def test_every_family_is_drawn_often_enough() -> None:
    counts: dict[str, list[int]] = {}
    rng = random.Random(0)
    for kind in FAMILIES:
        for _ in range(20):
            assert kind.name in [layer.family for layer in random_spec(rng, kind, counts=counts).layers]
    assert len(counts) == len(FAMILIES)
    assert {name: found for name, found in counts.items() if found[0] < 20 or found[0] < 0.05 * found[1]} == {}


@pytest.mark.timeout(0)
def test_price_equals_both_counters_on_the_built_module(request: pytest.FixtureRequest) -> None:
    count = request.config.getoption("--candidates")
    rng, differences = random.Random(f"counters {count}"), []
    for kind in itertools.islice(itertools.cycle(FAMILIES), count):
        spec = random_spec(rng, kind)
        cost, network = price(spec), build(spec).eval()
        counted = torchinfo.summary(network, (1, *spec.input), verbose=0)
        flops = FlopCountAnalysis(network, torch.zeros(1, *spec.input))
        operators = flops.unsupported_ops_warnings(False).uncalled_modules_warnings(False).by_operator()
        ours = (cost.params, cost.macs, cost.conv_linear_macs)
        theirs = (counted.total_params, counted.total_mult_adds, operators["conv"] + operators["linear"])
        if ours != theirs:
            differences.append((ours, theirs, spec))
    assert differences == []


def test_price_is_that_of_the_parameters_and_parts_add_up(spec: NetSpec) -> None:
    cost = price(spec)
    assert cost.params == sum(parameter.numel() for parameter in build(spec).parameters())
    rows = cost.layers
    assert sum(row.params for row in rows) == cost.params
    assert sum(row.macs for row in rows) == cost.macs
    assert sum(row.conv_linear_macs for row in rows) == cost.conv_linear_macs
    assert len({row.name for row in rows}) == len(rows)
    numbers = (cost.params, cost.macs, cost.conv_linear_macs, cost.kernels, cost.channels, cost.others)
    assert all(type(number) is int for number in numbers)
    weighing = [one for one in build(spec).modules() if isinstance(one, nn.Conv1d | nn.Conv2d | nn.Linear)]
    assert cost.kernels == sum(one.weight.numel() for one in weighing)
    assert cost.channels == sum(one.weight.shape[0] for one in weighing)


def test_rows_have_the_shapes_that_run(spec: NetSpec) -> None:
    """The output of each layer, and values and weights' MACs of each convolution in it."""
    network = build(spec).eval()
    ran: list[tuple[int, int]] = []

    def note(module: nn.Module, _: tuple, out: torch.Tensor) -> None:
        positions = out.numel() // (out.shape[1] if out.dim() > 2 else out.numel())
        ran.append((out.numel(), module.weight.numel() * positions))

    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            module.register_forward_hook(note)
    rows = price(spec).layers
    maps = [torch.zeros(1, *spec.input)]
    for (kind, layer, reads), module in zip(walk(spec, ledger := Ledger(spec.input)), network, strict=True):
        assert [tuple(x.shape[1:]) for x in maps[-len(reads) :]] == [one.shape for one in reads]
        maps.append(module(*maps[-len(reads) :]))
        assert kind.taps(layer) == len(reads)
    priced = [(row.out[0] * row.out[1] * row.out[2], row.conv_linear_macs) for row in rows if row.conv_linear_macs]
    assert sorted(priced) == sorted(ran)
    assert rows[-1].out == (spec.classes, 1, 1)
    assert ledger.cost(reads[-1]) == price(spec)


def test_network_gives_logits_apart_for_each_example(spec: NetSpec) -> None:
    network = awakened(spec)
    x = torch.randn(3, *spec.input)
    with torch.no_grad():
        together = network(x)
        alone = torch.cat([network(x[i : i + 1]) for i in range(3)])
    assert together.shape == (3, spec.classes)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4 * float(together.abs().max() + 1))


def test_training_reaches_every_parameter_with_finite_gradients(spec: NetSpec) -> None:
    torch.manual_seed(1)
    network = build(spec).train()
    nn.functional.cross_entropy(network(torch.randn(4, *spec.input)), torch.zeros(4, dtype=torch.long)).backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    assert [name for name, gradient in gradients.items() if not torch.isfinite(gradient).all()] == []


def test_running_statistics_are_the_batch_s_after_fifty_steps(spec: NetSpec) -> None:
    """Else what was trained for a few hundred steps, as in a search, is not what is measured."""
    torch.manual_seed(2)
    network, x = build(spec), 3 * torch.randn(8, *spec.input) + 2
    norms = [one for one in network.modules() if isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d)]
    for one in network.modules():
        if isinstance(one, nn.Dropout | nn.Dropout2d):
            one.p = 0.0
    fed: dict[nn.Module, torch.Tensor] = {}
    for norm in norms:
        norm.register_forward_pre_hook(lambda norm, given: fed.__setitem__(norm, given[0].detach()))
    with torch.no_grad():
        for _ in range(50):
            network.train()(x)
    for norm, seen in fed.items():
        over = [axis for axis in range(seen.dim()) if axis != 1]
        mean, spread = seen.mean(over), seen.std(over)
        assert ((norm.running_mean - mean).abs() <= 0.02 * (mean.abs() + spread)).all()  # 0.9 ** 50 of it are missing


def test_spec_and_weights_rebuild_the_network(spec: NetSpec) -> None:
    network = awakened(spec)
    again = NetSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert hash(again) == hash(spec)
    other = build(again).eval()
    other.load_state_dict(network.state_dict(), strict=True)
    x = torch.randn(2, *spec.input)
    with torch.no_grad():
        assert torch.equal(network(x), other(x))


def test_a_seed_decides_the_network_and_evaluation_does_not_change_it(spec: NetSpec) -> None:
    torch.manual_seed(3)
    first = build(spec).eval()
    torch.manual_seed(3)
    second = build(spec).eval()
    x = torch.randn(2, *spec.input)
    with torch.no_grad():
        logits = [first(x), first(x), second(x)]
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


@every_family
def test_tiny_maps_and_widths_give_a_network_or_an_error_that_names_the_layer(kind: Family) -> None:
    rng = random.Random(f"tiny {kind.name}")
    outcomes = []
    for index in range(TINY):
        shape = (rng.randint(1, 9), rng.randint(1, 6), rng.randint(1, 6))
        out = 3 if kind.role == "head" else rng.randint(1, 9)
        options = random_options(rng, kind)
        stride = random_stride(rng) if kind.role != "head" else (1, 1)
        layers = [kind.layer(shape[0], out, stride, random_place(rng), **options)]
        if kind.role != "head":
            layers.append(family("conv_head").layer(out, 3))
        spec = NetSpec(shape, 3, tuple(layers))
        refusal = refused(price, spec)
        outcomes.append(refusal is None)
        if refusal:
            assert re.match(rf"layer 0 \({kind.name}\): ", refusal), (refusal, spec)
            assert re.search(r"\b(use|needs?|must|choose|change|keeps?|there are|divide)\b", refusal), refusal
            assert refused(build, spec) == refusal
        elif index % 4 == 0:
            assert build(spec).eval()(torch.zeros(1, *shape)).shape == (1, 3)
    if kind.role == "block":
        assert any(outcomes)


@every_family
def test_options_are_described_and_their_defaults_allowed(kind: Family) -> None:
    assert family(kind.name) is kind
    assert families(kind.role)[kind.name] is kind
    assert kind.doc
    for key, option in kind.options.items():
        assert option.doc, key
        assert option.problem(option.default) is None, key
        assert all(option.problem(value) is None for value in option.choices or ()), key
        if option.kind in ("int", "float") and option.choices is None:
            assert option.low is not None and option.high is not None, key
    layer = kind.layer(8, 8, (1, 1))
    assert json.loads(json.dumps(layer.to_json())) == layer.to_json()
    assert kind.taps(layer) <= kind.most_taps


@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        (Option("float", 2.0, "x", low=1.0, high=8.0), [1, 8.0], ["2", True, None, 0.9, 8.1]),
        (Option("int", 2, "x", low=1, high=4), [1, 4], [1.5, False, 0]),
        (Option("bool", False, "x"), [True], [0, "yes"]),
        (Option("str", "a", "x", choices=("a", "b")), ["b"], ["c", 1]),
    ],
)
def test_option_names_what_is_not_allowed(option: Option, good: list, bad: list) -> None:
    assert [option.problem(value) for value in good] == [None] * len(good)
    assert all(option.problem(value) for value in bad)


def test_unknown_family_lists_the_known() -> None:
    spec = NetSpec((1, 8, 8), 2, (LayerSpec("cpx", 8),))
    for use in (price, build, lambda spec: shrink(spec, int)):
        with pytest.raises(NetworkError, match=r"unknown layer family 'cpx'; known: .*\bcp\b.*\bsscp\b"):
            use(spec)


@every_family
def test_an_option_the_price_needs_and_misses_is_named(kind: Family) -> None:
    layer = kind.layer(8, 8, (1, 1))
    for key in layer.options:
        left = {name: value for name, value in layer.options.items() if name != key}
        spec = NetSpec((8, 32, 32), 8, (replace(layer, options=left),))
        if refusal := refused(price, spec):
            assert re.match(rf"layer 0 \({kind.name}\): (the option '{key}' is missing|reads the last)", refusal)
            assert refused(build, spec) == refusal


@pytest.mark.parametrize(("out", "stride"), [(0, (1, 1)), (-1, (1, 1)), (8, (0, 1)), (8, (1, -2))])
def test_widths_and_strides_below_1_are_refused(out: int, stride: tuple[int, int]) -> None:
    layer = replace(family("cp_stem").layer(1, 8), out=out, stride=stride)
    with pytest.raises(NetworkError, match=r"layer 0 \(cp_stem\): width .* and stride .* must be 1 or more"):
        price(NetSpec((1, 32, 33), 2, (layer, LayerSpec("conv_head", 2))))


def test_collapsed_map_names_the_layer_and_what_to_do() -> None:
    stem = family("cp_stem").layer(1, 8, (2, 2))
    with pytest.raises(NetworkError, match=r"layer 0 \(cp_stem\): conv1 .* map of 0x17 .*use a larger input"):
        price(NetSpec((1, 0, 33), 2, (stem, LayerSpec("conv_head", 2))))


@every_family
def test_a_network_is_shrunk_or_says_why_not(kind: Family) -> None:
    """Whether a layer is prunable, whether ``shrink`` takes it, and what ``fixed`` names agree."""
    rng = random.Random(kind.name)
    for _ in range(40):
        layer = kind.layer(16, 16, (1, 1), random_place(rng), **random_options(rng, kind))
        spec = NetSpec((16, 64, 64), 16, (layer,))
        if kind.prunable(layer):
            assert shrink(spec, lambda width: width).layers == (layer,)
            small = shrink(spec, lambda width: max(1, width // 2)).layers[0]
            assert small.out == (16 if kind.role == "head" else 8)
            assert small.options.keys() == layer.options.keys()
            continue
        reason = "this family" if kind.shrink is None else r"with \w+ \S+ it"
        with pytest.raises(NetworkError, match=rf"layer 0 \({kind.name}\): {reason} cannot be pruned"):
            shrink(spec, lambda width: width)


def test_every_fixed_value_is_one_the_options_or_the_plan_know() -> None:
    for kind in FAMILIES:
        planned = kind.layer(16, 16, (1, 1)).options
        for key, values in kind.fixed.items():
            assert key in planned, (kind.name, key)
            if key in kind.options:
                assert all(kind.options[key].problem(value) is None for value in values), (kind.name, key)
