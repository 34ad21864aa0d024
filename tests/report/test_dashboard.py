"""The dashboard over HTTP: feasibility, notes, files and figures, and what it refuses; the study is left as it was."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import optuna
import optuna_dashboard._app
import pytest
from optuna.trial import TrialState, create_trial
from report.made_up import made_up_run

from asc_search.errors import AscSearchError, RunFolderError
from asc_search.report.dashboard import feasible_best
from asc_search.report.dashboard_notes import plain
from asc_search.report.serve import check_host, is_loopback, serve_dashboard, serving
from asc_search.report.view import load_study
from asc_search.study.create import open_storage, sqlite_url
from asc_search.study.run_folder import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of 10 trainings with two more trials: a person's note on the first, and one over the budget yet COMPLETE."""
    run = made_up_run(tmp_path_factory.mktemp("runs") / "shown", trials=10)
    study = load_study(run, None)
    over = study.ask()
    over.set_constraint("macs", 0.5)
    study.tell(over, [0.99, 1.0])
    optuna_dashboard.save_note(optuna.trial.Trial(study, study.trials[0]._trial_id), "seen by a person")
    return run


@pytest.fixture(scope="module")
def address(run: RunFolder) -> Iterator[str]:
    with serving(run, None, "127.0.0.1", 0) as (server, url):
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield url
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def detail(address: str) -> dict:
    return json.loads(get(address, f"/api/studies/{address.rsplit('/', 1)[1]}"))


def get(address: str, path: str, **headers: str) -> bytes:
    with urlopen(Request(address.split("/dashboard")[0] + path, headers=headers), timeout=60) as answer:
        return answer.read()


def test_what_is_over_the_budget_is_infeasible_and_never_the_best(detail: dict, run: RunFolder) -> None:
    trials = load_study(run, None).trials
    for shown, trial in zip(detail["trials"], trials, strict=True):
        assert shown["constraints"] == list(trial.constraints.values())
        if trial.state is TrialState.PRUNED:
            assert any(value > 0 for value in shown["constraints"]), "refused for its cost"
    over = next(trial for trial in trials if trial.values == [0.99, 1.0])
    best = {shown["number"] for shown in detail["best_trials"]}
    assert over.number not in best and best
    known = {t.number: t.values for t in trials if t.state is TrialState.COMPLETE and t.number != over.number}
    for number, (accuracy, macs) in known.items():
        beaten = any((a >= accuracy and m <= macs) and (a, m) != (accuracy, macs) for a, m in known.values())
        assert (number in best) != beaten


def test_every_trial_says_what_it_is_and_why_it_ended(detail: dict) -> None:
    for shown in detail["trials"]:
        attrs = {one["key"]: one["value"] for one in shown["user_attrs"]}
        note = shown["note"]["body"]
        if shown["number"] == 0:
            assert note == "seen by a person"
        elif "digest" in attrs:
            assert f"{int(attrs['macs']):,}" in note and "64 mels" in note
            words = {"rejected": "Refused by its price", "stopped": "Stopped at a rung", "finished": "last rung"}
            assert words[attrs["status"]] in note
            assert attrs["status"] != "rejected" or "over the limit" in note
    assert "Finished" in detail["note"]["body"] and "15,000,000" in detail["note"]["body"]


def test_pictures_and_files_can_be_fetched(detail: dict, address: str) -> None:
    study = address.rsplit("/", 1)[1]
    trained = next(one for one in detail["trials"] if one["number"] and one["state"] == "Complete" and one["artifacts"])
    files = {one["filename"].split("-")[1]: one for one in trained["artifacts"]}
    assert set(files) == {"curve.svg", "confusion.svg"}
    for one in files.values():
        assert get(address, f"/artifacts/{study}/{trained['trial_id']}/{one['artifact_id']}").startswith(b"<svg")
    space = next(one for one in detail["artifacts"] if one["filename"] == "space.yaml")
    assert b"subset_of" in get(address, f"/artifacts/{study}/{space['artifact_id']}")
    with pytest.raises(HTTPError, match="404"):
        get(address, f"/artifacts/{study}/{'0' * 32}")


def test_our_figures_are_shown_and_small(detail: dict) -> None:
    shown = {one["id"]: one["graph_object"] for one in detail["plotly_graph_objects"]}
    assert set(shown) == {"front", "progress", "rungs", "feasibility", "teaching"}
    for figure in shown.values():
        assert json.loads(figure)["data"] and len(figure) < 60_000


def test_nothing_is_written_into_the_study(detail: dict, run: RunFolder) -> None:
    study = load_study(run, None)
    attrs = study._storage.get_study_system_attrs(study._study_id)
    assert {key.split(":")[0] for key in attrs} == {"study", "dashboard"}
    assert [key for key in attrs if key.startswith("dashboard:")] == [
        key for key in attrs if key.startswith(f"dashboard:{study.trials[0]._trial_id}:note_")
    ], "the person's note alone"


def test_a_page_elsewhere_cannot_reach_it_by_another_name(address: str) -> None:
    with pytest.raises(HTTPError, match="403"):
        get(address, "/api/studies", Host="evil.example")
    port = address.split(":")[2].split("/")[0]
    assert b"study_summaries" in get(address, "/api/studies", Host=f"localhost:{port}")


def test_hosts_that_others_reach_are_refused_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("0.0.0.0", "192.168.1.5", "example.org", "::"):
        assert not is_loopback(host)
        with pytest.raises(AscSearchError, match="--allow-remote"):
            check_host(host, allow_remote=False)
    check_host("0.0.0.0", allow_remote=True)
    assert "no login" in capsys.readouterr().err
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.2"):
        check_host(host, allow_remote=False)


def test_a_dashboard_that_changed_is_refused_with_the_name(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(optuna_dashboard._app, "get_pareto_front_trials")
    with (
        pytest.raises(AscSearchError, match=r"optuna-dashboard 0\..*_app\.get_pareto_front_trials"),
        serving(run, None, "127.0.0.1", 0),
    ):
        pass


def test_it_is_mended_only_while_it_is_served(run: RunFolder) -> None:
    own = optuna_dashboard._app.get_pareto_front_trials
    with serving(run, None, "127.0.0.1", 0):
        assert optuna_dashboard._app.get_pareto_front_trials is not own
    assert optuna_dashboard._app.get_pareto_front_trials is own


def test_a_port_in_use_and_a_run_without_a_study_are_said(run: RunFolder, address: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    port = int(address.split(":")[2].split("/")[0])
    with pytest.raises(AscSearchError, match="--port"):
        serve_dashboard(run, None, "127.0.0.1", port, browser=False)
    with pytest.raises(RunFolderError, match="has not begun"):
        serve_dashboard(RunFolder(tmp_path), None, "127.0.0.1", 0, browser=False)


@pytest.mark.parametrize("directions", [("maximize", "minimize"), ("maximize",), ("maximize", "minimize", "minimize")])
def test_the_best_are_those_optuna_finds_among_the_feasible(directions: tuple[str, ...], tmp_path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    study = optuna.create_study(directions=directions)
    study.add_trials(create_trial(values=list(map(float, one))) for one in rng.integers(0, 8, (60, len(directions))))
    expected = {trial.number for trial in study.best_trials}
    found = feasible_best(study.trials, study.directions)
    if len(directions) == 1:
        assert found[0].value == study.best_value
    else:
        assert {trial.number for trial in found} == expected
    storage = open_storage(sqlite_url(tmp_path / "one.db"))
    limited = optuna.create_study(storage=storage, directions=directions)
    for value, over in ((9.0, 1.0), (1.0, -1.0)):
        trial = limited.ask()
        trial.set_constraint("macs", over)
        limited.tell(trial, [value] + [0.0] * (len(directions) - 1))
    assert [trial.number for trial in feasible_best(limited.trials, limited.directions)] == [1]


def test_words_in_a_note_are_no_markup() -> None:
    assert plain("<b>|x_y*\n# `z`") == r"\<b\>\|x\_y\* \# \`z\`"
