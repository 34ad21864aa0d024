"""Many points at once: prices equal those of the candidates one by one, and draws are what a record gives back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import TINY_SPACE

from asc_search.bench.mixed import mixed_space
from asc_search.nets.blocks import families
from asc_search.nets.network import price
from asc_search.oracle.batch import price_columns
from asc_search.oracle.budget import assess, macs_per_second
from asc_search.oracle.to_budget import fitted
from asc_search.space.columns import draw_columns, recorded
from asc_search.space.draw import FixedSuggest, draw
from asc_search.space.load import load, loads
from asc_search.space.space import Space

SPACES = Path(__file__).resolve().parents[2] / "spaces"
COUNT = 400


def spaces() -> dict[str, Space]:
    """All spaces there are, a tiny one, the same with one ear or two, and the one over every family."""
    files = {path.stem: load(path) for path in sorted(SPACES.glob("*.yaml"))}
    ears = TINY_SPACE.replace("frontend: {", "frontend: {channels: {choice: [1, 2]}, ")
    keys = "{ratio: {choice: [0, 0.3]}, round_to: {choice: [1, 4]}, widths: {choice: ['', '16>7, 40>13', '16>5']}}"
    pruned = TINY_SPACE.replace("{ratio: {choice: [0, 0.5]}}", keys)
    return {
        **files,
        "tiny": loads(TINY_SPACE),
        "ears": loads(ears),
        "pruned": loads(pruned),
        "mixed": mixed_space(),
    }


@pytest.mark.parametrize("name", list(spaces()))
def test_many_are_priced_as_one_is(name: str) -> None:
    space = spaces()[name]
    columns = draw_columns(space, np.random.default_rng(0), COUNT)
    prices = price_columns(space, columns, 10)
    for index in range(COUNT):
        candidate = draw(space, FixedSuggest(recorded(space, columns, index)), 10)
        alone = assess(candidate, space.budget)
        assert prices.buildable[index] == (alone.cost is not None), candidate.describe()
        assert prices.fits[index] == alone.verdict.fits
        if alone.cost is None:
            continue
        together = (prices.params[index], prices.macs[index], prices.conv_linear_macs[index])
        assert together == (alone.cost.params, alone.cost.macs, alone.cost.conv_linear_macs), candidate.describe()
        assert prices.weight_bytes[index] == alone.cost.weight_bytes(candidate.weight_type)
        assert prices.macs_per_second[index] == macs_per_second(alone.cost.macs, candidate.frontend.seconds)


def test_the_mixed_space_draws_every_family() -> None:
    space = mixed_space()
    drawn = {layer.family for index in range(3) for layer in _layers(space, index)}
    assert drawn == {name for role in ("stem", "block", "head") for name in families(role)}


def _layers(space: Space, seed: int) -> list:
    columns = draw_columns(space, np.random.default_rng(seed), 200)
    return [
        layer
        for index in range(200)
        for layer in draw(space, FixedSuggest(recorded(space, columns, index)), 10).network.layers
    ]


def test_windows_that_are_no_second_long_are_judged_by_the_second() -> None:
    space = loads(TINY_SPACE.replace("mels: 32,", "mels: 32, seconds: 0.3,"))
    columns = draw_columns(space, np.random.default_rng(0), 50)
    prices = price_columns(space, columns, 10)
    assert [macs_per_second(int(macs), 0.3) for macs in prices.macs] == prices.macs_per_second.tolist()
    assert ((prices.macs_per_second <= 400_000) & (prices.weight_bytes <= 128_000)).tolist() == prices.fits.tolist()


@pytest.mark.parametrize("seconds", [0.33333333333333, 0.33, 7.7])
def test_odd_windows_are_judged_as_one_by_one(seconds: float) -> None:
    text = TINY_SPACE.replace("mels: 32,", f"mels: 32, seconds: {seconds},")
    space = loads(text)
    columns = draw_columns(space, np.random.default_rng(0), 50)
    prices = price_columns(space, columns, 10)
    for index in range(50):
        alone = assess(draw(space, FixedSuggest(recorded(space, columns, index)), 10), space.budget)
        assert prices.macs_per_second[index] == macs_per_second(alone.cost.macs, seconds)
        assert prices.fits[index] == alone.verdict.fits


def test_absurd_widths_overflow_nothing() -> None:
    stages = "\n".join("    - {family: cp, depth: 1, expansion: 8.0}" for _ in range(12))
    space = loads(f"network:\n  stem: cp\n  base: 1024\n  multiplier: 4.0\n  stages:\n{stages}\n")
    prices = price_columns(space, draw_columns(space, np.random.default_rng(0), 4), 10)
    assert not prices.fits.any()
    assert (prices.macs > 2**50).all() and (prices.weight_bytes > 2**50).all()


def test_points_pruned_to_the_budget_fit_as_alone_and_cost_at_most_what_is_deployed() -> None:
    keys = "{target: {choice: [ratio, budget]}, ratio: 0.3, round_to: {choice: [1, 4]}, taper: {choice: [0, 0.3, 1]}}"
    tight = TINY_SPACE.replace("{ratio: {choice: [0, 0.5]}}", keys).replace("macs: 400_000", "macs: 60_000")
    space = loads(tight)
    columns = draw_columns(space, np.random.default_rng(0), 120)
    prices = price_columns(space, columns, 10)
    fits, ratios = [], []
    for index in range(120):
        drawn = draw(space, FixedSuggest(recorded(space, columns, index)), 10)
        alone = assess(fitted(drawn, space.budget), space.budget)
        assert (prices.fits[index], prices.buildable[index]) == (alone.verdict.fits, alone.cost is not None)
        if drawn.pruning.target == "budget":
            assert drawn.pruning.ratio == 0
            assert prices.macs[index] <= alone.cost.macs and prices.params[index] <= alone.cost.params
            fits.append(alone.verdict.fits)
            spec = fitted(drawn, replace(space.budget, weight_bytes=10**9)).deployed
            ratios.append(prices.macs[index] / price(spec).macs)
        else:
            assert (prices.macs[index], prices.params[index]) == (alone.cost.macs, alone.cost.params)
            assert drawn.pruning.ratio == 0.3
    assert sum(fits) > 0 and len(fits) > 40
    assert np.median(ratios) > 0.8, "not only below, but near"


def test_a_front_end_decides_the_input() -> None:
    either = "{choice: [true, false]}"
    searched = f"mels: 32, centre: {either}, deltas: {either}, pre_emphasis: {{choice: [0.0, 0.97]}},"
    text = TINY_SPACE.replace("mels: 32,", searched)
    space = loads(text)
    columns = draw_columns(space, np.random.default_rng(0), 60)
    prices = price_columns(space, columns, 10)
    shapes = set()
    for index in range(60):
        candidate = draw(space, FixedSuggest(recorded(space, columns, index)), 10)
        shapes.add(candidate.frontend.shape)
        assert prices.macs[index] == assess(candidate, space.budget).cost.macs
    assert len(shapes) == 6  # one or two channels; 17, 16 (pre-emphasis loses a sample) or 15 frames (whole ones)
