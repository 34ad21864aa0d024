"""Published designs: the totals and tables of the papers and of the official counter."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import partial
from itertools import zip_longest
from pathlib import Path

import pytest
import torch
import torchinfo

from asc_search.errors import NetworkError
from asc_search.nets.blocks.common import round_width
from asc_search.nets.network import build, price, shrink
from asc_search.nets.plan import End, Stage, assemble, mobile, stage_width
from asc_search.nets.spec import NetSpec
from asc_search.nets.systems import SYSTEMS, system
from asc_search.nets.systems.mobile import cp_mobile_2023, dcase2024_baseline, sscp_mobile, sscp_s1, sscp_s3

REFERENCE = Path(__file__).resolve().parents[2].parent / "shared" / "reference" / "architectures.md"

# Name: input, params, NeSsi MACs.
PUBLISHED = {
    "dcase2024-baseline": ((1, 256, 65), 61_148, 29_419_156),
    "cp-mobile-2023": ((1, 256, 64), 126_952, 28_893_268),
    "sscp-mobile": ((1, 256, 65), 62_564, 29_654_916),
    "sscp-s1": ((1, 256, 65), 63_748, 29_982_132),
    "sscp-s3": ((1, 256, 65), 63_215, 29_221_122),
    "bcres2-24": ((1, 256, 32), 76_906, 23_971_450),
    "dsmn-1": ((2, 256, 44), 45_164, 8_645_641),
    "dsmn-2": ((2, 256, 44), 56_556, 25_441_889),
    "dsmn-3": ((2, 256, 44), 56_172, 16_746_033),
    "serfr-32-a": ((1, 256, 28), 38_646, 26_780_630),
    "serfr-32-b": ((1, 256, 28), 60_438, 22_847_734),
    "serfr-24-a": ((1, 256, 28), 25_003, 16_156_243),
    "serfr-24-b": ((1, 256, 28), 37_315, 13_398_763),
    "cp-resnet-2022": ((1, 256, 44), 127_684, 28_840_396),
    "seoul-raw": ((2, 1, 479_999), 630_154, 3_021_997_322),
    "seoul-mel": ((2, 256, 248), 1_083_160, 3_136_859_950),
}

# Convolution with its BatchNorm: params, NeSsi MACs (input 1 x 256 x 65).
BASELINE_ROWS = [
    (88, 304_144),
    (2_368, 2_506_816),
    *[(2_176, 2_228_352), (704, 626_816), (2_112, 2_228_288)] * 2,
    *[(2_176, 2_228_352), (704, 331_904), (2_112, 1_179_712)],
    *[(2_176, 1_179_776), (704, 166_016), (3_696, 1_032_304)],
    *[(6_960, 1_935_600), (1_320, 311_280), (6_832, 1_935_472)],
    *[(6_960, 1_935_600), (1_320, 311_280), (12_688, 3_594_448)],
    (1_040 + 20, 299_520 + 20),
]


def counted(spec: NetSpec) -> tuple[int, int]:
    """Params and MACs of the built network by the official counter, on shapes without values."""
    summary = torchinfo.summary(build(spec).to("meta").eval(), (1, *spec.input), device="meta", verbose=0)
    return summary.total_params, summary.total_mult_adds


@pytest.mark.parametrize("name", PUBLISHED)
def test_totals_are_the_published_ones(name):
    spec = system(name)()
    cost = price(spec)
    assert (spec.input, cost.params, cost.macs) == PUBLISHED[name]


@pytest.mark.parametrize("name", SYSTEMS)
def test_official_counter_gives_the_price_of_the_built_design(name):
    cost = price(system(name)())
    assert (cost.params, cost.macs) == counted(system(name)())


def test_serial_fusion_is_over_the_budget():
    cost = price(sscp_mobile(fusion="serial"))
    assert (cost.params, cost.macs) == (65_036, 33_866_628) == counted(sscp_mobile(fusion="serial"))


@pytest.mark.parametrize("name", SYSTEMS)
def test_designs_are_documented_with_their_totals(name):
    """The figures in the docstring of a design's function are those of its default."""
    make = system(name)
    if isinstance(make, partial):
        pytest.skip("a named variant; its function's default is another design")
    cost = price(make())
    assert make.__doc__
    assert f"{cost.params:,}" in make.__doc__
    assert f"{cost.macs:,}" in make.__doc__


def test_baseline_layer_by_layer():
    rows = [row for row in price(dcase2024_baseline()).layers if row.params]
    assert [(row.params, row.macs) for row in rows] == BASELINE_ROWS
    assert rows[0].out == (8, 128, 33)
    assert rows[1].out == (32, 64, 17)
    assert rows[10].out == (32, 64, 9)
    assert rows[-2].out == (104, 32, 9)


def test_baseline_table_is_the_reference_text():
    if not REFERENCE.is_file():
        pytest.skip("the reference notes are not beside this checkout")
    text = REFERENCE.read_text(encoding="utf-8").split("### 3.3", 1)[1].split("Map sizes", 1)[0]
    pairs = re.findall(r"([\d,]+) / ([\d,]+)", text)
    noted = [tuple(int(number.replace(",", "")) for number in pair) for pair in pairs]
    # "b2 identical" stands for b1's three rows; the head's convolution and BatchNorm are two entries.
    assert "b2 identical" in text
    flat = [*noted[:5], *noted[2:5], *noted[5:-2], tuple(map(sum, zip(*noted[-2:], strict=True)))]
    ours = [(row.params, row.macs) for row in price(dcase2024_baseline()).layers if row.params]
    assert [pair for pair in zip_longest(ours, flat) if pair[0] != pair[1]] == []


def test_cp_mobile_2023_weights_alone_and_widths():
    spec = cp_mobile_2023()
    assert price(spec).conv_linear_macs == 28_889_088
    assert [layer.out for layer in spec.layers[1:-1]] == [32, 32, 32, 72, 72, 168]
    assert [stage_width(32, 2.3, index) for index in range(3)] == [32, 72, 168]


def test_mobile_takes_grn_and_differs_from_2023_by_strides_only():
    ours = mobile("cp", (1, 256, 64), 10, 32, 2.3, 3.0, attachment="grn")
    assert price(ours).params == 126_952
    assert Counter((layer.out, layer.options.get("hidden")) for layer in ours.layers) == Counter(
        (layer.out, layer.options.get("hidden")) for layer in cp_mobile_2023().layers
    )


def test_halving_base_64_is_system_1():
    assert shrink(sscp_mobile(64), lambda width: width // 2) == sscp_s1()


def test_unpruned_widths_are_the_noted_ones():
    def widths(spec: NetSpec) -> list[int]:
        blocks = spec.layers[1:-1]
        return [
            spec.layers[0].options["inner"],
            *(layer.out for layer in blocks),
            *(b.options["hidden"] for b in blocks),
        ]

    assert widths(sscp_mobile(64)) == [16, 64, 64, 64, 112, 112, 208, *[144] * 4, *[248] * 2]
    assert widths(sscp_mobile(96)) == [24, 96, 96, 96, 176, 176, 312, *[208] * 4, *[384] * 2]
    assert widths(sscp_mobile(32)) == [8, 32, 32, 32, 56, 56, 104, *[72] * 4, *[120] * 2]
    assert widths(sscp_s3()) == [8, 32, 32, 32, 58, 58, 101, *[68] * 4, *[125] * 2]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 8), (8, 8), (8.8, 8), (9, 16), (12, 16), (19.9, 24), (67.2, 64), (57.6, 56), (103.68, 104)],
)
def test_widths_round_as_mobilenets_do(value, expected):
    assert round_width(value) == expected


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_design_runs_with_other_classes_channels_and_lengths(name):
    spec = system(name)()
    channels, freq, time = spec.input
    # Waveforms of 1 s, spectrograms a quarter longer.
    spec = spec.with_classes(14).with_input((channels + 1, freq, 47_999 if freq == 1 else time + time // 4))
    cost = price(spec)
    assert (cost.params, cost.macs) == counted(spec)
    assert cost.layers[-1].out == (14, 1, 1)
    if cost.macs < 100_000_000:
        assert build(spec).eval()(torch.zeros(1, *spec.input)).shape == (1, 14)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_design_survives_its_json(name):
    spec = system(name)()
    assert NetSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_unknown_design_lists_the_known():
    with pytest.raises(NetworkError, match=r"unknown design 'sscp'; known: dcase2024-baseline, .*sscp-mobile"):
        system("sscp")


def test_unknown_block_in_a_stage_lists_the_known():
    with pytest.raises(NetworkError, match="unknown layer family 'cpp'"):
        assemble((1, 64, 32), 10, End("cp_stem"), 32, [Stage("cpp", 1, 32)])
