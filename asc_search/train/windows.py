"""Windows: clips cut to the network's input length, and what a transform makes of them, kept on disk.

Students, teachers and evaluation all see the same windows, so a teacher's target belongs to exactly the audio a student hears.
Where they lie is known from the clips' durations, which of them count from their levels; the samples stay in the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
import torch

from asc_search.data.clips import Clips
from asc_search.data.store import DeviceStore, Store, open_store
from asc_search.errors import AscSearchError
from asc_search.files import read_json, write_atomically, write_json
from asc_search.progress import track
from asc_search.train.clip_scores import OVERLAP, heard, level_db, window_count
from asc_search.train.mixtures import Mixtures

VERSION = 3  # raise when the values written for the same key change
BATCH = 64

Transform = Callable[[torch.Tensor], torch.Tensor]  # (batch, samples) or (batch, channels, samples) -> (batch, ...)


@dataclass(frozen=True)
class Cuts:
    """Where the windows of ``clips`` lie: ``clip_of`` (windows,) the row of each one's clip, ``index`` its number in it.

    ``audible`` (windows,) marks the windows within ``AUDIBLE_DB`` of their clip's loudest, the ones to learn from;
    ``scored`` those of them that do not overlap (or the loudest, if none), whose mean is a clip's score. After them come
    the ``mixtures`` if there are any, in the place of their first window, neither audible nor scored.
    """

    clips: Clips
    clip_of: np.ndarray
    index: np.ndarray
    audible: np.ndarray
    scored: np.ndarray
    mixtures: Mixtures | None

    def __len__(self) -> int:
        return len(self.clip_of)

    @property
    def unmixed(self) -> int:
        """Windows before the mixtures."""
        return len(self) - (0 if self.mixtures is None else len(self.mixtures))

    def with_mixtures(self, mixtures: Mixtures | None) -> Cuts:
        """These windows followed by ``mixtures`` of them."""
        if mixtures is None:
            return self
        clip_of, index = (np.concatenate([each, each[mixtures.first]]) for each in (self.clip_of, self.index))
        none = np.zeros(len(mixtures), bool)
        audible, scored = (np.concatenate([each, none]) for each in (self.audible, self.scored))
        return Cuts(self.clips, clip_of, index, audible, scored, mixtures)


class Values(Protocol):
    """What is heard of windows: an array (windows, ...), or what gives rows as one does."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray) -> Any: ...


@dataclass(frozen=True)
class Windows(Cuts):
    """Windows and what is heard of each."""

    values: Values


@dataclass(frozen=True)
class Joined:
    """The rows of two arrays as those of one."""

    first: np.ndarray
    second: np.ndarray

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        rows = np.arange(len(self))[rows]
        out = np.empty((len(rows), *self.first.shape[1:]), self.first.dtype)
        later = rows >= len(self.first)
        out[~later] = self.first[rows[~later]]
        out[later] = self.second[rows[later] - len(self.first)]
        return out


@dataclass(frozen=True)
class StoredWaves:
    """Waveforms of ``cuts``, ``length`` samples each, cut from ``store`` when asked for; no second copy is kept."""

    store: Store | DeviceStore
    cuts: Cuts
    length: int

    def __len__(self) -> int:
        return len(self.cuts)

    def __getitem__(self, rows: np.ndarray) -> torch.Tensor:
        """Windows ``rows``, float32 (n, samples), of several channels (n, channels, samples), on the store's device."""
        waves = self._cut(rows)
        which = rows - self.cuts.unmixed
        mixed = np.flatnonzero(which >= 0)
        if self.cuts.mixtures is not None and len(mixed):
            second = self._cut(self.cuts.mixtures.second[which[mixed]])
            at = torch.from_numpy(mixed).to(waves.device)
            waves[at] = self.cuts.mixtures.waves(which[mixed], waves[at], second)
        return waves

    def _cut(self, rows: np.ndarray) -> torch.Tensor:
        return self.store.waves(self.cuts.clip_of[rows], starts_of(self.cuts.index[rows], self.length), self.length)


def starts_of(index: np.ndarray, length: int) -> np.ndarray:
    """First samples of windows of ``length`` from their numbers in their clips."""
    return index * (length // OVERLAP)


def window_counts(clips: Clips, seconds: float) -> list[int]:
    """Windows of each clip; from the files' headers, so at every rate the same."""
    durations = [sum(soundfile.info(str(clips.root / file)).duration for file in files) for files in clips.parts]
    return [window_count(duration, seconds) for duration in durations]


def stored_audio(folder: Path, clips: Clips, rate_hz: int, channels: int = 1) -> Store:
    """The store of ``clips``, in ``audio`` beside ``folder``."""
    label = f"audio at {rate_hz:,} Hz" + (f", {channels} channels" if channels > 1 else "")
    return open_store(folder.parent / "audio", clips, rate_hz, label, channels=channels)


def open_cuts(folder: Path, clips: Clips, rate_hz: int, seconds: float, channels: int = 1) -> Cuts:
    """The windows of ``clips``: their levels are taken from the store once and kept in ``folder``."""
    identity = {
        "levels": VERSION,
        "clips": clips.digest(),
        "rate_hz": rate_hz,
        "seconds": seconds,
        "channels": channels,
    }
    name = _named(identity)
    path, note = folder / f"{name}.level.npy", folder / f"{name}.json"
    known = read_json(note)
    if known is None or not _complete(path, known["bytes"]):
        counts = window_counts(clips, seconds)
        every = np.ones(sum(counts), bool)
        cuts = Cuts(clips, *numbered(counts), every, every, None)
        waves = StoredWaves(stored_audio(folder, clips, rate_hz, channels), cuts, round(rate_hz * seconds))
        levels = _levels(_batches(waves, 0), len(waves))
        write_atomically(path, lambda aside: save_array(aside, levels))
        known = {**identity, "bytes": path.stat().st_size, "counts": counts}
        write_json(note, known)
    clip_of, index = numbered(known["counts"])
    audible, scored = heard(np.load(path), clip_of, index)
    return Cuts(clips, clip_of, index, audible, scored, None)


def transformed_windows(
    folder: Path,
    clips: Clips,
    rate_hz: int,
    seconds: float,
    transform: Transform,
    key: dict,
    label: str,
    channels: int = 1,
    mixtures: Mixtures | None = None,
) -> Windows:
    """All windows of ``clips``, and ``mixtures`` of them, through ``transform``, computed once and memory-mapped from
    ``folder`` afterwards.

    ``key`` describes the transform; together with the clips' content it names the files. Unfinished files are made again.
    """
    cuts = open_cuts(folder, clips, rate_hz, seconds, channels)
    identity = {**key, "clips": clips.digest(), "rate_hz": rate_hz, "seconds": seconds, "version": VERSION}

    def kept(cuts: Cuts, begin: int, identity: dict, label: str) -> np.ndarray:
        name = _named(identity)
        path, note = folder / f"{name}.npy", folder / f"{name}.json"
        known = read_json(note)
        if known is None or not _complete(path, known["bytes"]):
            waves = StoredWaves(stored_audio(folder, clips, rate_hz, channels), cuts, round(rate_hz * seconds))
            batches = _batches(waves, begin)
            write_atomically(path, lambda aside: _fill(aside, batches, transform, len(cuts) - begin, label))
            write_json(note, {**identity, "bytes": path.stat().st_size})
        return np.load(path, mmap_mode="r")

    plain = kept(cuts, 0, identity, label)
    if mixtures is None or not len(mixtures):
        return with_values(cuts, plain)
    both = cuts.with_mixtures(mixtures)
    added = kept(both, len(cuts), {**identity, "mixtures": mixtures.digest}, f"{label}: mixtures")
    return with_values(both, Joined(plain, added))


def with_values(cuts: Cuts, values: Values) -> Windows:
    """``cuts`` and what is heard of them."""
    return Windows(cuts.clips, cuts.clip_of, cuts.index, cuts.audible, cuts.scored, cuts.mixtures, values)


def _named(identity: dict) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def numbered(counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Clip and number in the clip of each window, from the windows of each clip."""
    clip_of = np.repeat(np.arange(len(counts)), counts)
    return clip_of, np.concatenate([np.arange(count) for count in counts])


def _complete(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def save_array(path: Path, values: np.ndarray) -> None:
    """Write an array to exactly ``path`` (given a name, NumPy would append a suffix)."""
    with path.open("wb") as target:
        np.save(target, values, allow_pickle=False)


def _batches(waves: StoredWaves, begin: int) -> Iterator[torch.Tensor]:
    """Batches of windows (batch, samples) or (batch, channels, samples) float32 in order, from row ``begin`` on."""
    for start in range(begin, len(waves), BATCH):
        yield waves[np.arange(start, min(start + BATCH, len(waves)))]


def _levels(batches: Iterator[torch.Tensor], total: int) -> np.ndarray:
    """Level of each window in dB of RMS, over all channels, (total,) float32."""
    tracked = track(batches, "levels", (total + BATCH - 1) // BATCH)
    return np.concatenate([level_db(batch.flatten(1).numpy()) for batch in tracked]).astype(np.float32)


def _fill(path: Path, batches: Iterator[torch.Tensor], transform: Transform, total: int, label: str) -> None:
    """Write the transformed windows, ``total`` of them, to ``path``."""
    values, done = None, 0
    with torch.inference_mode():
        for batch in track(batches, label, (total + BATCH - 1) // BATCH):
            out = transform(batch).cpu().numpy()
            if values is None:
                with path.open("wb") as target:
                    header = {"descr": "<f2", "fortran_order": False, "shape": (total, *out.shape[1:])}
                    np.lib.format.write_array_header_2_0(target, header)
                    offset = target.tell()
                values = np.memmap(path, "<f2", "r+", offset, (total, *out.shape[1:]))
            values[done : done + len(batch)] = out
            done += len(batch)
    if values is None or done != total:
        raise AscSearchError(f"{label}: {done} of {total} windows were made; did the files change meanwhile?")
    values.flush()
