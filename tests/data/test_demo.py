"""The generated demo set: layout, repeatability, repair, and that its devices and scenes differ as meant."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc_search.data.demo import MARKER, SMALL, DemoSize, make_demo
from asc_search.data.demo_devices import DEVICES, SEEN, UNSEEN, response
from asc_search.data.folder import tau_name
from asc_search.errors import DataError

TINY = DemoSize(train_places=1, train_clips_per_place=1, test_places=1, test_clips_per_place=1, evaluation_clips=2)


def digests(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("small") / "demo"
    make_demo(root, size=SMALL)
    return root


def test_layout(small: Path) -> None:
    meta = rows_of(small / "meta.csv")
    assert list(meta[0]) == ["filename", "scene_label", "identifier", "source_label"]
    for row in meta:
        name = tau_name(row["filename"])
        assert name is not None
        assert (name.scene, name.location, name.device) == (row["scene_label"], row["identifier"], row["source_label"])
        info = soundfile.info(small / row["filename"])
        assert (info.samplerate, info.frames, info.channels, info.subtype) == (32_000, 32_000, 1, "PCM_16")
    assert Counter(Counter(row["scene_label"] for row in meta).values()) == {13: 10}
    train = {row["filename"] for row in rows_of(small / "evaluation_setup" / "fold1_train.csv")}
    test = {row["filename"] for row in rows_of(small / "evaluation_setup" / "fold1_evaluate.csv")}
    assert [row["filename"] for row in rows_of(small / "evaluation_setup" / "fold1_test.csv")] == [
        row["filename"] for row in meta if row["filename"] in test
    ]
    assert not train & test
    assert len(train | test) == len(meta)
    places = [{row["identifier"] for row in meta if row["filename"] in part} for part in (train, test)]
    assert not places[0] & places[1]
    assert {row["source_label"] for row in meta if row["filename"] in train} <= {"a", *SEEN}
    assert {row["source_label"] for row in meta if row["filename"] in test} == {"a", *SEEN, *UNSEEN}
    evaluation = rows_of(small / "evaluation" / "evaluation_setup" / "fold1_test.csv")
    assert [row["filename"] for row in evaluation] == [f"audio/{i}.wav" for i in range(10)]
    assert all((small / "evaluation" / row["filename"]).is_file() for row in evaluation)


def test_sounds_are_scenes_not_tones(small: Path) -> None:
    """Neither silent nor clipped, broadband, and unlike each other."""
    clips = [soundfile.read(small / row["filename"])[0] for row in rows_of(small / "meta.csv")]
    for samples in clips:
        assert 1e-3 < samples.std() < 0.5
        assert np.mean(np.abs(samples) > 0.999) < 0.02
        power = np.abs(np.fft.rfft(samples)) ** 2
        assert power.max() < 0.5 * power.sum()
    flattened = np.stack(clips) / np.linalg.norm(np.stack(clips), axis=1, keepdims=True)
    alike = np.abs(flattened @ flattened.T) - np.eye(len(clips))
    assert alike.max() < 0.9


def test_same_seed_same_bytes_other_seed_others(tmp_path: Path) -> None:
    make_demo(tmp_path / "one", seed=3, size=TINY)
    make_demo(tmp_path / "two", seed=3, size=TINY)
    make_demo(tmp_path / "three", seed=4, size=TINY)
    one, two, three = (digests(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert one.keys() == three.keys()
    assert all(one[name] != three[name] for name in one if name.endswith(".wav"))


def test_complete_set_is_left_alone_and_half_a_set_is_made_anew(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    make_demo(root, size=TINY)
    before = digests(root)
    victim = next((root / "audio").iterdir())
    victim.write_bytes(b"touched")
    make_demo(root, size=TINY)
    assert victim.read_bytes() == b"touched"
    # as an interruption leaves it: started, not marked complete
    (root / MARKER).unlink()
    (root / "demo.started").touch()
    make_demo(root, size=TINY)
    assert digests(root) == before
    make_demo(root, seed=1, size=TINY)
    assert digests(root) != before


def test_foreign_files_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="not a demo set"):
        make_demo(tmp_path / "demo", size=TINY)
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["thesis.txt"]


def test_unseen_devices_lie_further_from_the_reference() -> None:
    frequencies_hz = np.geomspace(80.0, 12_000.0, 200)

    def distance_db(name: str) -> float:
        ratio = response(DEVICES[name], frequencies_hz) / response(DEVICES["a"], frequencies_hz)
        return float(np.std(20 * np.log10(ratio)))

    assert max(map(distance_db, SEEN)) < min(map(distance_db, UNSEEN))
