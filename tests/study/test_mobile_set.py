"""Recordings made mobile: what each device hears, and that no clip is on both sides of a split."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import fftconvolve

from asc_search.data.audio_io import write_wav
from asc_search.data.source import open_source
from asc_search.errors import DataError
from asc_search.files import read_json
from asc_search.study.mobile_set import make_mobile
from asc_search.train.corrections import parallel_pairs

RATE = 8_000


def recordings(folder: Path, clips: int = 40, source_of=lambda i: f"place{i // 2}") -> Path:  # type: ignore[no-untyped-def]
    """Two classes, four folds of whole sources, half a second each."""
    rng = np.random.default_rng(0)
    (folder / "audio").mkdir(parents=True)
    with (folder / "meta.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["filename", "label", "fold", "source_id"])
        for i in range(clips):
            write_wav(folder / f"audio/{i}.wav", (0.2 * rng.standard_normal(RATE // 2)).astype(np.float32), RATE)
            writer.writerow([f"audio/{i}.wav", "ab"[i % 2], 1 + (i // 2) % 4, source_of(i)])
    return folder


def microphones(folder: Path, count: int = 9) -> Path:
    rng = np.random.default_rng(1)
    folder.mkdir()
    for i in range(count):
        response = rng.standard_normal(64) * np.exp(-np.arange(64) / 8)
        write_wav(folder / f"mic{i}.wav", (0.5 * response / np.abs(response).max()).astype(np.float32), RATE)
    return folder


def test_devices_hear_through_their_responses_and_the_rest_is_left_to_train_with(tmp_path: Path) -> None:
    source, irs = recordings(tmp_path / "in"), microphones(tmp_path / "irs")
    out = make_mobile(f"folder:{source}", irs, tmp_path / "out", ["4"])
    devices = read_json(out / "mobile.json")["devices"]
    assert sorted(devices) == [f"s{n}" for n in range(1, 7)] and len(set(devices.values())) == 6
    left = {path.stem for path in (out / "responses").glob("*.wav")}
    assert left == {f"mic{i}" for i in range(9)} - set(devices.values())
    rows = list(csv.DictReader((out / "meta.csv").open()))
    for row in rows[::5]:
        stem, device = Path(row["filename"]).stem.split("-")
        was, _ = soundfile.read(source / f"audio/{stem}.wav")
        now, _ = soundfile.read(out / row["filename"])
        expected = was
        if device != "a":
            response, _ = soundfile.read(irs / f"{devices[device]}.wav")
            heard = fftconvolve(was, response)[: len(was)]
            heard = heard * np.ptp(was) / np.ptp(heard)
            expected = heard / max(1, np.abs(heard).max())
        np.testing.assert_allclose(now, expected, atol=2e-3)


def test_no_clip_is_in_two_parts_and_unseen_devices_are_in_the_test_alone(tmp_path: Path) -> None:
    source = recordings(tmp_path / "in")
    out = make_mobile(f"folder:{source}", microphones(tmp_path / "irs"), tmp_path / "out", ["4"])
    clips = open_source(f"folder:{out}", tmp_path / "work", validation_fraction=0.25).clips
    parts = {name: clips.split(name) for name in ("train", "validation", "test")}
    assert set(parts["train"].devices) | set(parts["validation"].devices) == {"a", "s1", "s2", "s3"}
    assert set(parts["test"].devices) == {"a", *(f"s{n}" for n in range(1, 7))}
    sources = [set(part.locations) for part in parts.values()]
    assert not (sources[0] & sources[1] or sources[0] & sources[2] or sources[1] & sources[2])
    assert len(parts["test"]) == 3 * 10 and sum(device == "a" for device in parts["test"].devices) == 10
    trained = [*parts["train"].files, *parts["validation"].files]
    assert len(trained) == 30 == len({Path(file).stem.split("-")[0] for file in trained})
    for label in (0, 1):
        own = [d for part in ("train", "validation") for d, at in zip(parts[part].devices, parts[part].labels, strict=True)
               if at == label]  # fmt: skip
        assert own.count("a") == round(0.7 * len(own))


def test_parallel_recordings_are_of_one_moment_and_spectrum_correction_finds_them(tmp_path: Path) -> None:
    source, irs = recordings(tmp_path / "in"), microphones(tmp_path / "irs")
    alone, out = (
        make_mobile(f"folder:{source}", irs, tmp_path / name, ["4"], parallel=name == "both")
        for name in ("alone", "both")
    )
    listed = [list(csv.DictReader((folder / "meta.csv").open())) for folder in (alone, out)]
    added = [row for row in listed[1] if row not in listed[0]]
    others = [row for row in listed[0] if row["split"] == "train" and row["device"] != "a"]
    assert [row["filename"] for row in added] == [f"{row['filename'].rpartition('-')[0]}-a.wav" for row in others]
    training = open_source(f"folder:{out}", tmp_path / "work", validation_fraction=0.25).clips.split("train")
    pairs = parallel_pairs(training)
    assert len(pairs) == sum(device != "a" for device in training.devices) > 0
    for first, second in pairs:
        assert training.devices[first] == "a" != training.devices[second]
        assert training.locations[first] == training.locations[second]
        assert training.files[first].rpartition("-")[0] == training.files[second].rpartition("-")[0]


def test_the_same_arguments_give_the_same_files(tmp_path: Path) -> None:
    source, irs = recordings(tmp_path / "in", 16), microphones(tmp_path / "irs")
    made = [make_mobile(f"folder:{source}", irs, tmp_path / name, ["4"]) for name in ("one", "two")]
    files = [sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file()) for out in made]
    assert files[0] == files[1] and len(files[0]) > 16
    assert all((made[0] / file).read_bytes() == (made[1] / file).read_bytes() for file in files[0])
    before = (made[0] / "meta.csv").stat().st_mtime_ns
    make_mobile(f"folder:{source}", irs, tmp_path / "one", ["4"])
    assert (made[0] / "meta.csv").stat().st_mtime_ns == before, "made once"
    make_mobile(f"folder:{source}", irs, tmp_path / "one", ["4"], seed=1)
    assert read_json(made[0] / "mobile.json") != read_json(made[1] / "mobile.json")


def test_what_cannot_be_made_mobile_is_refused(tmp_path: Path) -> None:
    source, irs = recordings(tmp_path / "in", 16), microphones(tmp_path / "irs")
    with pytest.raises(DataError, match="no fold 7; folds found: 1, 2, 3, 4"):
        make_mobile(f"folder:{source}", irs, tmp_path / "out", ["7"])
    with pytest.raises(DataError, match="has 5 responses"):
        make_mobile(f"folder:{source}", microphones(tmp_path / "few", 5), tmp_path / "out", ["4"])
    torn = recordings(tmp_path / "torn", 16, lambda i: "everywhere")
    with pytest.raises(DataError, match="1 source ids are in test folds and in others"):
        make_mobile(f"folder:{torn}", irs, tmp_path / "out", ["4"])
