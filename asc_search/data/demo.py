"""The generated demo set: synthetic scenes in the layout of TAU Urban Acoustic Scenes 2022 Mobile.

For trying everything offline. Nothing in it is a recording; results on it say that the machinery works, not how good a
network is on real scenes.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from asc_search.data.audio_io import write_wav
from asc_search.data.demo_devices import DEVICES, REFERENCE, SEEN, UNSEEN, record, response
from asc_search.data.demo_recipes import SCENES
from asc_search.data.demo_scenes import RATE_HZ, Place, frequencies_hz, make_place, render
from asc_search.errors import DataError, Problem
from asc_search.files import read_json, write_json
from asc_search.progress import track

MARKER = "demo.json"
_STARTED = "demo.started"
_VERSION = 1
# invented, so that no file can be mistaken for a real recording
CITIES = ("alderham", "birchport", "cedarville", "elmstadt", "fircastle", "rowanby")


@dataclass(frozen=True)
class DemoSize:
    """How many places a class has in training and test, clips of one second per place, and clips in the evaluation set.

    Training clips are half of device a and half of s1 to s3; test clips take the seven devices in turn.
    """

    train_places: int = 15
    train_clips_per_place: int = 8
    test_places: int = 6
    test_clips_per_place: int = 7
    evaluation_clips: int = 60


SMALL = DemoSize(train_places=3, train_clips_per_place=2, test_places=1, test_clips_per_place=7, evaluation_clips=10)


@dataclass(frozen=True)
class _Clip:
    file: str
    scene: str
    identifier: str
    device: str
    place_seed: tuple[int, ...]
    clip_seed: tuple[int, ...]


def make_demo(root: Path, seed: int = 0, size: DemoSize | None = None) -> None:
    """Generate the demo set into ``root`` unless it is there already, complete and of the same seed and size.

    Files: ``audio/<scene>-<city>-<location>-<segment>-<second>-<device>.wav`` (1 s, 32 kHz, 16 bit), ``meta.csv``,
    ``evaluation_setup/fold1_{train,evaluate,test}.csv`` and, without labels, ``evaluation/audio/<i>.wav`` with
    ``evaluation/evaluation_setup/fold1_test.csv``. A set of which only a part was written is made anew.

    Raises:
        DataError: ``root`` holds files that are not a demo set.
    """
    size = size or DemoSize()
    wanted = {"version": _VERSION, "seed": seed, "size": asdict(size), "note": "generated scenes, not recordings"}
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.parent / f"{root.name}.lock"):
        if read_json(root / MARKER) == wanted:
            return
        _clear(root)
        clips = list(_plan(seed, size))
        _write_lists(root, clips)
        _write_audio(root, clips)
        write_json(root / MARKER, wanted)
        (root / _STARTED).unlink()


def _clear(root: Path) -> None:
    """Remove what an earlier or interrupted generation left, and only that; leaves ``root`` marked as started."""
    if root.exists() and any(root.iterdir()) and not ((root / MARKER).exists() or (root / _STARTED).exists()):
        raise DataError("no room for the demo set", [Problem(str(root), "is not empty and not a demo set; remove it")])
    root.mkdir(exist_ok=True)
    (root / _STARTED).touch()
    (root / MARKER).unlink(missing_ok=True)
    for name in ("audio", "evaluation_setup", "evaluation"):
        shutil.rmtree(root / name, ignore_errors=True)
    for name in ("audio", "evaluation_setup", "evaluation/audio", "evaluation/evaluation_setup"):
        (root / name).mkdir(parents=True)


def _plan(seed: int, size: DemoSize) -> Iterator[_Clip]:
    """Every clip of the set: training places, test places, then evaluation clips, each with its own seeds."""
    location, segment = 0, 0
    for part, places, count in (
        (0, size.train_places, size.train_clips_per_place),
        (1, size.test_places, size.test_clips_per_place),
    ):
        for index, scene in enumerate(SCENES):
            for place in range(places):
                city = CITIES[(place + index) % len(CITIES)]
                for k in range(count):
                    device = _train_device(place, k) if part == 0 else (REFERENCE, *SEEN, *UNSEEN)[k % 7]
                    name = f"audio/{scene}-{city}-{location}-{segment}-{k % 10}-{device}.wav"
                    place_seed = (_VERSION, seed, part, index, place)
                    yield _Clip(name, scene, f"{city}-{location}", device, place_seed, (*place_seed, k))
                    segment += 1
                location += 1
    for k in range(size.evaluation_clips):
        place_seed = (_VERSION, seed, 2, k % len(SCENES), k)
        device = (REFERENCE, *SEEN, *UNSEEN)[(k // len(SCENES) + k) % 7]
        name = f"evaluation/audio/{k}.wav"
        yield _Clip(name, SCENES[k % len(SCENES)], "", device, place_seed, (*place_seed, 0))


def _train_device(place: int, k: int) -> str:
    return REFERENCE if k % 2 == 0 else SEEN[(place + k // 2) % len(SEEN)]


def _write_lists(root: Path, clips: Sequence[_Clip]) -> None:
    development = [clip for clip in clips if clip.identifier]
    train = [clip for clip in development if clip.place_seed[2] == 0]
    test = [clip for clip in development if clip.place_seed[2] == 1]
    evaluation = [(clip.file.removeprefix("evaluation/"), clip.device) for clip in clips if not clip.identifier]
    meta = [(clip.file, clip.scene, clip.identifier, clip.device) for clip in development]
    _write_table(root / "meta.csv", ("filename", "scene_label", "identifier", "source_label"), meta)
    setup, labelled = root / "evaluation_setup", ("filename", "scene_label")
    _write_table(setup / "fold1_train.csv", labelled, [(clip.file, clip.scene) for clip in train])
    _write_table(setup / "fold1_evaluate.csv", labelled, [(clip.file, clip.scene) for clip in test])
    _write_table(setup / "fold1_test.csv", ("filename",), [(clip.file,) for clip in test])
    _write_table(root / "evaluation/evaluation_setup/fold1_test.csv", ("filename", "device_id"), evaluation)


def _write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _write_audio(root: Path, clips: Sequence[_Clip]) -> None:
    colours = {name: response(device, frequencies_hz()) for name, device in DEVICES.items()}
    places: dict[tuple[int, ...], Place] = {}
    for clip in track(clips, "generating demo scenes", len(clips)):
        if clip.place_seed not in places:
            # clips of a place follow each other, so one is kept at a time
            places = {clip.place_seed: make_place(clip.scene, np.random.default_rng(clip.place_seed))}
        rng = np.random.default_rng(clip.clip_seed)
        samples = render(places[clip.place_seed], colours[clip.device], rng)
        write_wav(root / clip.file, record(DEVICES[clip.device], samples, rng), RATE_HZ)
