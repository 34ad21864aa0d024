"""The search loop around a stand-in for training: rejections, failures, resuming, single objective, designs first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from support import TINY_SPACE

from asc_search.data.clips import Clips
from asc_search.errors import AscSearchError, DivergedError, InfeasibleSpaceError, RunFolderError
from asc_search.nets.network import price
from asc_search.oracle.budget import assess
from asc_search.space.candidate import Candidate
from asc_search.space.load import loads
from asc_search.space.space import Space
from asc_search.study import search as search_module
from asc_search.study.create import open_storage, open_study, shown_url, sqlite_url
from asc_search.study.front import finalist_trials, trial_points
from asc_search.study.objective import Result
from asc_search.study.run_folder import RunFolder
from asc_search.study.search import Setting, search
from asc_search.train.candidate import Material

NO_CLIPS = Clips(Path(), tuple("abcdefghij"), (), (), (), (), ())


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Candidate]:
    """Training replaced: accuracy grows with parameters and epochs; the list holds what was trained."""
    seen: list[Candidate] = []

    def train(candidate, material, validation, folder, rungs, seed, goes_on, on_epoch):  # type: ignore[no-untyped-def]
        seen.append(candidate)
        size = sum(layer.out for layer in candidate.deployed.layers)
        results = []
        for rung, epochs in enumerate(rungs):
            results.append(Result(epochs, min(0.9, size / 400 + 0.02 * epochs), 1.0))
            if rung + 1 < len(rungs) and not goes_on(rung, results[-1]):
                break
        return results

    monkeypatch.setattr(search_module, "train_trial", train)
    return seen


def make(space: Space, folder: Path) -> tuple[optuna.Study, Setting]:
    folder.mkdir(exist_ok=True)
    run = RunFolder(folder)
    study = open_study(open_storage(sqlite_url(run.database)), "search", space, len(NO_CLIPS.classes))
    return study, Setting(space, run, Material(folder, NO_CLIPS, {}), NO_CLIPS)


def space_with(**changes: str) -> Space:
    text = TINY_SPACE
    for old, new in changes.values():  # type: ignore[misc]
        assert old in text
        text = text.replace(old, new)
    return loads(text)


def test_the_budget_of_trainings_is_met_whatever_is_rejected(trained: list[Candidate], tmp_path: Path) -> None:
    space = space_with(trials=("trials: 4", "trials: 12"))
    study, setting = make(space, tmp_path)
    search(study, setting)
    states = [trial.state.name for trial in study.trials]
    assert states.count("COMPLETE") == 12 and set(states) <= {"COMPLETE", "PRUNED"}
    assert len(trained) <= 12
    points = trial_points(study.trials)
    assert {point.state for point in points} <= {"rejected", "stopped", "finished"}
    assert all((point.accuracy is None) == (point.state == "rejected") for point in points)


def test_what_is_pruned_to_the_budget_is_trained_with_the_widths_found(
    trained: list[Candidate], tmp_path: Path
) -> None:
    space = space_with(pruning=("{ratio: {choice: [0, 0.5]}}", "{target: budget}"), macs=("400_000", "300_000"))
    study, setting = make(space, tmp_path)
    search(study, setting)
    assert "PRUNED" not in {trial.state.name for trial in study.trials}, "everything can be made to fit"
    pruned = [candidate for candidate in trained if candidate.pruning.widths]
    assert pruned and all(assess(candidate, space.budget).verdict.fits for candidate in trained)
    assert all(
        price(candidate.network).macs > 300_000 >= price(candidate.deployed).macs > 270_000 for candidate in pruned
    )
    told = [trial.user_attrs for trial in study.trials]
    assert all(Candidate.from_json(attrs["candidate"]).deployed in [one.deployed for one in trained] for attrs in told)
    assert all(price(Candidate.from_json(attrs["candidate"]).deployed).macs == attrs["macs"] for attrs in told)


def test_200_rejections_in_a_row_stop_with_share_and_parameter(trained: list[Candidate], tmp_path: Path) -> None:
    space = space_with(budget=("macs: 400_000", "macs: 3"))
    study, setting = make(space, tmp_path)
    with pytest.raises(InfeasibleSpaceError) as stopped:
        search(study, setting)
    assert len(study.trials) == 200 and trained == []
    assert {trial.state.name for trial in study.trials} == {"PRUNED"}
    assert "200 candidates in a row" in str(stopped.value) and "%" in str(stopped.value)
    assert "network." in str(stopped.value), "names the parameter that costs most"


def test_a_diverged_training_ends_its_trial_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = []

    def train(*_args):  # type: ignore[no-untyped-def]
        calls.append(1)
        if len(calls) == 2:
            raise DivergedError("the loss became nan in epoch 1, step 3")
        return [Result(1, 0.3, 1.0)]

    monkeypatch.setattr(search_module, "train_trial", train)
    study, setting = make(space_with(), tmp_path)
    search(study, setting)
    failed = [trial for trial in study.trials if trial.state.name == "FAIL"]
    assert len(failed) == 1 and "nan" in failed[0].user_attrs["reason"]


def test_only_divergence_stops_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def train(*_args):  # type: ignore[no-untyped-def]
        raise DivergedError("the loss became inf in epoch 1, step 1")

    monkeypatch.setattr(search_module, "train_trial", train)
    study, setting = make(space_with(trials=("trials: 4", "trials: 12")), tmp_path)
    with pytest.raises(AscSearchError, match=r"5 trainings in a row failed"):
        search(study, setting)


def test_a_trial_left_running_is_taken_up_again(trained: list[Candidate], tmp_path: Path) -> None:
    whole_study, whole = make(space_with(), tmp_path / "whole")
    search(whole_study, whole)

    def killed(*_args):  # type: ignore[no-untyped-def]
        raise KeyboardInterrupt

    broken_study, broken = make(space_with(), tmp_path / "broken")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(search_module, "train_trial", killed)
        search(broken_study, broken)
    assert broken_study.trials[-1].state.name == "WAITING", "given back, for anyone to go on with"
    reopened, broken = make(space_with(), tmp_path / "broken")
    search(reopened, broken)
    assert [trial.params for trial in reopened.trials] == [trial.params for trial in whole_study.trials]
    assert [trial.values for trial in reopened.trials] == [trial.values for trial in whole_study.trials]


def test_one_objective_is_possible(trained: list[Candidate], tmp_path: Path) -> None:
    space = replace(space_with(), objectives=("accuracy",))
    study, setting = make(space, tmp_path)
    search(study, setting)
    best = max(study.trials, key=lambda trial: trial.values[0] if trial.values else 0)
    assert study.best_trial.number == best.number
    assert len(finalist_trials(study, space)) == 3


def test_known_designs_come_first_and_cost_what_is_published(trained: list[Candidate], tmp_path: Path) -> None:
    student = Path(__file__).resolve().parents[2] / "spaces" / "student.yaml"
    shipped = loads(student.read_text().replace("mels: 128 ", "mels: 256 "), folder=student.parent)
    space = replace(shipped, search=replace(shipped.search, trials=3))
    study, setting = make(space, tmp_path)
    search(study, setting)
    found = [
        (trial.user_attrs["design"], trial.user_attrs["params"], trial.user_attrs["macs"]) for trial in study.trials[:3]
    ]
    assert found == [
        ("dcase2024-baseline", 61_148, 29_419_156),
        ("sscp-mobile", 62_564, 29_654_916),
        ("sscp-s1", 63_748, 29_982_132),
    ]


def test_known_designs_over_the_budget_are_not_tried(tmp_path: Path) -> None:
    student = Path(__file__).resolve().parents[2] / "spaces" / "student.yaml"
    tight = loads(
        student.read_text().replace("weight_bytes: 128_000 ", "weight_bytes: 124_000 "), folder=student.parent
    )
    study, _ = make(tight, tmp_path)
    assert [trial.user_attrs["design"] for trial in study.trials] == ["dcase2024-baseline"], (
        "122,296 bytes; SSCP has more"
    )


def test_finalists_of_different_rungs_are_not_compared(tmp_path: Path) -> None:
    space = space_with()
    study, _ = make(space, tmp_path)
    add: Callable[..., None] = lambda accuracies, macs, digest: study.add_trial(  # noqa: E731
        optuna.trial.create_trial(
            values=[accuracies[-1], macs],
            user_attrs={
                "digest": digest, "macs": macs, "params": 1, "weight_bytes": 2,
                "rungs": [{"accuracy": accuracy, "epochs": index + 1} for index, accuracy in enumerate(accuracies)],
            },
        )
    )  # fmt: skip
    add([0.9], 10, "stopped but high")
    add([0.5, 0.6], 100_000, "good")
    add([0.4, 0.5], 50_000, "cheaper")
    add([0.4, 0.45], 120_000, "dominated")
    names = [trial.user_attrs["digest"] for trial in finalist_trials(study, space)]
    assert names == ["good", "cheaper", "dominated"]


def test_a_study_of_another_space_is_refused(tmp_path: Path) -> None:
    make(space_with(), tmp_path)
    with pytest.raises(RunFolderError, match="another space"):
        make(space_with(rungs=("rungs: [1, 2]", "rungs: [1, 3]")), tmp_path)


def test_a_database_that_cannot_be_opened_is_named_without_its_password() -> None:
    with pytest.raises(RunFolderError) as refused:
        open_storage("postgresql+psycopg://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(refused.value) and "127.0.0.1" in str(refused.value)
    with pytest.raises(RunFolderError, match="--storage"):
        open_storage("no url at all")
    assert "secret" not in shown_url("postgresql+psycopg://me:secret@host/db")
