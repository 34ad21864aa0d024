"""The source written for a network is the network, for every published design and random ones of every family."""

from __future__ import annotations

import ast
import random
import re

import pytest
import torch
import torchinfo
from random_specs import FAMILIES, random_spec
from torch import nn

from asc_search.audio.standardise import Standardise
from asc_search.export.module_source import module_source
from asc_search.nets.blocks import Family
from asc_search.nets.network import build
from asc_search.nets.systems import SYSTEMS
from asc_search.train.groups import Fusion


def trained_like(network: nn.Module) -> nn.Module:
    """Statistics and scalars that are not those a network starts with."""
    generator = torch.Generator().manual_seed(1)
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        if name.endswith("running_var"):
            value.data.uniform_(0.5, 2, generator=generator)
        elif value.is_floating_point() and value.dim() == 1:
            value.data.add_(0.2 * torch.rand(value.shape, generator=generator))
    return network.eval()


def twin_of(network: nn.Module, shape: tuple[int, ...]) -> tuple[nn.Module, str]:
    """The module that the written source makes, with the weights of ``network``; and the source."""
    source = module_source(network, shape)
    names: dict = {}
    exec(compile(source, "network.py", "exec"), names)
    twin = names["network"]()
    twin.load_state_dict(network.state_dict(), strict=True)
    return twin.eval(), source


def same(network: nn.Module, shape: tuple[int, ...]) -> str:
    """The source, once it was seen to answer like ``network`` and to cost as much."""
    network = trained_like(network)
    twin, source = twin_of(network, shape)
    assert list(twin.state_dict()) == list(network.state_dict())
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = network(x), twin(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    counts = [torchinfo.summary(one, (1, *shape), verbose=0) for one in (network, twin)]
    assert counts[0].total_mult_adds == counts[1].total_mult_adds
    assert counts[0].total_params == counts[1].total_params
    return source


def imported(source: str) -> set[str]:
    tree = ast.parse(source)
    return {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }


@pytest.mark.parametrize("name", ["dcase2024-baseline", "sscp-mobile", "serfr-24-a", "dsmn-1", "mn04", "bcres2-24"])
def test_published_designs(name: str) -> None:
    spec = SYSTEMS[name]()
    source = same(build(spec), spec.input)
    assert imported(source) <= {"__future__", "torch"}
    assert not re.search(r"\b(optim|loss|backward|train)\b", source), "inference only"


@pytest.mark.parametrize("kind", FAMILIES, ids=lambda kind: kind.name)
def test_random_networks_of_every_family(kind: Family) -> None:
    rng = random.Random(f"{kind.name} source")
    for _ in range(2):
        spec = random_spec(rng, kind)
        same(build(spec), spec.input)


def test_statistics_before_and_fusion_after_a_network() -> None:
    spec = SYSTEMS["dcase2024-baseline"]().with_classes(13)
    belongs = torch.zeros(10, 3)
    belongs[torch.arange(10), torch.arange(10) % 3] = 1
    statistics = Standardise(torch.randn(1, 256, 1), torch.rand(1, 256, 1) + 0.5)
    whole = nn.Sequential(nn.Sequential(statistics, build(spec)), Fusion(belongs, 0.8))
    source = same(whole, spec.input)
    assert source.count("class InvertedResidual") == 5, "equal blocks share a class"
