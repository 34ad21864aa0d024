"""The command line end to end on a tiny space: a front, a report, a submission; stopped at any stage, it goes on."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from ruamel.yaml import YAML
from support import ENVIRONMENT, asc_search, command

from asc_search.export.profile import PROFILES
from asc_search.export.zip_check import check_zip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, demo_folder: Path) -> tuple[Path, str]:
    """A finished run and what it printed."""
    from support import TINY_SPACE

    root = tmp_path_factory.mktemp("job")
    space = root / "tiny.yaml"
    space.write_text(TINY_SPACE)
    done = asc_search("run", space, "--data", f"folder:{demo_folder}", "--out", root / "run", "--threads", 1)
    assert done.returncode == 0, done.stderr
    return root / "run", done.stderr


def study(run: Path) -> optuna.Study:
    return optuna.load_study(study_name="search", storage=f"sqlite:///{run / 'study.db'}")


def test_every_trial_is_complete_or_rejected_for_its_cost(finished: tuple[Path, str]) -> None:
    trials = study(finished[0]).trials
    states = {trial.state.name for trial in trials}
    assert states <= {"COMPLETE", "PRUNED"}
    trained = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert len(trained) == 4
    for trial in trials:
        over = trial.user_attrs["macs"] > 400_000 or trial.user_attrs["weight_bytes"] > 128_000
        assert over == (trial.state.name == "PRUNED")
        assert over == any(value > 0 for value in trial.constraints.values())
        trained_in = list((finished[0] / "trials").glob(f"{trial.number:05d}-*"))
        assert len(trained_in) == (not over), "a rejected trial is never trained"


def test_the_front_is_written_with_and_without_teachers(finished: tuple[Path, str]) -> None:
    run, printed = finished
    with (run / "front.csv").open() as file:
        rows = list(csv.DictReader(file))
    pruned = [row for row in rows if row["role"] == "finalist" and "pruned" in row["description"]]
    assert [row["role"] for row in rows] == ["finalist"] * 3 + ["undistilled"] * 3 + ["dense"] * len(pruned)
    costs = [(row["params"], row["macs"], row["weight_bytes"]) for row in pruned]
    assert sorted(
        (row["params"], row["macs"], row["weight_bytes"]) for row in rows if row["role"] == "dense"
    ) == sorted(costs)
    for row in rows:
        assert int(row["macs"]) <= 400_000 and int(row["weight_bytes"]) == 2 * int(row["params"])
        assert len(row["test_values"].split(";")) == 2
        assert 0 <= float(row["test_mean"]) <= 1
    page = (run / "report.html").read_text(encoding="utf-8")
    assert ">finished</span>" in page and page.count("data-plot=") == 8  # all but refusals, as none was drawn
    assert f"asc-search dashboard {run}" in printed and "asc-search export" in printed
    assert printed.count("on validation (") == 2, "each teacher speaks once"


def test_the_same_command_again_trains_nothing(finished: tuple[Path, str], demo_folder: Path) -> None:
    run, _ = finished
    before = {path: path.stat().st_mtime_ns for path in run.rglob("model.safetensors")}
    trials = len(study(run).trials)
    again = asc_search("run", run.parent / "tiny.yaml", "--data", f"folder:{demo_folder}", "--out", run)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in run.rglob("model.safetensors")} == before
    assert len(study(run).trials) == trials


def test_another_space_on_the_same_folder_is_refused(
    finished: tuple[Path, str], demo_folder: Path, tmp_path: Path
) -> None:
    run, _ = finished
    other = run.parent / "other.yaml"
    other.write_text((run.parent / "tiny.yaml").read_text().replace("rungs: [1, 2]", "rungs: [1, 3]"))
    refused = asc_search("run", other, "--data", f"folder:{demo_folder}", "--out", run)
    assert refused.returncode == 1
    assert "started with another space" in refused.stderr and "--out" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_practice_submission_passes_our_own_check(finished: tuple[Path, str]) -> None:
    run, _ = finished
    out = run.parent / "submission.zip"
    label = "Lastname_INST_task1_1"
    done = asc_search("export", run, "--profile", "dcase2024", "--label", label, "--out", out, "--practice")
    assert done.returncode == 0, done.stderr
    assert check_zip(out, PROFILES["dcase2024"], practice=True) == []
    with zipfile.ZipFile(out) as archive:
        names = sorted(archive.namelist())
        meta = archive.read(f"task1/{label}/{label}.meta.yaml").decode()
    splits = ["10", "100", "25", "5", "50"]
    assert names == sorted([f"task1/{label}/{label}.output.split_{split}.csv" for split in splits] + [
        f"task1/{label}/{label}.meta.yaml"
    ])  # fmt: skip
    front = json.loads((run / "front.json").read_text())
    averaged = {row["name"]: row["averaged"] for row in front if row["role"] == "finalist"}
    assert averaged and all(one["passes"] == 2 for one in averaged.values()), "test-time augmentation was asked for"
    assert all(row["averaged"]["macs"] == 2 * row["macs"] for row in front if row["role"] == "finalist")
    exported = next(row for row in front if f"total_parameters: {row['params']}\n" in meta)
    assert f"total_model_size: {2 * exported['params']}\n" in meta and f"macs: {exported['macs']}\n" in meta


@pytest.mark.parametrize("year", ["dcase2022", "dcase2023", "dcase2025"])
def test_a_run_is_packed_for_every_year(finished: tuple[Path, str], tmp_path: Path, year: str) -> None:
    out, label = tmp_path / "s.zip", "Lastname_IN-ST_task1_4"
    about = tmp_path / "about.yaml"
    about.write_text(
        f'export:\n  profile: {year}\n  name: "O\'Neill & <b>Łódź</b>, \\"2\\""\n  source_code: https://x.example\n'
        "  description: {pipeline: 'train, \"twice\"'}\n"
    )
    done = asc_search("export", finished[0], "--about", about, "--label", label, "--out", out, "--practice")
    assert done.returncode == 0, done.stderr
    assert check_zip(out, PROFILES[year], practice=True) == []
    with zipfile.ZipFile(out) as archive:
        meta = YAML(typ="safe").load(archive.read(f"task1/{label}/{label}.meta.yaml").decode())
    assert meta["submission"]["name"] == 'O\'Neill & <b>Łódź</b>, "2"'
    assert meta["system"]["description"]["pipeline"] == 'train, "twice"'
    assert meta["system"]["source_code"] == "https://x.example"
    package = tmp_path / "s-package" / "Lastname_IN_ST_task1" / "Lastname_IN_ST_task1_4.py"
    assert package.exists() == (year == "dcase2025")
    assert "macs" in meta["system"]["complexity"] and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--label", "Lastname_INST_1"], "task1"),
        (["--label", "Lastname_INST_task1_9"], "1"),
        (["--label", "Lastname_INST_task1_1"], "--clips"),
        (["--label", "Lastname_INST_task1_1", "--practice", "--trial", "999"], "not a finalist"),
        (["--label", "Lastname_INST_task1_1", "--profile", "dcase1999"], "dcase2024"),
        (["--label", "Lastname_INST_task1_1", "--practice", "--clips", "."], "0.wav"),
        (["--label", "Lastname_INST_task1_1", "--practice", "--splits", "."], "split5.csv"),
    ],
)
def test_export_says_what_forbids_it(finished: tuple[Path, str], tmp_path: Path, options: list[str], said: str) -> None:
    out = tmp_path / "submission.zip"
    refused = asc_search("export", finished[0], "--out", out, *options, cwd=tmp_path)
    assert refused.returncode == 1 and said in refused.stderr, refused.stderr
    assert "Traceback" not in refused.stderr and not out.exists()


def kill_when(arguments: list[object], reached: Callable[[], bool], how: int) -> tuple[int, str]:
    """Start the command, send signal ``how`` as soon as ``reached`` holds; its exit status and what it said."""
    process = subprocess.Popen(command(*arguments), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 240
    while not reached():
        assert process.poll() is None, "it ended before it was stopped"
        assert time.monotonic() < limit
        time.sleep(0.01)
    process.send_signal(how)
    said = process.communicate(timeout=60)[1]
    return process.returncode, said


def test_killed_at_each_stage_it_ends_as_if_undisturbed(
    finished: tuple[Path, str], demo_folder: Path, tiny_space: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = ["run", tiny_space, "--data", f"folder:{demo_folder}", "--out", run, "--threads", 1]

    def any_file(pattern: str) -> Callable[[], bool]:
        return lambda: any(run.glob(pattern))

    stages = [
        ("teachers/*/checkpoint.safetensors", signal.SIGKILL),
        ("trials/*/checkpoint.safetensors", signal.SIGKILL),
        ("trials/*/rung-0.json", signal.SIGTERM),
        ("finalists/*/seed-*/checkpoint.safetensors", signal.SIGKILL),
        ("finalists/*/seed-0/validation.json", signal.SIGINT),
    ]
    for pattern, how in stages:
        status, said = kill_when(arguments, any_file(pattern), how)
        if how == signal.SIGKILL:
            assert status == -signal.SIGKILL
        else:
            assert status == 130 and "the same command continues" in said and "Traceback" not in said
    done = asc_search(*arguments)
    assert done.returncode == 0, done.stderr
    undisturbed = study(finished[0]).get_trials()
    resumed = study(run).get_trials()
    assert [trial.params for trial in resumed] == [trial.params for trial in undisturbed]
    assert [trial.values for trial in resumed] == [trial.values for trial in undisturbed]
    assert (run / "front.csv").read_text() == (finished[0] / "front.csv").read_text()


def test_a_second_run_on_the_same_folder_is_refused(demo_folder: Path, tiny_space: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["run", tiny_space, "--data", f"folder:{demo_folder}", "--out", run, "--threads", 1]
    first = subprocess.Popen(command(*arguments), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 120
        while not (run / "holder.json").exists():
            assert time.monotonic() < limit
            time.sleep(0.05)
        os.kill(first.pid, signal.SIGSTOP)  # a quick machine would end the first before the second has begun
        second = asc_search(*arguments)
        assert second.returncode == 1 and f"in use by process {first.pid}" in second.stderr
        assert "Traceback" not in second.stderr
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()


def test_a_study_may_live_in_another_database(demo_folder: Path, tiny_space: Path, tmp_path: Path) -> None:
    tiny_space.write_text(tiny_space.read_text().replace("trials: 4", "trials: 1").replace("seeds: 2", "seeds: 1"))
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    arguments = ["run", tiny_space, "--data", f"folder:{demo_folder}", "--out", tmp_path / "run", "--threads", 1]
    done = asc_search(*arguments, "--storage", url)
    assert done.returncode == 0, done.stderr
    (name,) = optuna.get_all_study_names(url)
    assert name.startswith("run-") and not (tmp_path / "run" / "study.db").exists()
    assert url in done.stderr
    elsewhere = asc_search(*arguments)
    assert elsewhere.returncode == 1 and "another storage" in elsewhere.stderr
