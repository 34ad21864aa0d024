"""Verdicts against hand-computed overruns; limits are inclusive."""

from __future__ import annotations

import pytest

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.nets.blocks import family
from asc_search.nets.cost import Cost
from asc_search.nets.spec import NetSpec
from asc_search.nets.systems.mobile import dcase2024_baseline, sscp_mobile
from asc_search.oracle.budget import Budget, assess, judge, macs_per_second, price_candidate
from asc_search.space.candidate import Candidate, Pruning


def test_limits_are_inclusive():
    verdict = judge(Cost(params=64_000, macs=30_000_000), "fp16", 1.0, Budget())
    assert verdict.fits
    assert verdict.constraints == {"macs": 0.0, "weight_bytes": 0.0}


@pytest.mark.parametrize(
    ("params", "macs", "over"), [(64_001, 30_000_000, {"weight_bytes"}), (64_000, 30_000_001, {"macs"})]
)
def test_one_too_many_does_not_fit(params, macs, over):
    verdict = judge(Cost(params=params, macs=macs), "fp16", 1.0, Budget())
    assert not verdict.fits
    assert {key for key, value in verdict.constraints.items() if value > 0} == over


def test_reason_names_value_overrun_and_limit():
    verdict = judge(Cost(params=1_000, macs=31_204_556), "fp16", 1.0, Budget())
    assert verdict.reason == "31,204,556 MACs per second: 1,204,556 over the limit of 30,000,000"
    assert verdict.constraints["macs"] == pytest.approx(0.0401518667, abs=1e-9)


def test_both_limits_are_reported_at_once():
    reason = judge(Cost(params=64_001, macs=40_000_000), "fp16", 1.0, Budget()).reason
    assert "10,000,000 over the limit of 30,000,000" in reason
    assert "128,002 bytes of fp16 weights: 2 over the limit of 128,000" in reason


@pytest.mark.parametrize(("weight_type", "fits"), [("fp32", False), ("fp16", False), ("int8", True)])
def test_bytes_follow_the_weight_type(weight_type, fits):
    assert judge(Cost(params=128_000, macs=1), weight_type, 1.0, Budget()).fits is fits


@pytest.mark.parametrize(
    ("macs", "seconds", "expected"),
    [
        (29_419_156, 1.0, 29_419_156),
        (9_000_000, 0.3, 30_000_000),
        (9_000_001, 0.3, 30_000_004),
        (3_000_000, 0.1, 30_000_000),
        (300_000_001, 10, 30_000_001),
        (7, 10.0, 1),
    ],
)
def test_macs_per_second_round_up_exactly(macs, seconds, expected):
    assert macs_per_second(macs, seconds) == expected


def test_window_length_scales_the_limit():
    cost = Cost(params=1, macs=60_000_000)
    assert not judge(cost, "fp16", 1.0, Budget()).fits
    assert judge(cost, "fp16", 2.0, Budget()).fits


def test_published_baseline_fits_with_its_published_numbers():
    assessment = assess(Candidate(FrontEnd(), dcase2024_baseline()), Budget())
    assert assessment.verdict.fits
    assert (assessment.cost.params, assessment.cost.macs) == (61_148, 29_419_156)
    assert "122,296 of 128,000 bytes" in assessment.verdict.reason


def test_what_is_priced_is_the_pruned_network():
    large = Candidate(FrontEnd(), sscp_mobile(64))
    assert not assess(large, Budget()).verdict.fits
    pruned = Candidate(FrontEnd(), sscp_mobile(64), pruning=Pruning(ratio=0.5))
    assert assess(pruned, Budget()).verdict.fits
    assert price_candidate(pruned).params == 63_748


def test_network_that_cannot_be_built_is_a_verdict():
    empty = NetSpec((1, 0, 65), 10, (family("cp_stem").layer(1, 8, (2, 2)), family("conv_head").layer(8, 10)))
    assessment = assess(Candidate(FrontEnd(mels=0), empty), Budget())
    assert assessment.cost is None
    assert not assessment.verdict.fits
    assert assessment.verdict.constraints == {"shape": 1.0}
    assert "layer 0 (cp_stem)" in assessment.verdict.reason
