"""A run whose files or processes come to harm: what is made again, what `doctor` finds, and what `status` shows."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import optuna
import pytest
from crews import until
from support import ENVIRONMENT, TINY_SPACE, asc_search, command

from asc_search.bench.postgres import Server
from asc_search.study.create import open_storage, sqlite_url
from asc_search.study.owner import Owner
from asc_search.study.run_folder import RunFolder
from asc_search.train import checkpoint as checkpoint_module

SPACE = (
    TINY_SPACE.replace("rungs: [1, 2]", "rungs: [3]")
    .replace("undistilled: true", "undistilled: false")
    .replace("seeds: 2", "seeds: 1")
)


def study_of(run: Path) -> optuna.Study:
    return optuna.load_study(study_name="search", storage=open_storage(sqlite_url(run / "study.db")))


def interrupted(folder: Path, demo: Path, pattern: str, how: int) -> tuple[list[object], Path]:
    """A run that was sent ``how`` as soon as a file ``pattern`` was there; the command that goes on with it."""
    space, run = folder / "tiny.yaml", folder / "run"
    space.write_text(SPACE)
    arguments: list[object] = ["run", space, "--data", f"folder:{demo}", "--out", run, "--threads", 1]
    with subprocess.Popen(command(*arguments), env=ENVIRONMENT, stderr=subprocess.PIPE) as process:
        until(lambda: any(run.glob(pattern)), 200)
        process.send_signal(how)
        process.wait(60)
    return arguments, run


def test_a_run_is_killed_hurt_mended_and_finished_by_a_worker(demo_folder: Path, tmp_path: Path) -> None:
    arguments, run = interrupted(tmp_path, demo_folder, "trials/*/checkpoint.safetensors", signal.SIGKILL)
    sick = asc_search("doctor", run)
    assert sick.returncode == 1 and "stale trial" in sick.stdout and "--fix" in sick.stdout
    mended = asc_search("doctor", run, "--fix")
    assert mended.returncode == 0 and "mended" in mended.stdout, mended.stdout
    assert study_of(run).trials[-1].state.name == "WAITING"

    (saved,) = run.glob("trials/*/checkpoint.safetensors")
    saved.write_bytes(saved.read_bytes()[: saved.stat().st_size // 2])  # a checkpoint cut in half
    for cached in run.glob("logits/*.npy"):  # the teachers' caches deleted in mid-study
        cached.unlink()
    (run / "trials" / ".x.npy.999999999.part").write_text("left by a killed process")
    kinds = {finding["kind"] for finding in json.loads(asc_search("doctor", run, "--json").stdout)}
    assert kinds >= {"teacher", "leftover"}

    done = asc_search("worker", run, "--threads", 1)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert [trial.state.name for trial in study_of(run).trials].count("COMPLETE") == 4
    assert asc_search("doctor", run, "--fix").returncode == 0
    clean = asc_search("doctor", run)
    assert clean.returncode == 0 and "nothing is wrong" in clean.stdout

    shown = asc_search("status", run, "--once")
    assert shown.returncode == 0 and "4 of 4" in shown.stdout and "front so far" in shown.stdout
    told = json.loads(asc_search("status", run, "--json").stdout)
    assert told["trained"] == 4 and told["running"] == [] and len(told["front"]) == 3
    assert {worker["state"] for worker in told["workers"]} == {"killed", "ended"}
    finished = asc_search(*arguments)
    assert finished.returncode == 0, finished.stderr
    assert asc_search("doctor", run).returncode == 0


def test_ctrl_c_twice_still_goes_on(demo_folder: Path, tmp_path: Path) -> None:
    space, run = tmp_path / "tiny.yaml", tmp_path / "run"
    space.write_text(SPACE.replace("trials: 4", "trials: 2"))
    arguments = ["run", space, "--data", f"folder:{demo_folder}", "--out", run, "--threads", 1]
    with subprocess.Popen(command(*arguments), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: any(run.glob("trials/*/checkpoint.safetensors")), 200)
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "the same command continues" in said and "Traceback" not in said
    done = asc_search(*arguments)
    assert done.returncode == 0, done.stderr
    assert [trial.state.name for trial in study_of(run).trials].count("COMPLETE") == 2


def test_a_full_disk_ends_the_run_and_keeps_the_trial(
    demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asc_search.job import Wishes, run_job
    from asc_search.space.load import loads

    space = loads(SPACE.replace("trials: 4", "trials: 1").replace("source: demo", f"source: 'folder:{demo_folder}'"))
    run = RunFolder(tmp_path / "run")
    writes = []

    def full(tensors: object, part: Path, note: object) -> None:
        Path(part).write_bytes(b"half of it")
        writes.append(part)
        if "trials" in Path(part).parts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part))
        real(tensors, part, note)

    real = checkpoint_module.save_file
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(checkpoint_module, "save_file", full)
        run_job(space, run, Wishes())
    assert writes and not any(path.exists() for path in writes if "trials" in Path(path).parts), (
        "nothing half written stays"
    )
    (trial,) = study_of(run.root).trials
    assert trial.state.name == "WAITING" and "deaths" not in trial.user_attrs, "the candidate could not help it"
    run_job(space, run, Wishes())
    assert study_of(run.root).trials[0].state.name == "COMPLETE"


def test_an_owner_is_gone_when_its_process_is() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        here = Owner.here()
        born = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
        other = Owner(here.host, here.scope, process.pid, born, "x")
        assert Owner.parse(other.text) == other and not other.gone and not here.gone
        assert Owner(here.host, here.scope, process.pid, born + 1, "x").gone, "another process has its pid"
        assert not Owner("elsewhere", here.scope, 999_999_999, 1, "x").gone, "nobody can know that"
        process.kill()
        process.wait()
        assert other.gone


def test_workers_on_postgresql_join_by_name_and_no_password_is_kept(
    server: Server, demo_folder: Path, tmp_path: Path
) -> None:
    space, run = tmp_path / "tiny.yaml", tmp_path / "run"
    space.write_text(SPACE.replace("trials: 4", "trials: 3"))
    arguments = ["run", space, "--data", f"folder:{demo_folder}", "--out", run, "--threads", 1]
    done = asc_search(*arguments, "--storage", server.url, "--workers", 2)
    assert done.returncode == 0, done.stderr
    name = optuna.get_all_study_names(server.url)[-1]
    assert name.startswith("run-")
    refused = asc_search("worker", run)
    assert refused.returncode == 1 and "ASC_SEARCH_STORAGE" in refused.stderr and "Traceback" not in refused.stderr
    joined = asc_search("worker", name, "--storage", server.url, "--out", tmp_path / "elsewhere", "--threads", 1)
    assert joined.returncode == 0 and "3 candidates trained" in joined.stderr, joined.stderr
    for said in (done, refused, joined):
        assert server.password not in said.stdout + said.stderr
    kept = [path for path in [*run.rglob("*"), *(tmp_path / "elsewhere").rglob("*")] if path.is_file()]
    assert kept and not any(server.password.encode() in path.read_bytes() for path in kept)
    other = tmp_path / "elsewhere" / "space.yaml"
    other.write_text(other.read_text().replace("rungs: [3]", "rungs: [4]"))
    differs = asc_search("worker", tmp_path / "elsewhere", "--storage", server.url)
    assert differs.returncode == 1 and "another space" in differs.stderr and "rungs: [4]" in differs.stderr
