"""A user's mistakes: one clear message each, through the command line, and never a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import TINY_SPACE, asc_search


def refused(*arguments: object) -> str:
    done = asc_search(*arguments)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_every_mistake_in_the_space_at_once(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(
        TINY_SPACE.replace("stem: cp", "stem: cpp").replace("trials: 4", "trails: 4").replace("[1, 4]", "[4, 1]")
    )
    said = refused("run", space, "--out", tmp_path / "run")
    assert f"{space}:5: network.stem" in said and "cp" in said
    assert "search.trails" in said and "trials" in said
    assert "distillation.temperature" in said
    assert not (tmp_path / "run").exists()


def test_a_space_that_is_not_there(tmp_path: Path) -> None:
    assert "no such file" in refused("run", tmp_path / "absent.yaml")


def test_data_that_is_not_there(tiny_space: Path, tmp_path: Path) -> None:
    assert "there is no folder" in refused(
        "run", tiny_space, "--data", f"folder:{tmp_path / 'absent'}", "--out", tmp_path / "r"
    )
    assert "'demo' or 'folder:PATH'" in refused("run", tiny_space, "--data", "elsewhere", "--out", tmp_path / "r")


def test_an_export_of_what_is_no_run(tmp_path: Path) -> None:
    assert "not a run folder" in refused("export", tmp_path, "--label", "A_B_task1_1")


def test_an_unfinished_run_cannot_be_exported(tmp_path: Path, demo_folder: Path, tiny_space: Path) -> None:
    tiny_space.write_text(TINY_SPACE.replace("macs: 400_000", "macs: 3"))
    said = refused("run", tiny_space, "--data", f"folder:{demo_folder}", "--out", tmp_path / "run")
    assert "of the space is within the budget" in said
    assert "finish first" in refused("export", tmp_path / "run", "--label", "A_B_task1_1", "--practice")


@pytest.fixture
def damaged(tmp_path: Path, demo_folder: Path) -> Path:
    """The demo folder with an empty, an unreadable, a cut-off and a NaN file."""
    root = tmp_path / "scenes"
    shutil.copytree(demo_folder, root)
    files = sorted((root / "audio").glob("*-a.wav"))[:3]
    files[0].write_bytes(b"")
    files[1].write_bytes(b"not audio")
    soundfile.write(files[2], np.full(32_000, np.nan, np.float32), 32_000, subtype="FLOAT")
    return root


def test_bad_files_are_listed_or_left_out(damaged: Path, tmp_path: Path, tiny_space: Path) -> None:
    arguments = ["run", tiny_space, "--data", f"folder:{damaged}", "--out", tmp_path / "run"]
    said = refused(*arguments)
    names = [path.name for path in sorted((damaged / "audio").glob("*-a.wav"))[:3]]
    assert all(name in said for name in names) and "--skip-bad-files" in said
    tiny_space.write_text(TINY_SPACE.replace("trials: 4", "trials: 1").replace("seeds: 2", "seeds: 1"))
    done = asc_search(*arguments, "--skip-bad-files", "--threads", 1)
    assert done.returncode == 0, done.stderr
    listed = (tmp_path / "run" / "skipped_files.txt").read_text()
    assert all(name in listed for name in names) and len(listed.splitlines()) == 3


def test_a_label_the_space_does_not_know(tmp_path: Path, demo_folder: Path, tiny_space: Path) -> None:
    tiny_space.write_text(TINY_SPACE.replace("{source: demo,", "{source: demo, labels: [airport, bus],"))
    said = refused("run", tiny_space, "--data", f"folder:{demo_folder}", "--out", tmp_path / "run")
    assert "meta.csv" in said and "metro" in said and "more" in said


def test_paths_that_cannot_be_folders(tiny_space: Path, tmp_path: Path, demo_folder: Path) -> None:
    file = tmp_path / "a file"
    file.write_text("")
    refused("run", tiny_space, "--data", f"folder:{demo_folder}", "--out", file)
    refused("export", file, "--label", "A_B_task1_1")


def test_what_no_submission_could_be_is_refused_before_the_search(tiny_space: Path, tmp_path: Path) -> None:
    tiny_space.write_text(TINY_SPACE + "export: {profile: dcase2024, label: Someone_1}\n")
    assert "task1" in refused("run", tiny_space, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_teacher_weights_are_found_first(tiny_space: Path, tmp_path: Path) -> None:
    tagger = "    one: {kind: tagger, weights: absent.pt}"
    lines = [tagger if line.startswith("    one:") else line for line in TINY_SPACE.splitlines()]
    tiny_space.write_text("\n".join(lines))
    assert "absent.pt" in refused("run", tiny_space, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_missing_column_is_named(tmp_path: Path, tiny_space: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.csv").write_text("filename,labell\na.wav,dog\n")
    said = refused("run", tiny_space, "--data", f"folder:{tmp_path / 'data'}", "--out", tmp_path / "run")
    assert "label" in said and "labell" in said


def test_help_names_every_command() -> None:
    done = asc_search("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("run", "export", "complexity"))


def test_mono_audio_for_binaural_networks(tmp_path: Path, demo_folder: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(TINY_SPACE.replace("frontend: {", "frontend: {channels: 2, "))
    said = " ".join(refused("run", space, "--data", f"folder:{demo_folder}", "--out", tmp_path / "run").split())
    assert "cannot be heard with 2 channels" in said
    assert ".wav: has one channel, frontend.channels asks for 2" in said
    assert "frontend.channels: 1" in said
