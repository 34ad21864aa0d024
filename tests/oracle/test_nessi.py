"""Counting a built module against torchinfo, and against its own spec."""

from __future__ import annotations

import pytest
import torch
import torchinfo

from asc_search.errors import NetworkError
from asc_search.nets.network import build, price, shrink
from asc_search.nets.systems import SYSTEMS, system
from asc_search.oracle.nessi import count_module, recount

SMALL = [name for name in SYSTEMS if price(SYSTEMS[name]()).macs < 100_000_000]


@pytest.mark.parametrize("name", SMALL)
def test_count_of_a_module_is_torchinfos(name: str) -> None:
    spec = SYSTEMS[name]()
    network = build(spec)
    official = torchinfo.summary(network, (1, *spec.input), verbose=0)
    counted = count_module(network, spec.input)
    assert (counted.params, counted.macs) == (official.total_params, official.total_mult_adds)


def test_a_module_is_recounted_from_the_spec_it_has_now() -> None:
    wide = system("sscp-mobile")(base=64)
    narrow = shrink(wide, lambda width: width // 2)
    assert (recount(build(narrow), narrow).params, recount(build(narrow), narrow).macs) == (63_748, 29_982_132)
    with pytest.raises(
        NetworkError,
        match=r"does not match its spec: 0\.first\.0\.weight has shape \(16, 1, 3, 1\), the spec gives \(8,",
    ):
        recount(build(wide), narrow)


def test_an_edited_module_is_not_taken_for_its_spec() -> None:
    spec = system("dcase2024-baseline")()
    network = build(spec)
    network[3].shortcut = None  # no parameters, no MACs: the counts are those of the spec
    recount(network, spec)
    network[0].append(torch.nn.BatchNorm2d(32))
    with pytest.raises(NetworkError, match=r"0\.6\.bias has shape \(32,\), the spec gives none"):
        recount(network, spec)
    network = build(spec)
    network[2].middle[0].stride = (2, 2)  # a smaller map under the same tensors
    network[2].shortcut = None
    with pytest.raises(NetworkError, match=r"the module counts .* its price is"):
        recount(network, spec)
