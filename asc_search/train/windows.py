"""Windows: clips cut to the network's input length, transformed once and kept on disk.

Students, teachers and evaluation all see the same windows, so a teacher's target belongs to exactly the audio a student hears.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from asc_search.data.audio_io import read_mono
from asc_search.data.clips import Clips
from asc_search.files import read_json, write_atomically, write_json
from asc_search.progress import track

VERSION = 1  # raise when the values written for the same key change
OVERLAP = 2  # windows start every 1/OVERLAP of their length
BATCH = 64

Transform = Callable[[torch.Tensor], torch.Tensor]  # (batch, samples) -> (batch, ...)


@dataclass(frozen=True)
class Windows:
    """Windows of ``clips``: ``values`` (windows, ...) float16, ``clip_of`` (windows,) the row of each window's clip.

    ``scored`` (windows,) marks the windows that do not overlap, those a clip's score averages.
    """

    clips: Clips
    values: np.ndarray
    clip_of: np.ndarray
    scored: np.ndarray

    def scored_only(self) -> Windows:
        """The windows evaluation reads."""
        rows = np.flatnonzero(self.scored)
        return Windows(self.clips, self.values[rows], self.clip_of[rows], self.scored[rows])


def window_count(duration_s: float, seconds: float) -> int:
    """Windows of ``seconds`` in a clip, at least one (a shorter clip is repeated to fill it)."""
    return 1 + max(0, int((duration_s - seconds) * OVERLAP / seconds + 1e-6))


def cut(samples: np.ndarray, length: int, count: int) -> np.ndarray:
    """``count`` windows of ``length`` samples every ``length // OVERLAP``; the clip is repeated where it is too short."""
    step = length // OVERLAP
    needed = length + step * (count - 1)
    filled = samples if len(samples) >= needed else np.resize(samples, needed)
    return np.stack([filled[i * step : i * step + length] for i in range(count)])


def transformed_windows(
    folder: Path, clips: Clips, rate_hz: int, seconds: float, transform: Transform, key: dict, label: str
) -> Windows:
    """All windows of ``clips`` through ``transform``, computed once and memory-mapped from ``folder`` afterwards.

    ``key`` describes the transform; together with the clips' content it names the files. Unfinished files are made again.
    """
    identity = {**key, "clips": clips.digest(), "rate_hz": rate_hz, "seconds": seconds, "version": VERSION}
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    durations = [soundfile.info(str(clips.root / file)).duration for file in clips.files]
    counts = [window_count(duration, seconds) for duration in durations]
    clip_of = np.repeat(np.arange(len(clips)), counts)
    scored = np.concatenate([np.arange(count) % OVERLAP == 0 for count in counts]) if counts else np.zeros(0, bool)
    path = folder / f"{name}.npy"
    note = read_json(folder / f"{name}.json")
    if note is None or not path.exists() or path.stat().st_size != note["bytes"]:
        batches = _batches(clips, counts, rate_hz, round(rate_hz * seconds))
        write_atomically(path, lambda aside: _fill(aside, batches, transform, len(clip_of), label))
        write_json(folder / f"{name}.json", {**identity, "bytes": path.stat().st_size})
    return Windows(clips, np.load(path, mmap_mode="r"), clip_of, scored)


def _batches(clips: Clips, counts: list[int], rate_hz: int, length: int) -> Iterator[np.ndarray]:
    """Batches of windows (batch, samples) in clip order, decoded by a few threads ahead of use."""
    pending: list[np.ndarray] = []
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(clips), BATCH):
            rows = range(start, min(start + BATCH, len(clips)))
            for row, samples in zip(
                rows, pool.map(lambda i: read_mono(clips.root / clips.files[i], rate_hz), rows), strict=True
            ):
                pending.extend(cut(samples, length, counts[row]))
            while len(pending) >= BATCH:
                yield np.stack(pending[:BATCH])
                del pending[:BATCH]
    if pending:
        yield np.stack(pending)


def _fill(path: Path, batches: Iterator[np.ndarray], transform: Transform, total: int, label: str) -> None:
    values, done = None, 0
    with torch.inference_mode():
        for batch in track(batches, label, (total + BATCH - 1) // BATCH):
            out = transform(torch.from_numpy(batch)).cpu().numpy()
            if values is None:
                with path.open("wb") as target:  # a file object keeps NumPy from renaming the file
                    header = {"descr": "<f2", "fortran_order": False, "shape": (total, *out.shape[1:])}
                    np.lib.format.write_array_header_2_0(target, header)
                    offset = target.tell()
                values = np.memmap(path, "<f2", "r+", offset, (total, *out.shape[1:]))
            values[done : done + len(out)] = out
            done += len(out)
    assert values is not None
    values.flush()
