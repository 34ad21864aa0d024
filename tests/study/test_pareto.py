"""Non-domination and hypervolume against brute force, Optuna and a closed form."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from asc_search.study.pareto import fronts, hypervolume, ranking
from asc_search.study.rungs import goes_on


def test_first_front_is_optunas_best_trials() -> None:
    rng = np.random.default_rng(0)
    points = [tuple(point) for point in rng.integers(0, 12, (40, 2)).astype(float)]
    study = optuna.create_study(directions=["minimize", "minimize"])
    for point in points:
        study.add_trial(optuna.trial.create_trial(values=point))
    assert fronts(points)[0] == [trial.number for trial in study.best_trials]
    assert sorted(index for front in fronts(points) for index in front) == list(range(40))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_hypervolume_against_counted_volume(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    points = rng.random((6, dimensions))
    sample = rng.random((200_000, dimensions))
    covered = np.zeros(len(sample), bool)
    for point in points:
        covered |= (sample >= point).all(1)
    exact = hypervolume([tuple(point) for point in points], (1.0,) * dimensions)
    assert exact == pytest.approx(covered.mean(), abs=0.005)


def test_ranking_leads_with_the_least_error_then_prefers_what_adds_volume() -> None:
    useless_corner, balanced, accurate = (0.9, 0.01), (0.4, 0.4), (0.2, 0.9)
    assert ranking([useless_corner, balanced, accurate], (1.0, 1.0)) == [2, 1, 0]
    dominated = (0.5, 0.5)
    assert ranking([dominated, balanced], (1.0, 1.0)) == [1, 0]


def test_ranking_copes_with_a_front_of_hundreds() -> None:
    points = [(index / 200, 1 - index / 200) for index in range(200)]
    order = ranking(points, (1.5, 1.5))
    assert order[0] == 0 and sorted(order) == list(range(200))


def test_promotion_keeps_one_in_three() -> None:
    errors = [0.3, 0.5, 0.2, 0.6, 0.1]
    for index, error in enumerate(errors):
        others = [(other,) for place, other in enumerate(errors) if place != index]
        assert goes_on((error,), others, 3) == (error in sorted(errors)[:2])
    assert goes_on((0.9,), [], 3), "the first to reach a rung has nobody before it"


def test_large_networks_that_learn_slowly_compete_with_their_like() -> None:
    cheap = [(0.2 + 0.01 * index, 0.1 + 0.001 * index) for index in range(20)]
    dear = [(0.6 + 0.01 * index, 0.9 + 0.001 * index) for index in range(20)]
    assert goes_on((0.55, 0.91), [*cheap, *dear], 3), "the best of the large ones, far behind the small ones"
    assert not goes_on((0.5, 0.105), [*cheap, *dear], 3), "dear networks are no excuse for a poor cheap one"
