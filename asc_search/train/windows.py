"""Windows: clips cut to the network's input length, transformed once and kept on disk.

Students, teachers and evaluation all see the same windows, so a teacher's target belongs to exactly the audio a student hears.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from asc_search.data.clips import Clips
from asc_search.data.store import open_store
from asc_search.errors import AscSearchError
from asc_search.files import read_json, write_atomically, write_json
from asc_search.progress import track
from asc_search.train.clip_scores import OVERLAP, heard, level_db, window_count

VERSION = 3  # raise when the values written for the same key change
BATCH = 64

Transform = Callable[[torch.Tensor], torch.Tensor]  # (batch, samples) -> (batch, ...)


@dataclass(frozen=True)
class Windows:
    """Windows of ``clips``: ``values`` (windows, ...) float16, ``clip_of`` (windows,) the row of each window's clip.

    ``audible`` (windows,) marks the windows within ``AUDIBLE_DB`` of their clip's loudest, the ones to learn from;
    ``scored`` those of them that do not overlap (or the loudest, if none), whose mean is a clip's score.
    """

    clips: Clips
    values: np.ndarray
    clip_of: np.ndarray
    audible: np.ndarray
    scored: np.ndarray


def transformed_windows(
    folder: Path, clips: Clips, rate_hz: int, seconds: float, transform: Transform, key: dict, label: str
) -> Windows:
    """All windows of ``clips`` through ``transform``, computed once and memory-mapped from ``folder`` afterwards.

    ``key`` describes the transform; together with the clips' content it names the files. Unfinished files are made again.
    """
    identity = {**key, "clips": clips.digest(), "rate_hz": rate_hz, "seconds": seconds, "version": VERSION}
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    path, levels, note = folder / f"{name}.npy", folder / f"{name}.level.npy", folder / f"{name}.json"
    known = read_json(note)
    if known is None or not _complete(path, known["bytes"]) or not _complete(levels, known["level_bytes"]):
        durations = [soundfile.info(str(clips.root / file)).duration for file in clips.files]
        counts = [window_count(duration, seconds) for duration in durations]
        batches = waveform_batches(folder.parent, clips, rate_hz, seconds, counts)
        heard_db = np.zeros(sum(counts), np.float32)
        write_atomically(path, lambda aside: _fill(aside, batches, transform, heard_db, label))
        write_atomically(levels, lambda aside: save_array(aside, heard_db))
        sizes = {"bytes": path.stat().st_size, "level_bytes": levels.stat().st_size}
        known = {**identity, **sizes, "counts": counts}
        write_json(note, known)
    clip_of = np.repeat(np.arange(len(clips)), known["counts"])
    audible, scored = heard(np.load(levels), clip_of, np.concatenate([np.arange(count) for count in known["counts"]]))
    return Windows(clips, np.load(path, mmap_mode="r"), clip_of, audible, scored)


def _complete(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def save_array(path: Path, values: np.ndarray) -> None:
    """Write an array to exactly ``path`` (given a name, NumPy would append a suffix)."""
    with path.open("wb") as target:
        np.save(target, values, allow_pickle=False)


def waveform_batches(
    folder: Path, clips: Clips, rate_hz: int, seconds: float, counts: Sequence[int]
) -> Iterator[np.ndarray]:
    """The windows themselves, ``counts[i]`` of clip i, in batches (batch, samples) float32; decoded under ``folder``/audio."""
    store, length = open_store(folder / "audio", clips, rate_hz, f"audio at {rate_hz:,} Hz"), round(rate_hz * seconds)
    clip_of = np.repeat(np.arange(len(counts)), counts)
    starts = np.concatenate([np.arange(count) for count in counts]) * (length // OVERLAP)
    for begin in range(0, len(clip_of), BATCH):
        rows = clip_of[begin : begin + BATCH]
        yield store.windows(rows, starts[begin : begin + BATCH], length) * store.gains[rows, None]


def _fill(path: Path, batches: Iterator[np.ndarray], transform: Transform, heard_db: np.ndarray, label: str) -> None:
    """Write the transformed windows to ``path`` and their levels (dB of RMS) into ``heard_db``."""
    values, done, total = None, 0, len(heard_db)
    with torch.inference_mode():
        for batch in track(batches, label, (total + BATCH - 1) // BATCH):
            out = transform(torch.from_numpy(batch)).cpu().numpy()
            if values is None:
                with path.open("wb") as target:
                    header = {"descr": "<f2", "fortran_order": False, "shape": (total, *out.shape[1:])}
                    np.lib.format.write_array_header_2_0(target, header)
                    offset = target.tell()
                values = np.memmap(path, "<f2", "r+", offset, (total, *out.shape[1:]))
            rows = slice(done, done + len(batch))
            values[rows] = out
            heard_db[rows] = level_db(batch)
            done += len(batch)
    if values is None or done != total:
        raise AscSearchError(f"{label}: {done} of {total} windows were made; did the files change meanwhile?")
    values.flush()
