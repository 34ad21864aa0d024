"""The sampler against independent answers: scikit-learn's process, Monte Carlo hypervolumes, and its promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern
from support import TINY_SPACE

from asc_search.oracle.budget import assess
from asc_search.space.columns import draw_columns, known_columns, recorded
from asc_search.space.domains import Constant
from asc_search.space.draw import FixedSuggest, draw
from asc_search.space.encoding import encoded, groups_of
from asc_search.space.load import loads
from asc_search.study import pool, surrogate
from asc_search.study.create import make_sampler, open_storage, open_study, sqlite_url
from asc_search.study.improvement import best_within, budgets, expected_improvement
from asc_search.study.pareto import hypervolume
from asc_search.study.surrogate import Observations, Shape, Surrogate, likeliest_shape


def shape(relevance: Sequence[float], own: float, noise: float, gaps: Sequence[float] = ()) -> Shape:
    values = (relevance, 1.0, own, noise, gaps)
    return Shape(*(torch.tensor(one, dtype=torch.float64) for one in values))


SPACE = loads(TINY_SPACE.replace("trials: 4", "trials: 40").replace("startup: 2", "startup: 6"))


def test_known_values_are_drawn_as_known() -> None:
    columns = draw_columns(SPACE, np.random.default_rng(0), 50)
    records = [recorded(SPACE, columns, index) for index in range(50)]
    again = draw_columns(SPACE, np.random.default_rng(1), 50, known_columns(SPACE, records))
    assert [recorded(SPACE, again, index) for index in range(50)] == records


def test_different_choices_are_one_apart_and_numbers_by_their_place() -> None:
    one, other = (
        {"network.base": base, "network.stages.0.family": family} for base, family in ((8, "cp"), (64, "sscp"))
    )
    columns = draw_columns(SPACE, np.random.default_rng(0), 1)
    params = recorded(SPACE, columns, 0)
    both = [params | one, params | other]
    features = encoded(SPACE, draw_columns(SPACE, np.random.default_rng(0), 2, known_columns(SPACE, both)))
    assert ((features[0] - features[1]) ** 2).sum() == pytest.approx(2.0)


def test_expected_gain_is_that_of_sampled_hypervolumes() -> None:
    front = [(0.5, 0.25), (0.3, 0.625)]  # error, cost
    limits = budgets(1, 1.0)
    best = best_within(np.array([0.5, 0.3]), np.array([[0.25], [0.625]]), limits, 0.8)
    rng = np.random.default_rng(0)
    for mean, std, cost in ((-1.0, 0.3, 0.375), (-1.5, 0.1, 0.75), (-0.5, 0.4, 0.125)):
        errors = np.exp(mean + std * rng.standard_normal(4000))
        before = hypervolume(front, (0.8, 1.0))
        sampled = np.mean([hypervolume([*front, (float(error), cost)], (0.8, 1.0)) - before for error in errors])
        found = expected_improvement(np.array([mean]), np.array([std]), np.array([[cost]]), limits, best)[0]
        assert found == pytest.approx(sampled, rel=0.03, abs=0.001)


def test_the_model_is_a_gaussian_process() -> None:
    rng = np.random.default_rng(0)
    x, new, y = rng.random((30, 3)), rng.random((5, 3)), rng.standard_normal(30)
    none, zeros = np.zeros((30, 1)), np.zeros(30, int)
    groups = np.array([0, 0, 1])  # the first two features are one parameter's
    seen = Observations(x, none, zeros, np.arange(30), y, groups)
    mean, std = Surrogate(seen, shape(relevance=(1.5, 0.5, 0.0), own=0.0, noise=0.1)).predict(new, np.zeros((5, 1)), 0)
    apart = 2 * x.var(axis=0)
    units = np.array([apart[0] + apart[1], apart[0] + apart[1], apart[2]])
    other = GaussianProcessRegressor(Matern(np.sqrt(units / [1.5, 1.5, 0.5]), nu=2.5), alpha=0.1 + 1e-6, optimizer=None)
    unit = np.sqrt(np.mean((y - y.mean()) ** 2))
    expected, spread = other.fit(x, (y - y.mean()) / unit).predict(new, return_std=True)
    np.testing.assert_allclose(mean, y.mean() + unit * expected, atol=1e-6)
    np.testing.assert_allclose(std, unit * spread, rtol=1e-5)


def test_the_shape_is_fitted_along_the_slope_of_the_density() -> None:
    rng = np.random.default_rng(0)
    trial = np.concatenate([np.arange(12), np.arange(8), np.arange(3)])
    rung = np.repeat([0, 1, 2], [12, 8, 3])
    x, prices = rng.random((12, 4))[trial], rng.random((12, 2))[trial]
    seen = Observations(x, prices, rung, trial, rng.standard_normal(23), np.array([0, 0, 1, 2]))
    data, logs = surrogate._Scaled(seen), torch.from_numpy(rng.normal(-1, 0.5, 5 + 3 + 2))

    def against(logs: torch.Tensor) -> float:
        one = logs.exp()
        factor = data.factor(Shape(one[:5], *one[5:8], one[8:]))
        half = torch.linalg.solve_triangular(factor, data.residual[:, None], upper=False)
        return float((half**2).sum() / 2 + factor.diagonal().log().sum())

    step = 1e-5 * torch.eye(10, dtype=torch.float64)
    differences = [(against(logs + one) - against(logs - one)) / 2e-5 for one in step]
    parts = logs.exp()
    slopes = data.slopes(Shape(parts[:5], *parts[5:8], parts[8:]))
    np.testing.assert_allclose(slopes, differences, rtol=1e-6, atol=1e-7)


def test_the_shape_tells_what_matters_from_what_does_not() -> None:
    rng = np.random.default_rng(0)
    x, prices = rng.random((60, 12)), np.zeros((60, 1))
    values = np.sin(5 * x[:, 3]) + 2 * (x[:, 7] - 0.5) ** 2 + 0.05 * rng.standard_normal(60)
    seen = Observations(x, prices, np.zeros(60, int), np.arange(60), values, np.arange(12))
    found = likeliest_shape(seen)
    assert set(np.argsort(-found.relevance.numpy())[:2]) == {3, 7}
    new = rng.random((200, 12))
    true = np.sin(5 * new[:, 3]) + 2 * (new[:, 7] - 0.5) ** 2
    mean, std = Surrogate(seen, found).predict(new, np.zeros((200, 1)), 0)
    alike = GaussianProcessRegressor(Matern(1.0, nu=2.5), alpha=0.01, n_restarts_optimizer=2, random_state=0)
    plain = alike.fit(x, values - values.mean()).predict(new) + values.mean()
    assert np.mean((mean - true) ** 2) < 0.5 * np.mean((plain - true) ** 2), "one length for all parameters does worse"
    assert 0.4 < np.std((mean - true) / std) < 2.5


def test_rungs_that_tell_nothing_are_told_from_those_that_do() -> None:
    rng = np.random.default_rng(0)
    x, last = rng.random((40, 3)), rng.standard_normal(40)
    for told, expected in ((0.0, slice(0.0, 0.5)), (0.98, slice(0.7, 1.0))):
        first = 0.1 * (told * last + np.sqrt(1 - told**2) * rng.standard_normal(40))  # in a unit of its own
        rows, rung = np.tile(np.arange(40), 2), np.repeat([0, 1], 40)
        seen = Observations(x[rows], np.zeros((80, 1)), rung, rows, np.concatenate([first, last]), np.arange(3))
        between = float(np.exp(-likeliest_shape(seen).gaps[0]))
        assert expected.start <= between <= expected.stop


def test_features_are_told_apart_by_parameter() -> None:
    columns = draw_columns(SPACE, np.random.default_rng(0), 400)
    features, groups = encoded(SPACE, columns), groups_of(SPACE)
    assert groups.shape == (features.shape[1],)
    names = [one.name for one in SPACE.varying if not isinstance(one.domain, Constant)]
    for number, name in enumerate(names):
        values = columns[name].values.reshape(400, -1)
        same, part = (values == values[0]).all(axis=1), features[:, groups == number]
        there = columns[name].drawn & columns[name].drawn[0]
        assert (part[there & same] == part[0]).all() and (part[there & ~same] != part[0]).any(axis=1).all()


def test_what_a_candidate_reached_says_where_it_will_end() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((40, 4))
    first = rng.standard_normal(40)  # nothing that the features tell
    rows = np.concatenate([np.arange(40), np.arange(20)])
    rung = np.repeat([0, 1], [40, 20])
    values = np.concatenate([first, first[:20] - 1])
    seen = Observations(x[rows], np.zeros((60, 1)), rung, rows, values, np.arange(4))
    model = Surrogate(seen, shape(relevance=(1.0,) * 5, own=1.0, noise=0.01, gaps=(0.2,)))
    mean, _ = model.predict(x[20:], np.zeros((20, 1)), 1, np.arange(20, 40))
    assert np.corrcoef(mean, first[20:])[0, 1] > 0.8
    assert np.mean(mean - first[20:]) == pytest.approx(-1, abs=0.4)


def play(folder: Path, count: int, study: optuna.Study | None = None) -> tuple[optuna.Study, list[dict]]:
    """``count`` trials whose accuracy grows with the base and is best with sscp; what was drawn for each."""
    if study is None:
        study = open_study(open_storage(sqlite_url(folder / "study.db")), "search", SPACE, 10)
    drawn = []
    for _ in range(count):
        study.sampler = make_sampler(SPACE, study)
        trial = study.ask()
        candidate = draw(SPACE, trial, 10)
        found = assess(candidate, SPACE.budget)
        assert found.verdict.fits
        accuracy = (
            0.3 + 0.005 * trial.params["network.base"] + 0.2 * (trial.params["network.stages.0.family"] == "sscp")
        )
        trial.set_user_attr("macs", found.cost.macs)
        trial.set_user_attr("digest", candidate.digest())
        trial.set_user_attr("rungs", [{"epochs": 1, "accuracy": accuracy}, {"epochs": 2, "accuracy": accuracy}])
        study.tell(trial, [accuracy, found.cost.macs])
        drawn.append(trial.params)
    return study, drawn


def test_every_draw_is_within_the_budget_and_the_same_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    _, undisturbed = play(tmp_path / "a", 14)
    _, first = play(tmp_path / "b", 9)
    pool._POOLS.clear()  # as in another process
    _, second = play(tmp_path / "b", 5)
    assert first + second == undisturbed


def test_the_front_is_found_sooner_than_at_random(tmp_path: Path) -> None:
    study, _ = play(tmp_path, 30)
    trials = study.get_trials(states=(TrialState.COMPLETE,))
    ours = hypervolume([(1 - one.values[0], one.values[1] / SPACE.budget.macs) for one in trials], (0.7, 1.0))
    columns = draw_columns(SPACE, np.random.default_rng(0), 600)
    points = []
    for index in range(600):
        params = recorded(SPACE, columns, index)
        found = assess(draw(SPACE, FixedSuggest(params), 10), SPACE.budget)
        if found.verdict.fits:
            family = params["network.stages.0.family"] == "sscp"
            points.append((0.7 - 0.005 * params["network.base"] - 0.2 * family, found.cost.macs / SPACE.budget.macs))
    groups = [points[start : start + 30] for start in range(0, len(points) - 30, 30)]
    assert ours > np.mean([hypervolume(group, (0.7, 1.0)) for group in groups])


def test_a_candidate_under_way_is_not_proposed_again(tmp_path: Path) -> None:
    study, _ = play(tmp_path, 10)
    drawn = []
    for _ in range(3):
        study.sampler = make_sampler(SPACE, study)
        trial = study.ask()
        candidate = draw(SPACE, trial, 10)
        trial.set_user_attr("macs", assess(candidate, SPACE.budget).cost.macs)
        trial.set_user_attr("digest", candidate.digest())
        drawn.append(candidate.digest())
    assert len(set(drawn)) == 3


def test_one_objective_is_possible(tmp_path: Path) -> None:
    space = loads("objectives: [accuracy]\n" + TINY_SPACE)
    study = open_study(open_storage(sqlite_url(tmp_path / "study.db")), "search", space, 10)
    space = replace(space, search=replace(space.search, startup=2))
    for _ in range(4):
        study.sampler = make_sampler(space, study)
        trial = study.ask()
        candidate = draw(space, trial, 10)
        assert assess(candidate, space.budget).verdict.fits
        trial.set_user_attr("rungs", [{"epochs": 1, "accuracy": 0.5}])
        study.tell(trial, 0.5)


def test_a_small_space_is_tried_whole_before_a_point_comes_again(tmp_path: Path) -> None:
    text = "network:\n  stem: cp\n  base: {choice: [8, 16, 24, 32]}\n  stages: [{family: cp, depth: 1}]\n"
    space = loads(text + "search: {trials: 8, rungs: [1], startup: 8, enqueue: []}\n")
    for seed in range(3):
        study = open_study(open_storage(sqlite_url(tmp_path / f"{seed}.db")), "search", space, 10)
        drawn = []
        for _ in range(4):
            study.sampler = make_sampler(replace(space, search=replace(space.search, seed=seed)), study)
            trial = study.ask()
            draw(space, trial, 10)
            trial.set_user_attr("rungs", [{"epochs": 1, "accuracy": 0.5}])
            study.tell(trial, [0.5, 1e6])
            drawn.append(trial.params["network.base"])
        assert sorted(drawn) == [8, 16, 24, 32]
