"""Published designs: the totals and tables of the papers and of the official counter."""

from __future__ import annotations

import re
from collections import Counter
from itertools import zip_longest
from pathlib import Path

import pytest
import torch
import torchinfo

from asc_search.errors import NetworkError
from asc_search.nets.blocks.common import round_width
from asc_search.nets.network import build, price, shrink
from asc_search.nets.spec import NetSpec
from asc_search.nets.systems import (
    SYSTEMS,
    Stage,
    assemble,
    dcase2024_baseline,
    mobile,
    sscp_mobile,
    sscp_s1,
    sscp_s3,
    stage_width,
    system,
)

REFERENCE = Path(__file__).resolve().parents[2].parent / "shared" / "reference" / "architectures.md"

PUBLISHED = {
    "dcase2024-baseline": (61_148, 29_419_156),
    "sscp-mobile": (62_564, 29_654_916),
    "sscp-s1": (63_748, 29_982_132),
    "sscp-s3": (63_215, 29_221_122),
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


@pytest.mark.parametrize("name", PUBLISHED)
def test_totals_are_the_published_ones(name):
    cost = price(system(name)())
    assert (cost.params, cost.macs) == PUBLISHED[name]


@pytest.mark.parametrize("name", SYSTEMS)
def test_official_counter_gives_the_price_of_the_built_design(name):
    spec = system(name)()
    counted = torchinfo.summary(build(spec).eval(), (1, *spec.input), verbose=0)
    cost = price(spec)
    assert (cost.params, cost.macs) == (counted.total_params, counted.total_mult_adds)


def test_baseline_layer_by_layer():
    rows = price(dcase2024_baseline()).layers
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
    ours = [(row.params, row.macs) for row in price(dcase2024_baseline()).layers]
    assert [pair for pair in zip_longest(ours, flat) if pair[0] != pair[1]] == []


def cp_mobile_2023() -> NetSpec:
    """CP-Mobile as of 2023: the same blocks with GRN, strides (2,2) in block 2 and (2,1) in block 4."""
    options = {"expansion": 3.0, "grn": True}
    widths = [stage_width(32, 2.3, index) for index in range(3)]
    assert widths == [32, 72, 168]
    stages = [
        Stage("cp", 1, widths[0], options=options),
        Stage("cp", 2, widths[0], (2, 2), "first", options),
        Stage("cp", 2, widths[1], (2, 1), "first", options),
        Stage("cp", 1, widths[2], options=options),
    ]
    return assemble((1, 256, 64), 10, "cp_stem", 32, stages)


def test_cp_mobile_2023_totals():
    spec = cp_mobile_2023()
    cost = price(spec)
    assert (cost.params, cost.macs, cost.conv_linear_macs) == (126_952, 28_893_268, 28_889_088)
    assert build(spec).eval()(torch.zeros(2, *spec.input)).shape == (2, 10)


def test_mobile_takes_grn_and_differs_from_2023_by_strides_only():
    ours = mobile("cp", (1, 256, 64), 10, 32, 2.3, 3.0, grn=True)
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


def test_every_design_runs_with_other_classes_and_inputs():
    for name in SYSTEMS:
        spec = system(name)().with_classes(13).with_input((2, 60, 30))
        assert build(spec).eval()(torch.zeros(1, 2, 60, 30)).shape == (1, 13), name
        assert price(spec).params > 0


def test_unknown_design_lists_the_known():
    with pytest.raises(NetworkError, match="unknown design 'sscp'; known: dcase2024-baseline, sscp-mobile"):
        system("sscp")


def test_unknown_block_in_a_stage_lists_the_known():
    with pytest.raises(NetworkError, match="unknown layer family 'cpp'"):
        assemble((1, 64, 32), 10, "cp_stem", 32, [Stage("cpp", 1, 32)])
