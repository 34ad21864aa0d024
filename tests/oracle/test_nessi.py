"""Counting a built module against torchinfo, and what `asc-search complexity` prints."""

from __future__ import annotations

import json

import pytest
import torchinfo
from support import asc_search

from asc_search.nets.network import build
from asc_search.nets.systems import SYSTEMS, mobile
from asc_search.oracle.nessi import count_module
from asc_search.oracle.quote import quote


@pytest.mark.parametrize("name", SYSTEMS)
def test_count_of_a_module_is_torchinfos(name: str) -> None:
    spec = SYSTEMS[name]()
    network = build(spec)
    official = torchinfo.summary(network, (1, *spec.input), verbose=0)
    counted = count_module(network, spec.input)
    assert (counted.params, counted.macs) == (official.total_params, official.total_mult_adds)


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [("dcase2024-baseline", 61_148, 29_419_156), ("sscp-s1", 63_748, 29_982_132), ("sscp-s3", 63_215, 29_221_122)],
)
def test_the_command_prints_the_published_numbers(name: str, params: int, macs: int) -> None:
    done = asc_search("complexity", name, "--json")
    printed = json.loads(done.stdout)
    assert (printed["params"], printed["macs"]) == (params, macs)
    assert printed["weight_bytes"]["fp16"] == 2 * params and printed["fits"]["fp16"] and not printed["fits"]["fp32"]


def test_variants_are_priced_on_their_input() -> None:
    printed = quote("dcase2024-baseline", ["base=40", "expansion=3"], "1,128,44")
    spec = mobile("cp", (1, 128, 44), 10, 40, 1.8, 3.0)
    official = torchinfo.summary(build(spec), (1, 1, 128, 44), verbose=0)
    assert (printed["params"], printed["macs"]) == (official.total_params, official.total_mult_adds)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-net"], "dcase2024-baseline"),
        (["dcase2024-baseline", "--set", "width=3"], "base, multiplier, expansion"),
        (["dcase2024-baseline", "--set", "base=wide"], "int"),
        (["sscp-s1", "--set", "base=3"], "fixed"),
        (["dcase2024-baseline", "--input", "1x256x65"], "channels,mels,frames"),
        (["dcase2024-baseline", "--input", "1,0,65"], "at least 1"),
    ],
)
def test_what_cannot_be_priced_is_one_clear_message(arguments: list[str], said: str) -> None:
    done = asc_search("complexity", *arguments)
    assert done.returncode == 1 and said in done.stderr
    assert "Traceback" not in done.stderr
