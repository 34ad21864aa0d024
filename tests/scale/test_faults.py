"""Workers on PostgreSQL that are killed, frozen, or lose their database: the study ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from crews import Crew, check_whole, prepared, until
from optuna.trial import TrialState

from asc_search.bench.postgres import Server, postgres
from asc_search.bench.simulated_trials import Simulation
from asc_search.study.create import open_storage, sqlite_url
from asc_search.study.lease import Lease, shared
from asc_search.study.storage import WORKER

KILLS = int(os.environ.get("ASC_SEARCH_KILLS", "5"))  # 50 by hand
AWAY_S = float(os.environ.get("ASC_SEARCH_AWAY_S", "4"))  # 30 by hand


def simulation(folder: Path, **changes: object) -> Simulation:
    given = {"study": folder.name, "folder": str(folder), "trials": 12, "epoch_s": 0.1, "rungs": (4,), "grace_s": 600}
    return Simulation(**{**given, **changes})  # type: ignore[arg-type]


def test_workers_killed_at_random(server: Server, tmp_path: Path) -> None:
    plan = simulation(tmp_path, trials=8 * KILLS, most_deaths=100)
    study, candidates = prepared(server.url, plan)
    rng = random.Random(0)
    with Crew(server.url, plan, 4) as crew:
        for _ in range(KILLS):
            busy = crew.busy(study)
            time.sleep(rng.uniform(0, 0.4))
            crew.kill(rng.choice(busy))
            ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            assert len(ended) < plan.trials, "ended too early"
        assert crew.wait(240 + plan.trials) == [0] * 4, crew.said()
    check_whole(study, plan, candidates)
    assert sum(len(trial.user_attrs.get("deaths", [])) for trial in study.get_trials()) <= KILLS


def test_a_candidate_that_kills_its_workers_is_closed(server: Server, tmp_path: Path) -> None:
    plan = simulation(tmp_path, trials=2, epoch_s=30.0)
    study, _ = prepared(server.url, plan)
    for _ in range(2):
        with Crew(server.url, plan, 1) as crew:
            until(lambda crew=crew: crew.has(study.get_trials()[0]))  # the same trial again, under its number
    with Crew(server.url, plan, 1) as crew:
        until(lambda: crew.has(study.get_trials()[1]))
    closed = study.get_trials()[0]
    assert closed.state is TrialState.FAIL and closed.user_attrs["status"] == "failed"
    assert "took 2 workers with it" in closed.user_attrs["reason"] and "process ended" in closed.user_attrs["reason"]


def test_the_database_goes_away_and_comes_back(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    pytest.importorskip("pgserver", reason="no PostgreSQL server: pip install pgserver")
    with postgres() as server:
        plan = simulation(tmp_path, trials=8, epoch_s=0.4, grace_s=3)
        study, candidates = prepared(server.url, plan)
        with Crew(server.url, plan, 2) as crew:
            until(lambda: sum(crew.has(trial) for trial in study.get_trials()) == 2, 120)
            server.stop()
            time.sleep(AWAY_S)
            assert crew.alive() == 2, crew.said()
            server.start()
            assert crew.wait(120) == [0, 0], crew.said()
        check_whole(study, plan, candidates)
        assert server.password not in crew.said()


def test_a_frozen_worker_that_wakes_up_changes_nothing(server: Server, tmp_path: Path) -> None:
    plan = simulation(tmp_path, trials=4, epoch_s=0.3, grace_s=2)
    study, candidates = prepared(server.url, plan)
    with Crew(server.url, plan, 1) as crew:
        until(lambda: any(t.user_attrs.get("progress") for t in study.get_trials() if t.state is TrialState.RUNNING))
        crew.send(0, signal.SIGSTOP)
        (held,) = study.get_trials(states=(TrialState.RUNNING,))
        first = held.user_attrs[WORKER]
        crew.processes.append(crew.start())
        until(lambda: study.get_trials()[held.number].state is TrialState.COMPLETE, 90)
        crew.send(0, signal.SIGCONT)
        assert crew.wait(60) == [0, 0], crew.said()
    after = study.get_trials()[held.number]
    assert after.user_attrs[WORKER] != first and "no sign of life" in after.user_attrs["deaths"][0]["why"]
    assert "another worker has it now" in crew.said()
    check_whole(study, plan, candidates)


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_what_is_told_of_a_trial_is_a_sign_of_life(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Else one whose thread of signs still waits for a database that was away is taken for dead while it tells its epochs."""
    url = request.getfixturevalue("server").url if kind == "postgresql" else sqlite_url(tmp_path / "study.db")
    study, _ = prepared(url, simulation(tmp_path, trials=1))
    (trial,), storage = study.get_trials(), shared(study)
    assert storage.claim(trial._trial_id, "worker")
    with sa.create_engine(url).begin() as connection:
        connection.execute(sa.text("UPDATE trial_heartbeats SET heartbeat = '2026-01-01 00:00:00'"))
    assert storage.silence(study._study_id)[trial._trial_id] > 86400
    Lease(storage, trial._trial_id, "worker").tell(progress={"epochs": 1})
    assert 0 <= storage.silence(study._study_id)[trial._trial_id] < 60


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_many_may_open_an_empty_database_at_once(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    if kind == "postgresql":
        server = request.getfixturevalue("server")
        engine = sa.create_engine(server.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text("CREATE DATABASE empty"))
        url = server.url.rsplit("/", 1)[0] + "/empty"
    with ThreadPoolExecutor(8) as pool:
        storages = list(pool.map(open_storage, [url] * 8))
    assert [one.get_all_studies() for one in storages] == [[]] * 8


def test_the_budget_is_that_of_all_workers(server: Server, tmp_path: Path) -> None:
    plan = simulation(tmp_path, trials=10, epoch_s=0.05, rungs=(1,))
    study = plan.open(server.url)
    with Crew(server.url, plan, 3) as crew:
        assert crew.wait(120) == [0, 0, 0], crew.said()
    states = [trial.state for trial in study.get_trials()]
    assert states.count(TrialState.COMPLETE) == 10 and set(states) <= {TrialState.COMPLETE, TrialState.PRUNED}
    trained = list(Path(plan.folder).glob("trials/*/ended.log"))
    digests = [path.parent.name.partition("-")[2] for path in trained]
    assert len(digests) == len(set(digests)), "no candidate is trained twice"


def test_heartbeats_go_on_while_a_training_is_long(server: Server, tmp_path: Path) -> None:
    """Two workers and an epoch longer than the grace period: nobody loses a trial."""
    plan = simulation(tmp_path, trials=2, epoch_s=6.0, rungs=(1,), grace_s=3)
    study, candidates = prepared(server.url, plan)
    with Crew(server.url, plan, 2) as crew:
        assert crew.wait(90) == [0, 0], crew.said()
    check_whole(study, plan, candidates)
    assert not any("deaths" in trial.user_attrs for trial in study.get_trials())


def test_one_worker_killed_again_and_again_draws_as_if_undisturbed(tmp_path: Path) -> None:
    plans = [
        simulation(tmp_path / name, study="search", trials=6, epoch_s=0.3, rungs=(1, 2), most_deaths=100)
        for name in ("calm", "killed")
    ]
    urls = [sqlite_url(tmp_path / f"{Path(plan.folder).name}.db") for plan in plans]
    studies = [plan.open(url) for plan, url in zip(plans, urls, strict=True)]
    with Crew(urls[0], plans[0], 1) as calm, Crew(urls[1], plans[1], 1) as crew:
        for _ in range(3):
            crew.kill(crew.busy(studies[1])[0])
        assert calm.wait(200) == [0] and crew.wait(200) == [0], crew.said()
    undisturbed, resumed = (study.get_trials() for study in studies)
    assert [trial.params for trial in resumed] == [trial.params for trial in undisturbed]
    assert [trial.values for trial in resumed] == [trial.values for trial in undisturbed]
    assert sum(len(trial.user_attrs.get("deaths", [])) for trial in resumed) == 3
