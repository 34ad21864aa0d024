"""Checking sources: counts against the published ones, and every kind of damage found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tau_trees import RATE_HZ, make_tree

from asc_search.data.check import check
from asc_search.data.tau_facts import TAU_SETS
from asc_search.errors import DataError


@pytest.mark.parametrize("name", TAU_SETS)
def test_a_complete_set_is_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    make_tree(tmp_path, name, monkeypatch)
    found = check(f"{name}:{tmp_path}", decode=True)
    assert found.ok, found.lines()
    assert found.lines()[-1] == "everything is as it should be (all samples decoded)"
    unit = 10 if name == "tau2022" else 1
    train_b = 6 * unit if name != "tau2019" else None
    counts = {(count.part, count.column, count.value): count.found for count in found.counts}
    assert counts["train", "", ""] == 12 * unit + (train_b or 0)
    assert counts.get(("train", "device", "b")) == train_b
    assert counts["neither", "class", "tram"] == (3 * unit if train_b else 2 * unit)
    plain = json.loads(json.dumps(found.to_json()))
    assert plain["ok"] is True
    assert plain["counts"][0] == {
        "part": "train",
        "column": "",
        "value": "",
        "found": counts["train", "", ""],
        "expected": counts["train", "", ""],
    }


def test_a_miniature_is_not_the_published_set(tmp_path: Path) -> None:
    make_tree(tmp_path, "tau2019")
    found = check(f"tau2019:{tmp_path}")
    assert not found.ok
    lines = "\n".join(found.lines())
    assert "train: 12, expected 9185" in lines
    assert "test, class bus: 0, expected 415" in lines
    assert "is 400 Hz, 2 ch, PCM_24, 4000 frames; published are 48000 Hz, 2 ch, PCM_24, 480000 frames" in lines


def test_damage_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tree(tmp_path, "tau2022", monkeypatch)
    first, second = "audio/metro_station-lyon-1-40001-3-a.wav", "audio/tram-lyon-12-40012-0-b.wav"
    for file in (first, second):
        (root / file).unlink()
    (root / "audio/tram-lyon-13-40013-0-a.wav").write_text("no audio")
    soundfile.write(root / "audio/tram-lyon-13-40013-1-a.wav", np.full(RATE_HZ, np.nan), RATE_HZ, subtype="FLOAT")
    quick, full = check(f"tau2022:{root}"), check(f"tau2022:{root}", decode=True)
    assert (quick.ok, quick.missing, quick.first_missing) == (False, 2, first)
    assert [problem.where for problem in quick.unreadable] == ["audio/tram-lyon-13-40013-0-a.wav"]
    assert [problem.where[-8:] for problem in full.unreadable] == ["-0-a.wav", "-1-a.wav"]
    assert f"missing: 2 files, first {first}" in quick.lines()
    assert quick.lines()[-1] == "not in order (headers read)"
    assert all(count.ok for count in quick.counts)  # the table is complete


def test_contradictions_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tree(tmp_path, "tau2022", monkeypatch)
    meta, train = root / "meta.csv", root / "evaluation_setup" / "fold1_train.csv"
    test = train.with_name("fold1_evaluate.csv")
    lines = meta.read_text().splitlines()
    meta.write_text(
        "\n".join([*lines[:-1]]).replace("lyon-0-40000-0-a.wav\tmetro_station", "lyon-0-40000-0-a.wav\ttram") + "\n"
    )
    moved = "audio/tram-lyon-11-40011-0-a.wav\ttram\n"
    train.write_text(train.read_text().replace(moved, "") + "audio/gone-lyon-1-2-3-a.wav\tgone\n")
    test.write_text(test.read_text() + moved)
    soundfile.write(root / "audio/metro_station-lyon-0-40000-0-a.wav", np.zeros(2 * RATE_HZ), RATE_HZ, subtype="PCM_16")
    found = check(f"tau2022:{root}")
    text = "\n".join(map(str, found.mistakes))
    assert "metro_station-lyon-0-40000-0-a.wav: meta.csv says tram, a, lyon-0" in text
    assert "fold1_train.csv: names 1 files that meta.csv does not have, first audio/gone-lyon-1-2-3-a.wav" in text
    assert "training and test share 1 recording locations, first lyon-11" in text
    assert "its segment has 9 of 10 seconds" in text
    assert "tram-lyon-11-40011-0-a.wav: the seconds of its segment are in several parts" in text
    assert "is 400 Hz, 1 ch, PCM_16, 800 frames; published are 400 Hz, 1 ch, PCM_24, 400 frames" in text
    wrong = {str(count) for count in found.counts if not count.ok}
    assert {"train, device a: 119, expected 120", "test, class tram: 41, expected 40"} <= wrong


def test_subset_lists_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tree(tmp_path, "tau2022", monkeypatch)
    train = (root / "evaluation_setup" / "fold1_train.csv").read_text()
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "split5.csv").write_text(train + "audio/tram-lyon-1-2-3-c.wav\ttram\n")
    found = check(f"tau2022:{root}", lists=lists)
    counts = {str(count) for count in found.counts}
    assert {"split5: 180, expected 6980", "split5, device a: 120, expected 5080"} <= counts
    assert "split5.csv: names 1 files that are not in training" in str(found.mistakes[0])


def test_any_folder_is_only_counted(tmp_path: Path) -> None:
    (tmp_path / "meta.csv").write_text("filename,label,split\n1.wav,cat,train\n2.wav,dog,\n3.wav,dog,train\n")
    for name in ("1.wav", "2.wav"):
        soundfile.write(tmp_path / name, np.zeros(10), 8_000)
    found = check(f"folder:{tmp_path}")
    assert [str(count) for count in found.counts] == [
        "neither: 1",
        "neither, class dog: 1",
        "train: 2",
        "train, class cat: 1",
        "train, class dog: 1",
    ]
    assert (found.missing, found.first_missing, found.ok) == (1, "3.wav", False)
    soundfile.write(tmp_path / "3.wav", np.zeros(10), 8_000)
    assert check(f"folder:{tmp_path}").ok
    for source in ("demo", f"folder:{tmp_path / 'no'}", f"tau2022:{tmp_path}"):
        with pytest.raises(DataError):
            check(source)


def test_published_counts_are_what_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tree(tmp_path, "tau2020", monkeypatch)
    tau = TAU_SETS["tau2020"]
    more = {part: dict(by) for part, by in tau.devices.items()}
    more["test"]["s5"] = 2
    monkeypatch.setitem(TAU_SETS, "tau2020", replace(tau, devices=more))
    wrong = [str(count) for count in check(f"tau2020:{tmp_path}").counts if not count.ok]
    assert wrong == ["test: 8, expected 10", "test, device s5: 0, expected 2"]
