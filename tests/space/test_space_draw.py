"""Drawing: what optuna draws is what a record gives back, ranges are kept, candidates survive JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, ks_2samp
from support import points

from asc_search.errors import AscSearchError
from asc_search.space.candidate import Candidate
from asc_search.space.columns import draw_columns, recorded
from asc_search.space.domains import Choice, FloatRange, IntRange
from asc_search.space.draw import FixedSuggest, draw, parameters
from asc_search.space.load import load, loads

STUDENT = load(Path(__file__).resolve().parents[2] / "spaces" / "student.yaml")
EVERY_FORM = loads(
    """network:
  stem: {choice: [cp, sscp]}
  base: {int: [16, 64], log: true}
  multiplier: {float: [1.2, 2.2], step: 0.2}
  stages:
    - family: {choice: [cp, sscp]}
      depth: {int: [1, 3]}
      width: {int: [16, 64], step: 8, when: {family: sscp}}
      stride: {choice: [1x2, 2x1]}
      stride_at: {choice: [first, last]}
      attachment: {choice: [none, se], when: {family: cp}}
    - {family: cp, depth: 1, expansion: {float: [1, 8], log: true, when: {network.stages.0.attachment: se}}}
weight_type: {choice: [fp32, fp16]}
pruning: {ratio: {float: [0, 0.6], step: 0.2}, start: {float: [0.1, 0.5], when: {ratio: [0.2, 0.6]}}}
distillation:
  teachers: {subset_of: [a, b, c], min: 1}
  pool: {a: {kind: network, family: cp}, b: {kind: network, family: sscp}, c: {kind: tagger, weights: c.safetensors}}
"""
)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.parametrize("space", [STUDENT, EVERY_FORM], ids=["student", "every form"])
def test_a_trial_of_optuna_is_reproduced_from_its_params(space) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    names = {parameter.name for parameter in parameters(space)}
    for _ in range(60):
        trial = study.ask()
        candidate = draw(space, trial, 10)
        assert draw(space, FixedSuggest(trial.params), 10) == candidate
        assert {name.partition("[")[0] for name in trial.params} <= names
        study.tell(trial, 0.0)


def test_optuna_and_the_plain_generator_draw_from_the_same_distributions() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    known = {}
    for _ in range(40):
        trial = study.ask()
        draw(EVERY_FORM, trial, 10)
        known |= trial.distributions
        study.tell(trial, 0.0)
    for _, params in points(EVERY_FORM, 1, 300):
        for name, value in params.items():
            assert known[name]._contains(known[name].to_internal_repr(value)), (name, value)


def column(parameter: str, count: int) -> np.ndarray:
    """``count`` draws of a parameter of its own."""
    space = loads(f"network: {{stem: cp, base: 8, stages: [{{family: cp, depth: 1}}]}}\n{parameter}")
    (drawn,) = parameters(space)
    return draw_columns(space, np.random.default_rng(0), count)[drawn.name].numbers()


def test_the_plain_generator_reaches_every_value_evenly() -> None:
    drawn = column("training: {freq_mask: {int: [2, 8], step: 2}}", 4000)
    assert sorted(set(drawn)) == [2, 4, 6, 8]
    assert min(np.bincount(drawn)[[2, 4, 6, 8]]) > 850
    logs = column("training: {lr: {float: [0.0001, 1.0], log: true}}", 4000)
    assert np.median(np.log10(logs)) == pytest.approx(-2, abs=0.15)
    assert set(column("training: {crops_per_clip: {int: [1, 3], log: true}}", 200)) == {1, 2, 3}
    grid = column("training: {mixstyle_p: {float: [0, 0.6], step: 0.2}}", 200)
    assert np.allclose(np.unique(grid), [0, 0.2, 0.4, 0.6])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.sampled_from([STUDENT, EVERY_FORM]))
def test_a_candidate_survives_json(seed: int, classes: int, space) -> None:
    ((candidate, _),) = points(space, seed, 1, classes)
    copy = Candidate.from_json(json.loads(json.dumps(candidate.to_json())))
    assert copy == candidate
    assert copy.digest() == candidate.digest()
    assert candidate.network.classes == candidate.network.layers[-1].out == classes
    assert candidate.network.input == candidate.frontend.shape


def test_a_parameter_is_absent_where_its_condition_does_not_hold() -> None:
    seen = set()
    for candidate, params in points(EVERY_FORM, 3, 200):
        sscp = params["network.stages.0.family"] == "sscp"
        assert ("network.stages.0.width" in params) == sscp
        assert ("network.stages.0.attachment" in params) == (not sscp)
        assert ("network.stages.1.expansion" in params) == (params.get("network.stages.0.attachment") == "se")
        pruned = round(candidate.pruning.ratio, 9) in (0.2, 0.6)
        assert ("pruning.start" in params) == pruned
        assert pruned or candidate.pruning.start == 0.3
        assert 1 <= len(candidate.distillation.teachers) <= 3
        seen.add((sscp, pruned))
    assert len(seen) == 4


def test_the_order_of_asking_is_always_the_same() -> None:
    orders = [[list(params.items()) for _, params in points(STUDENT, 5, 3)] for _ in range(2)]
    assert orders[0] == orders[1]


def test_a_record_of_another_space_is_refused() -> None:
    ((_, params),) = points(STUDENT, 0, 1)
    with pytest.raises(AscSearchError, match=r"network\.base was 8, the space has 16 to 64, step 8"):
        draw(STUDENT, FixedSuggest({**params, "network.base": 8}), 10)
    with pytest.raises(AscSearchError, match=r"frontend\.hop is not among the recorded"):
        draw(STUDENT, FixedSuggest({}), 10)


@given(
    st.integers(1, 50),
    st.integers(1, 9),
    st.integers(0, 20),
    st.floats(-10, 500, allow_nan=False),
    st.integers(-5, 400),
)
def test_ranges_agree_with_optuna_on_what_they_contain(
    low: int, step: int, steps: int, near: float, probe: int
) -> None:
    high = low + step * steps
    ours, theirs = IntRange(low, high, step), optuna.distributions.IntDistribution(low, high, step=step)
    assert ours.contains(probe) == theirs._contains(probe)
    assert theirs._contains(ours.nearest(near))
    assert theirs._contains(ours.middle())
    assert all(abs(ours.nearest(near) - near) <= abs(low + step * k - near) for k in range(steps + 1))
    ours, theirs = (
        FloatRange(low / 10, high / 10, step / 10),
        optuna.distributions.FloatDistribution(low / 10, high / 10, step=step / 10),
    )
    assert ours.contains(probe / 10) == theirs._contains(probe / 10)
    assert theirs._contains(ours.nearest(near / 10))


def test_the_nearest_choice() -> None:
    assert Choice((16, 32, 64)).nearest(40) == 32
    assert Choice(("a", "b")).nearest("c") == "a"
    assert Choice((False, True)).nearest(True) is True
    assert Choice((0, 1)).nearest(True) == 0  # True is not a number here


def test_a_stepped_float_meets_its_condition() -> None:
    space = loads(
        "network: {stem: cp, base: 16, multiplier: {float: [0.7, 1.2], step: 0.1}, stages: [{family: cp, depth: 1}]}\n"
        "training: {freq_mask: {value: 8, when: {network.multiplier: 0.9}}}\n"
    )
    drawn = [candidate.training.freq_mask for candidate, _ in points(space, 0, 300)]
    assert 30 < drawn.count(8) < 80  # one in six
    columns = draw_columns(space, np.random.default_rng(0), 300)
    assert (columns["training.freq_mask"].drawn == np.isclose(columns["network.multiplier"].values, 0.9)).all()


DISTRIBUTIONS = """
network:
  stem: cp
  base: {int: [8, 64], log: true}
  multiplier: {float: [0.5, 4.0], log: true}
  stages: [{family: cp, depth: {int: [1, 4]}}]
training: {freq_mask: {choice: [0, 5, 9]}, mixstyle_p: {float: [0, 1]}, warmup: {float: [0, 1], step: 0.25}}
distillation:
  teachers: {subset_of: [a, b], min: 0}
  pool: {a: {kind: network, family: cp}, b: {kind: network, family: cp}}
"""


def test_many_are_drawn_as_optuna_draws_one() -> None:
    space, count = loads(DISTRIBUTIONS), 1500
    columns = draw_columns(space, np.random.default_rng(0), count)
    ours = [recorded(space, columns, index) for index in range(count)]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    theirs = []
    for _ in range(count):
        trial = study.ask()
        draw(space, trial, 10)
        theirs.append(trial.params)
    for name in theirs[0]:
        one, other = ([params[name] for params in drawn] for drawn in (ours, theirs))
        distinct = sorted(set(one) | set(other))
        if len(distinct) > 100:
            assert ks_2samp(one, other).pvalue > 1e-3, name
        else:
            table = [[drawn.count(value) for value in distinct] for drawn in (one, other)]
            assert chi2_contingency(table).pvalue > 1e-3, name
