"""Feasibility: the interval and eta squared against scipy, the driver on spaces whose driver is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, f_oneway
from support import points

from asc_search.oracle.budget import Budget, assess
from asc_search.oracle.feasibility import estimate, eta_squared, wilson_interval
from asc_search.space.load import loads
from asc_search.space.space import Space


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


def space(lines: str = "", base: str = "{int: [16, 88], step: 8}", expansion: str = "{float: [2.0, 2.4]}") -> Space:
    """The 2024 baseline at searched widths: the base decides the cost, the expansion a little, the rate nothing."""
    return loads(
        f"""
network:
  stem: cp
  base: {base}
  multiplier: 1.8
  stages:
    - {{family: cp, depth: 3, stride: 1x2, stride_at: last, expansion: {expansion}}}
    - {{family: cp, depth: 2, stride: 2x1, expansion: 2.1}}
    - {{family: cp, depth: 1, expansion: 2.1}}
training: {{lr: {{float: [0.001, 0.01], log: true}}}}
{lines}
"""
    )


def test_driver_is_the_parameter_that_costs():
    found = estimate(space(), 10, draws=300)
    assert found.costliest.parameter == "network.base"
    assert found.costliest.direction == "smaller"
    assert found.costliest.explained > 0.9
    loads = [group.load for group in found.costliest.groups]
    assert loads == sorted(loads)
    assert found.costliest.groups[0].label.startswith("16")
    assert sum(group.draws for group in found.costliest.groups) == 300
    assert "prefer smaller values" in found.advice()


def test_counts_and_quantiles_agree_with_a_count_one_by_one():
    found = estimate(space(), 10, draws=200, seed=5)
    costs = [assess(candidate, Budget()) for candidate, _ in points(space(), 5, 200)]
    macs = [one.cost.macs for one in costs]
    assert found.fits == sum(one.verdict.fits for one in costs)
    assert found.share == found.fits / 200
    assert found.macs == tuple(round(value) for value in np.quantile(macs, [0.05, 0.25, 0.5, 0.75, 0.95]))
    assert found.macs_counts[3] == sum(15_000_000 < one <= 30_000_000 for one in macs)
    assert sum(found.macs_counts) == sum(found.weight_bytes_counts) == 200
    assert found.interval[0] < found.share < found.interval[1]
    assert found.draws_per_training == pytest.approx(200 / found.fits)


def test_same_seed_same_finding():
    assert estimate(space(), 10, draws=50, seed=1) == estimate(space(), 10, draws=50, seed=1)


def test_categorical_driver_prefers_the_cheap_value():
    text = "weight_type: {choice: [fp32, fp16]}\nbudget: {macs: 1000000000}"
    found = estimate(space(text, "{choice: [31, 32]}", "2.1"), 10, draws=100)
    assert found.costliest.parameter == "weight_type"
    assert found.costliest.direction == ""
    assert [group.label for group in found.costliest.groups] == ["fp16", "fp32"]
    assert [group.share for group in found.costliest.groups] == [1.0, 0.0]
    assert "prefer fp16" in found.advice()


UNBUILDABLE = """
network:
  stem: dssdb
  base: {choice: [7, 8]}
  stages: [{family: dssdb, depth: 1, width: 8, stride: 2x2}]
training: {lr: {float: [0.001, 0.01]}}
"""


def test_unbuildable_networks_are_counted_and_explained():
    found = estimate(loads(UNBUILDABLE + "budget: {macs: 1000000000}"), 10, draws=60)
    assert 0 < found.unbuildable < 60
    assert found.unbuildable + found.fits == 60
    assert found.costliest.parameter == "network.base"
    assert found.costliest.groups[0].label == "8"
    assert "no valid network" in found.advice()


def test_nothing_buildable_still_gives_an_answer():
    found = estimate(loads(UNBUILDABLE.replace("{choice: [7, 8]}", "7")), 10, draws=5000)
    assert (found.share, found.costliest, found.macs) == (0.0, None, ())
    assert found.draws_per_training == float("inf")
    assert not found.enough
    assert "100.0% have no valid network" in found.advice()


def test_all_feasible_needs_no_advice_on_cost():
    found = estimate(space("budget: {macs: 1000000000000, weight_bytes: 1000000000000}"), 10, draws=40)
    assert found.share == 1.0
    assert "prefer" not in found.advice()
