"""Feasibility: the interval and eta squared against scipy, the driver on spaces whose driver is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, f_oneway

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.nets.spec import NetSpec
from asc_search.nets.systems import dcase2024_baseline
from asc_search.oracle.budget import Budget
from asc_search.oracle.feasibility import estimate, eta_squared, wilson_interval
from asc_search.space.candidate import Candidate


@pytest.mark.parametrize(("hits", "draws"), [(0, 10), (1, 10), (10, 10), (3, 7), (123, 1000), (999, 1000)])
def test_wilson_interval_equals_scipy(hits, draws):
    expected = binomtest(hits, draws).proportion_ci(method="wilson")
    assert wilson_interval(hits, draws) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_eta_squared_on_a_case_done_by_hand():
    # Group means 1 and 5, overall mean 3: between 4 * 2^2 = 16, within 4 * 1^2 = 4, so 16 / 20.
    assert eta_squared(np.array([0, 0, 1, 1]), np.array([0.0, 2.0, 4.0, 6.0])) == pytest.approx(0.8)


def test_eta_squared_agrees_with_the_anova_of_scipy():
    rng = np.random.default_rng(3)
    codes = rng.permutation(np.arange(90) % 4)
    values = rng.normal(size=90) + 0.4 * codes
    f = f_oneway(*(values[codes == code] for code in range(4))).statistic
    assert eta_squared(codes, values) == pytest.approx(f * 3 / (f * 3 + 86))


def test_eta_squared_of_a_constant_is_zero():
    assert eta_squared(np.array([0, 1, 1]), np.full(3, 0.1)) == 0.0


def draw_width(rng: np.random.Generator) -> tuple[Candidate, dict[str, object]]:
    """Width decides the cost, expansion a little, the teacher nothing; depth of nothing is sometimes missing."""
    base, expansion = int(rng.integers(2, 12)) * 8, float(rng.uniform(2.0, 2.4))
    parameters: dict[str, object] = {"base": base, "expansion": expansion, "teacher": f"t{rng.integers(100)}"}
    if rng.random() < 0.5:
        parameters["spare"] = float(rng.random())
    return Candidate(FrontEnd(), dcase2024_baseline(base, 1.8, expansion)), parameters


def test_driver_is_the_parameter_that_costs():
    found = estimate(draw_width, Budget(), draws=300)
    assert found.costliest.parameter == "base"
    assert found.costliest.direction == "smaller"
    assert found.costliest.explained > 0.9
    loads = [group.load for group in found.costliest.groups]
    assert loads == sorted(loads)
    assert found.costliest.groups[0].label.startswith("16")
    assert sum(group.draws for group in found.costliest.groups) == 300
    assert "prefer smaller values" in found.advice()


def test_counts_and_quantiles_agree_with_a_count_by_hand():
    rng = np.random.default_rng(5)
    bases = [draw_width(rng)[1]["base"] for _ in range(200)]
    found = estimate(draw_width, Budget(), draws=200, seed=5)
    # Width 24 fits at every expansion, 32 (the published baseline's) at the lower ones only, 40 at none.
    assert sum(base <= 24 for base in bases) <= found.fits <= sum(base <= 32 for base in bases)
    assert found.share == found.fits / 200
    assert found.macs == tuple(sorted(found.macs))
    assert found.interval[0] < found.share < found.interval[1]


def test_same_seed_same_finding():
    assert estimate(draw_width, Budget(), draws=50, seed=1) == estimate(draw_width, Budget(), draws=50, seed=1)


def test_categorical_driver_prefers_the_cheap_value():
    def draw(rng: np.random.Generator) -> tuple[Candidate, dict[str, object]]:
        weight_type = ("fp32", "fp16", "int8")[rng.integers(3)]
        base = int(rng.choice([31, 32]))
        return Candidate(FrontEnd(), dcase2024_baseline(base), weight_type), {"weights": weight_type, "base": base}

    found = estimate(draw, Budget(macs=10**9), draws=100)
    assert found.costliest.parameter == "weights"
    assert found.costliest.direction == ""
    assert found.costliest.groups[0].label == "int8"
    assert [group.share for group in found.costliest.groups] == [1.0, 1.0, 0.0]
    assert "prefer int8" in found.advice()


def test_unbuildable_networks_are_counted_and_explained():
    def draw(rng: np.random.Generator) -> tuple[Candidate, dict[str, object]]:
        mels, base = int(rng.choice([0, 0, 64])), int(rng.choice([8, 16]))
        network = dcase2024_baseline(base)
        return Candidate(FrontEnd(), NetSpec((1, mels, 65), 10, network.layers)), {"mels": mels, "base": base}

    found = estimate(draw, Budget(), draws=60)
    assert found.unbuildable + found.fits == 60
    assert found.costliest.parameter == "mels"
    assert found.costliest.direction == "larger"
    assert "no valid network" in found.advice()


def test_nothing_buildable_still_gives_an_answer():
    def draw(rng: np.random.Generator) -> tuple[Candidate, dict[str, object]]:
        network = NetSpec((1, 0, 65), 10, dcase2024_baseline().layers)
        return Candidate(FrontEnd(), network), {"mels": 0}

    found = estimate(draw, Budget(), draws=5)
    assert (found.share, found.costliest, found.macs) == (0.0, None, ())
    assert "100.0% have no valid network" in found.advice()


def test_all_feasible_needs_no_advice_on_cost():
    found = estimate(draw_width, Budget(10**12, 10**12), draws=40)
    assert found.share == 1.0
    assert "prefer" not in found.advice()
