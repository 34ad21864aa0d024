"""Recordings made mobile: the clips of a data set as if several devices had recorded them, some heard in the test alone."""

from __future__ import annotations

import csv
import io
import shutil
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile
import torch

from asc_search.audio.device_ir import convolved, read_responses
from asc_search.data.audio_io import read_mono, write_wav
from asc_search.data.clips import Clips
from asc_search.data.folder import Folder, read_listing
from asc_search.data.source import locate
from asc_search.errors import DataError, Problem
from asc_search.files import read_json, write_atomically, write_json
from asc_search.progress import track
from asc_search.space.tree import near
from asc_search.train.responses import TAPS_S

CLEAN, SEEN, UNSEEN = "a", ("s1", "s2", "s3"), ("s4", "s5", "s6")
CLEAN_SHARE = 0.7  # of the training clips; the seen devices share the rest (TAU 2022 has 73 % on device a)
VERSION = 1


def make_mobile(
    source: str,
    responses: Path,
    out: Path,
    test_folds: Collection[str],
    seed: int = 0,
    labels: Collection[str] = (),
    parallel: bool = False,
) -> Path:
    """Write the clips of ``source`` (``folder:PATH`` with folds) into ``out`` as a set of seven devices; returns ``out``.

    Device ``a`` is the clip as it is, ``s1`` to ``s6`` are heard through six of the impulse ``responses`` (a folder of wavs)
    drawn by ``seed``, the level's range kept; the others are copied to ``out/responses``, to train with. A training clip
    has one device, of each class the same shares: seven tenths ``a``, the rest ``s1`` to ``s3``; with ``parallel`` that rest
    is there on ``a``, too, as in the TAU sets: spectrum correction learns from such pairs. A clip of ``test_folds`` is there
    three times: by ``a``, by one of ``s1`` to ``s3`` and by one of ``s4`` to ``s6``. All copies of a clip keep its source id,
    so no split tears them apart. ``labels`` are the classes taken, all without any. The same arguments give the same files;
    unfinished sets are made again.

    Raises:
        DataError: no such source, no such folds, or a source id on both sides; the responses are fewer than seven or
            cannot be used; a file cannot be read.
    """
    listing = read_listing(locate(source).root)
    clips, folds = _of(labels, listing)
    plan = _plan(clips, folds, {str(fold) for fold in test_folds}, seed, parallel)
    rate_hz = soundfile.info(str(clips.root / clips.files[0])).samplerate
    bank, names = read_responses(responses, rate_hz, round(TAPS_S * rate_hz), read_mono)
    devices = (*SEEN, *UNSEEN)
    if len(names) <= len(devices):
        what = f"has {len(names)} responses; {len(devices)} devices and one to train with need {len(devices) + 1}"
        raise DataError("the set cannot be made mobile", [Problem(str(responses), what)])
    drawn = np.random.default_rng(seed).permutation(len(names))[: len(devices)]
    chosen = dict(zip(devices, map(int, drawn), strict=True))
    note = {"version": VERSION, "clips": clips.digest(), "seed": seed, "test_folds": sorted(map(str, test_folds)),
            "parallel": parallel, "rate_hz": rate_hz,
            "devices": {name: names[row] for name, row in chosen.items()}}  # fmt: skip
    if read_json(out / "mobile.json") == note:
        return out
    rows = []
    for index, device in track(plan, f"making {out.name}", len(plan)):
        file = PurePosixPath(clips.files[index])
        name = f"audio/{file.stem}-{device}.wav"
        samples = read_mono(clips.root / file, rate_hz)
        if device != CLEAN:
            heard = convolved(torch.from_numpy(samples)[None], bank[[chosen[device]]], "range")[0].numpy()
            samples = heard / max(1.0, float(np.abs(heard).max()))
        (out / "audio").mkdir(parents=True, exist_ok=True)
        write_wav(out / name, samples.astype(np.float32), rate_hz)
        split = "test" if folds[index] in note["test_folds"] else "train"
        place = clips.locations[index] or clips.files[index]
        rows.append([name, clips.classes[clips.labels[index]], device, place, folds[index], split])
    (out / "responses").mkdir(exist_ok=True)
    paths = {path.stem: path for path in sorted(responses.glob("*")) if path.suffix.lower() == ".wav"}
    for name in set(names) - set(note["devices"].values()):
        shutil.copy(paths[name], out / "responses" / paths[name].name)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["filename", "label", "device", "source_id", "fold", "split"])
    writer.writerows(rows)
    write_atomically(out / "meta.csv", lambda aside: aside.write_text(table.getvalue(), encoding="utf-8"))
    write_json(out / "mobile.json", note)
    return out


def _of(labels: Collection[str], listing: Folder) -> tuple[Clips, tuple[str, ...]]:
    """The clips of the classes ``labels`` (all without any) and their folds."""
    clips = listing.clips
    if unknown := sorted(set(labels) - set(clips.classes)):
        what = f"no class {', '.join(unknown)}{near(unknown[0], clips.classes)}"
        raise DataError("the set cannot be made mobile", [Problem("--label", what)])
    kept = [i for i in range(len(clips)) if not labels or clips.classes[clips.labels[i]] in labels]
    return clips.take(kept), tuple(listing.folds[i] for i in kept)


def _plan(
    clips: Clips, folds: tuple[str, ...], test_folds: set[str], seed: int, parallel: bool
) -> list[tuple[int, str]]:
    """Which clip is heard by which device: (row of the clip, device)."""
    if missing := sorted(test_folds - set(folds)):
        what = f"there is no fold {', '.join(missing)}; folds found: {', '.join(sorted(set(folds) - {''})) or 'none'}"
        raise DataError("the set cannot be made mobile", [Problem("--test-fold", what)])
    sides = [
        {clips.locations[i] for i in range(len(clips)) if (folds[i] in test_folds) is test} for test in (True, False)
    ]
    if torn := sorted((sides[0] & sides[1]) - {""}):
        what = f"{len(torn)} source ids are in test folds and in others (first: {torn[0]})"
        raise DataError("the set cannot be made mobile", [Problem("meta.csv", what)])
    rng, by_class = np.random.default_rng((seed, 1)), defaultdict(list)
    for index in range(len(clips)):
        by_class[folds[index] in test_folds, clips.labels[index]].append(index)
    plan = []
    for (test, _), members in sorted(by_class.items()):
        order, turn = rng.permutation(members), int(rng.integers(3))
        for place, index in enumerate(map(int, order)):
            if test:
                plan += [(index, CLEAN), (index, SEEN[(place + turn) % 3]), (index, UNSEEN[(place + turn) % 3])]
            elif place < round(CLEAN_SHARE * len(members)):
                plan.append((index, CLEAN))
            else:
                plan += [(index, device) for device in (*([CLEAN] if parallel else []), SEEN[(place + turn) % 3])]
    return sorted(plan)
