"""Families that say they can be pruned: removing silent channels leaves the output, and the widths are those priced."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
import torch_pruning
import torchinfo
from random_specs import FAMILIES, random_spec
from torch import nn

from asc_search.compress.channels import follow
from asc_search.compress.prune import prune_to
from asc_search.nets.blocks import Family
from asc_search.nets.network import Network, build, grain, price, shrink
from asc_search.nets.spec import LayerSpec, NetSpec
from asc_search.nets.systems.bc_res2 import bc_res2net
from asc_search.nets.systems.dsmn import dsmn_1, dsmn_2, dsmn_3
from asc_search.space.pruning import Pruning

PRUNABLE = [kind for kind in FAMILIES if kind.shrink is not None]


def pruned_spec(spec: NetSpec, ratio: float) -> NetSpec:
    pruning, together = Pruning(ratio), grain(spec)
    return shrink(spec, lambda width: max(1, pruning.kept(width, grain=together)) if width > 1 else 1)


def silence(network: Network, source: NetSpec, target: NetSpec) -> None:
    """Zero random channels of each width, as many as ``target`` has less: what makes them, and what hears them."""
    channels, smaller = follow(network, source.input), build(target)
    layers, less = dict(network.named_modules()), dict(smaller.named_modules())
    for space in channels.spaces():
        maker = next(axis for axis in space.axes if {channels.root(one) for one in axis.labels} <= set(space.roots))
        left = len(less[maker.layer].weight) * len(space.roots) // len(maker.labels)
        gone = {space.roots[at] for at in torch.randperm(len(space.roots))[left:].tolist()}
        for axis in space.axes:
            places = [at for at, label in enumerate(axis.labels) if channels.root(label) in gone]
            layer = layers[axis.layer]
            with torch.no_grad():
                if not axis.out:
                    layer.weight[:, places] = 0
                    continue
                layer.weight[places] = 0
                if layer.bias is not None:
                    layer.bias[places] = 0


def awakened(spec: NetSpec) -> Network:
    """The network with parameters and BatchNorms as after training, in evaluation mode."""
    network = build(spec).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return network


def check_silent_channels(source: NetSpec, target: NetSpec) -> None:
    """Zeroed, then removed: the same output, from a module that is what the oracle counts."""
    network = awakened(source)
    silence(network, source, target)
    x = torch.randn(3, *source.input)
    before = network(x).detach()
    after = prune_to(network, source, target).eval()
    counted = torchinfo.summary(after, (1, *target.input), verbose=0)
    assert (counted.total_params, counted.total_mult_adds) == (price(target).params, price(target).macs)
    scale = float(before.abs().max() + 1)
    torch.testing.assert_close(after(x).detach(), before, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("kind", PRUNABLE, ids=lambda kind: kind.name)
@pytest.mark.parametrize("number", range(3))
def test_removing_silent_channels_changes_nothing(kind: Family, number: int) -> None:
    rng = random.Random(f"{kind.name} {number}")
    torch.manual_seed(number)
    source, target = wanted(rng, kind)
    check_silent_channels(source, target)


def wanted(rng: random.Random, kind: Family) -> tuple[NetSpec, NetSpec]:
    """A random network that can be pruned, and what is left of it: fewer channels, in the multiples it asks for."""
    for _ in range(300):
        source = random_spec(rng, kind, prunable=True)
        together = grain(source)
        if any(layer.out % together for layer in source.layers[:-1]):
            continue
        target = pruned_spec(source, rng.choice((0.25, 0.5, 0.37)))
        if price(target).params < price(source).params:
            return source, target
    raise LookupError(kind.name)


def without_gates(spec: NetSpec) -> NetSpec:
    """The published network with no ECA, which forbids pruning."""

    def bare(layer: LayerSpec) -> LayerSpec:
        return (
            replace(layer, options={**layer.options, "attachment": "none"}) if "attachment" in layer.options else layer
        )

    return replace(spec, layers=tuple(map(bare, spec.layers)))


@pytest.mark.parametrize(
    ("spec", "together"),
    [(bc_res2net(), 12), (bc_res2net(deep=True), 12), *((without_gates(one()), 2) for one in (dsmn_1, dsmn_2, dsmn_3))],
    ids=["bcres2-24", "bcres2-24-deep", "dsmn-1", "dsmn-2", "dsmn-3"],
)
def test_published_networks_with_splits_are_pruned_exactly(spec: NetSpec, together: int) -> None:
    torch.manual_seed(0)
    assert grain(spec) == together
    check_silent_channels(spec, pruned_spec(spec, 0.34))


SPLIT = {"bc_res2", "bc_head", "dssdb", "dssdb_seg"}


@pytest.mark.parametrize("kind", [kind for kind in PRUNABLE if kind.name not in SPLIT], ids=lambda kind: kind.name)
def test_the_library_removes_the_same_channels_where_it_can(kind: Family) -> None:
    rng = random.Random(kind.name)
    torch.manual_seed(0)
    source, target = wanted(rng, kind)
    while SPLIT & {layer.family for layer in source.layers}:
        source, target = wanted(rng, kind)
    network = awakened(source)
    for module in network.modules():  # a row's values tell which it is, whatever columns are left
        if isinstance(module, nn.Conv2d | nn.Linear):
            with torch.no_grad():
                module.weight.copy_(torch.randn(len(module.weight)).view(-1, *[1] * (module.weight.dim() - 1)))
    ours = prune_to(network, source, target)
    graph = torch_pruning.DependencyGraph().build_dependency(network, torch.zeros(2, *source.input))
    last = [one for one in network[-1].modules() if isinstance(one, nn.Conv2d | nn.Linear)][-1]
    names = {one: name for name, one in network.named_modules()}
    measure, seen = torch_pruning.importance.GroupMagnitudeImportance(p=2), 0
    for group in graph.get_all_groups(ignored_layers=[last], root_module_types=(nn.Conv2d, nn.Linear)):
        layer = group[0].dep.target.module
        kept = ours.get_submodule(names[layer]).weight.flatten(1)[:, 0]
        best = measure(group).argsort()[len(layer.weight) - len(kept) :].sort().values
        torch.testing.assert_close(kept, layer.weight.flatten(1)[best, 0], msg=names[layer])
        seen += 1
    assert seen >= 1
