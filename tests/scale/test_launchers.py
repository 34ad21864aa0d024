"""The engines start real workers: processes, submitit's local executor, a Ray of this machine; each ends a run's search."""

from __future__ import annotations

import os
import signal
import time
from importlib.util import find_spec
from pathlib import Path

import optuna
import pytest
from crews import until
from support import TINY_SPACE

from asc_search.errors import AscSearchError
from asc_search.job import Wishes, run_job
from asc_search.scale import local, rays, slurm
from asc_search.scale.crew import watch
from asc_search.scale.engines import Hands, search_with
from asc_search.scale.worker import Job
from asc_search.space.load import loads
from asc_search.space.space import Space
from asc_search.study import search as search_module
from asc_search.study.create import open_storage, open_study, sqlite_url
from asc_search.study.run_folder import RunFolder

SMALL = TINY_SPACE.replace("trials: 4", "trials: 3").replace(
    "teachers: {subset_of: [one, two], min: 1}", "teachers: {subset_of: [one], min: 1}"
)


@pytest.fixture
def prepared(
    tmp_path: Path, demo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[optuna.Study, Space, RunFolder]:
    """A run stopped before its first training: data, teachers and study are there."""
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    )
    space = loads(SMALL.replace("source: demo", f"source: 'folder:{demo_folder}'"))
    run = RunFolder(tmp_path / "run")

    def stopped(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(search_module, "train_trial", stopped)
        run_job(space, run, Wishes())
    study = open_study(open_storage(sqlite_url(run.database)), "search", space, 10)
    return study, space, run


def check(study: optuna.Study, run: RunFolder) -> None:
    states = [trial.state.name for trial in study.get_trials()]
    assert states.count("COMPLETE") == 3 and set(states) <= {"COMPLETE", "PRUNED"}
    for trial in study.get_trials():
        if trial.state.name == "COMPLETE" and "reason" not in trial.user_attrs:
            assert (run.trial(trial.number, trial.user_attrs["digest"]) / "rung-0.json").exists()


def test_processes_of_this_machine(prepared: tuple[optuna.Study, Space, RunFolder]) -> None:
    study, space, run = prepared
    crew = local.launch(Job(str(run.root), threads=1), 2, ("0", "1"))
    watch(study, space, crew)
    check(study, run)
    assert crew.alive() == 0 and [process.returncode for process in crew.processes] == [0, 0], crew.why_ended()


def test_submitit_jobs_one_of_them_preempted(prepared: tuple[optuna.Study, Space, RunFolder]) -> None:
    pytest.importorskip("submitit", reason="the extra [cluster] is not installed: no submitit")
    study, space, run = prepared
    crew = slurm.launch(Job(str(run.root), threads=1), 1, {}, cluster="local")
    (job,) = crew.jobs
    until(lambda: any(trial.user_attrs.get("progress") for trial in study.get_trials()), 120)
    children = Path(f"/proc/{job._process.pid}/task/{job._process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGUSR1)
    watch(study, space, crew)
    check(study, run)
    assert "Requeued job" in "".join(path.read_text() for path in crew.folder.glob("*_log.*")), (
        "queued again on SIGUSR1"
    )
    assert not any("deaths" in trial.user_attrs for trial in study.get_trials()), "what is preempted did not die"


def test_ray_tasks_on_loopback(prepared: tuple[optuna.Study, Space, RunFolder]) -> None:
    if find_spec("ray") is None:  # not imported here: what it listens on is settled then
        pytest.skip("the extra [ray] is not installed")
    study, space, run = prepared
    crew = rays.launch(Job(str(run.root), threads=1), 2, {"num_cpus": "1"})
    try:
        import ray

        addresses = {node["NodeManagerAddress"] for node in ray.nodes()}
        assert addresses == {"127.0.0.1"}
        watch(study, space, crew)
    finally:
        if ray.is_initialized():
            ray.shutdown()
    check(study, run)


def test_workers_that_cannot_work_say_why(prepared: tuple[optuna.Study, Space, RunFolder]) -> None:
    study, space, run = prepared
    run.space_file.write_text(
        run.space_file.read_text().replace("base: {int: [8, 64], step: 8}", "base: {int: [8, 72], step: 8}")
    )
    begin = time.monotonic()
    with pytest.raises(AscSearchError, match=r"all workers ended(.|\n)*another space(.|\n)*\[8, 72\]"):
        watch(study, space, local.launch(Job(str(run.root), threads=1), 1))
    assert time.monotonic() - begin < 120


@pytest.mark.parametrize(
    ("hands", "said"),
    [
        (Hands(2, "slurm", ("0",)), "gpus_per_node"),
        (Hands(2, "ray", ("0",)), "num_gpus"),
        (Hands(2, "local", options={"a": "b"}), "--engine-option"),
    ],
)
def test_options_of_another_engine(hands: Hands, said: str, tmp_path: Path) -> None:
    from asc_search.bench.simulated_trials import Simulation

    plan = Simulation("x", str(tmp_path), 1, 0.0)
    with pytest.raises(AscSearchError, match=said):
        search_with(plan.open(sqlite_url(tmp_path / "study.db")), plan.setting, hands, "")
