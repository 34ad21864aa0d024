"""Who goes on from a rung of a study: as halving has it where the rung tells, everyone where it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from support import TINY_SPACE

from asc_search.oracle.budget import assess
from asc_search.space.draw import draw
from asc_search.space.load import loads
from asc_search.study.create import make_sampler, open_storage, open_study, sqlite_url
from asc_search.study.lease import SupersededError
from asc_search.study.promotion import promotes

SPACE = loads(TINY_SPACE)


def study_of(folder: Path, accuracies: np.ndarray) -> optuna.Study:
    """A study whose trials measured ``accuracies`` (n, rungs), and a random trial under way that measured least at first."""
    study = open_study(open_storage(sqlite_url(folder / "study.db")), "search", SPACE, 10)
    study.sampler = make_sampler(SPACE, study)
    for row in [*accuracies, accuracies[:, :1].min(axis=0) - 0.05]:
        trial = study.ask()
        cost = assess(draw(SPACE, trial, 10), SPACE.budget).cost
        trial.set_user_attr("macs", cost.macs)
        trial.set_user_attr("rungs", [{"epochs": at + 1, "accuracy": float(one)} for at, one in enumerate(row)])
        if len(row) > 1:
            study.tell(trial, [float(row[-1]), cost.macs])
    return study


@pytest.mark.parametrize("told", [True, False])
def test_the_weakest_stops_where_the_rung_tells(told: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    last = 0.5 + 0.1 * rng.standard_normal(24)
    first = last - 0.1 if told else 0.4 + 0.1 * rng.standard_normal(24)
    study = study_of(tmp_path, np.stack([first, last], axis=1))
    assert promotes(study, SPACE, 24, 0) is not told


def test_a_trial_that_another_worker_took_goes_no_further(tmp_path: Path) -> None:
    study = study_of(tmp_path, np.full((3, 2), 0.5))
    study.add_trial(create_trial(state=TrialState.FAIL))
    with pytest.raises(SupersededError):
        promotes(study, SPACE, 4, 0)
