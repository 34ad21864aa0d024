"""Families that say they can be pruned: removing silent channels leaves the output, and the widths are those priced."""

from __future__ import annotations

import random

import pytest
import torch
import torch_pruning
from random_specs import FAMILIES, random_spec
from torch import nn

from asc_search.compress.prune import prune_to
from asc_search.nets.blocks import Family
from asc_search.nets.network import Network, build, shrink
from asc_search.nets.spec import NetSpec

PRUNABLE = [kind for kind in FAMILIES if kind.shrink is not None]


def silence(network: Network, spec: NetSpec, ratio: float) -> None:
    """Zero random channels in every group of coupled channels, as many as pruning at ``ratio`` takes away."""
    graph = torch_pruning.DependencyGraph().build_dependency(network, torch.zeros(2, *spec.input))
    last = [one for one in network[-1].modules() if isinstance(one, nn.Conv2d | nn.Linear)][-1]
    with torch.no_grad():
        for whole in graph.get_all_groups(ignored_layers=[last], root_module_types=(nn.Conv2d, nn.Linear)):
            module, prune = whole[0].dep.target.module, whole[0].dep.handler
            width = graph.get_out_channels(module)
            gone = sorted(torch.randperm(width)[: width - int(width * (1 - ratio))].tolist())
            for dependency, channels in graph.get_pruning_group(module, prune, gone):
                target = dependency.target.module
                if not isinstance(target, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                    continue
                if graph.is_out_channel_pruning_fn(dependency.handler):
                    target.weight[channels] = 0
                    if target.bias is not None:
                        target.bias[channels] = 0
                else:
                    target.weight[:, channels] = 0


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


@pytest.mark.parametrize("kind", PRUNABLE, ids=lambda kind: kind.name)
@pytest.mark.parametrize("number", range(3))
def test_removing_silent_channels_changes_nothing(kind: Family, number: int) -> None:
    rng = random.Random(f"{kind.name} {number}")
    torch.manual_seed(number)
    source = random_spec(rng, kind, prunable=True)
    ratio = rng.choice((0.25, 0.5, 0.37))
    target = shrink(source, lambda width: max(1, int(width * (1 - ratio))))
    network = awakened(source)
    silence(network, source, ratio)
    x = torch.randn(3, *source.input)
    before = network(x).detach()
    after = prune_to(network, source, target).eval()
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    assert shapes == {name: parameter.shape for name, parameter in build(target).named_parameters()}
    torch.testing.assert_close(after(x).detach(), before, rtol=1e-4, atol=1e-5 * float(before.abs().max() + 1))
