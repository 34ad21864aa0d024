"""A study begun with an earlier run's good candidates: which are taken over, which are not and why."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState
from support import TINY_SPACE

from asc_search.errors import RunFolderError
from asc_search.oracle.budget import assess
from asc_search.space.candidate import Candidate
from asc_search.space.draw import draw
from asc_search.space.load import loads
from asc_search.study.create import make_sampler, open_storage, open_study, sqlite_url
from asc_search.study.run_folder import RunFolder
from asc_search.study.warm_start import begin_with


@pytest.fixture
def earlier(tmp_path: Path) -> RunFolder:
    """A run whose accuracy grew with the base, all trials finished."""
    run = RunFolder(tmp_path / "earlier")
    run.root.mkdir()
    run.space_file.write_text(TINY_SPACE)
    run.write_identity(folder=str(tmp_path), source="demo")
    space = loads(TINY_SPACE)
    study = open_study(open_storage(sqlite_url(run.database)), "search", space, 10)
    for _ in range(6):
        study.sampler = make_sampler(space, study)
        trial = study.ask()
        candidate = draw(space, trial, 10)
        cost = assess(candidate, space.budget).cost
        accuracy = 0.3 + 0.005 * trial.params["network.base"]
        attrs = {"macs": cost.macs, "params": cost.params, "weight_bytes": cost.weight_bytes("fp16")}
        attrs |= {"candidate": candidate.to_json(), "digest": candidate.digest(), "status": "finished"}
        attrs["rungs"] = [{"epochs": epochs, "accuracy": accuracy, "log_loss": 1.0} for epochs in (1, 2)]
        for name, value in attrs.items():
            trial.set_user_attr(name, value)
        study.tell(trial, [accuracy, cost.macs])
    return run


def begun(folder: Path, text: str, run: RunFolder, classes: int = 10) -> tuple[list[Candidate], list[dict]]:
    """The candidates that a study of the space ``text`` tries first, and their enqueued values."""
    space = loads(text)
    study = open_study(open_storage(sqlite_url(folder / "new.db")), "search", space, classes)
    begin_with(study, space, classes, run)
    begin_with(study, space, classes, run)  # as after a restart
    waiting = study.get_trials(states=(TrialState.WAITING,))
    found = []
    for _ in waiting:
        study.sampler = make_sampler(space, study)
        found.append(draw(space, study.ask(), classes))
    assert study.get_trials(states=(TrialState.COMPLETE,)) == [], "results are never taken over"
    return found, [trial.system_attrs["fixed_params"] for trial in waiting]


def networks(run: RunFolder) -> dict[int, Candidate]:
    import optuna

    study = optuna.load_study(study_name="search", storage=sqlite_url(run.database))
    return {one.number: Candidate.from_json(one.user_attrs["candidate"]) for one in study.trials}


def test_the_same_networks_come_first_for_other_labels_too(earlier: RunFolder, tmp_path: Path) -> None:
    found, _ = begun(tmp_path, TINY_SPACE, earlier, classes=5)
    known = [one.deployed.with_classes(5).layers for one in networks(earlier).values()]
    assert found and all(one.deployed.layers in known for one in found)


def test_what_a_smaller_budget_refuses_is_named(
    earlier: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    macs = sorted(assess(one, loads(TINY_SPACE).budget).cost.macs for one in networks(earlier).values())
    limit = macs[len(macs) // 2]
    found, _ = begun(tmp_path, TINY_SPACE.replace("macs: 400_000", f"macs: {limit}"), earlier)
    budget = loads(TINY_SPACE.replace("macs: 400_000", f"macs: {limit}")).budget
    assert all(assess(one, budget).verdict.fits for one in found)
    assert f"over the limit of {limit:,}" in capsys.readouterr().err


def test_what_the_space_cannot_express_is_named(
    earlier: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = begun(tmp_path, TINY_SPACE.replace("hop: 2000", "hop: 1000"), earlier)
    assert found == []
    assert "frontend.hop was 2000, this space has 1000" in capsys.readouterr().err


def test_a_run_without_its_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"no study\.db"):
        begun(tmp_path, TINY_SPACE, RunFolder(tmp_path / "nowhere"))
