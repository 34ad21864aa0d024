"""The resident store: every clip decoded once to int16 at one rate, then cut from memory, a memory map or the GPU.

Stores are named by the content of the audio, the rate and the version of the code that wrote them, so what has changed is
never read by mistake and what was made again just the same is found again. How they are kept is told in ``store_files``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from asc_search.data import store_files as files
from asc_search.data.clips import Clips
from asc_search.data.store_files import Block, Source, StoreError
from asc_search.files import read_json, write_json
from asc_search.progress import console, track

MEMORY_SHARE = 0.7  # of the free memory that samples may take
DEVICE_SHARE = 0.5  # of the free memory of a GPU; the rest is for networks and batches
CHUNK = 1 << 24  # samples moved at a time
FULL_SCALE = 2.0**15


@dataclass(frozen=True, eq=False)
class DeviceStore:
    """A store's samples on a device: ``samples`` int16 (all,), ``offsets``, ``lengths``, ``gains`` (clips,)."""

    samples: torch.Tensor
    offsets: torch.Tensor
    lengths: torch.Tensor
    gains: torch.Tensor
    host: Store

    def windows(self, rows: np.ndarray, starts: np.ndarray, length: int) -> torch.Tensor:
        """As ``Store.windows``, int16 (n, length) on the device; ``rows`` and ``starts`` are on the host."""
        device, rows, starts = self.samples.device, np.asarray(rows), np.asarray(starts)
        if not self.host.wraps(rows, starts, length).any():
            first = torch.from_numpy(self.host.offsets[rows] + starts).to(device)
            return self.samples.unfold(0, length, 1)[first]
        row, start = torch.from_numpy(rows).to(device), torch.from_numpy(starts).to(device)
        within = (start[:, None] + torch.arange(length, device=device)) % self.lengths[row, None]
        return self.samples[self.offsets[row, None] + within]


@dataclass(frozen=True, eq=False)
class Store:
    """Decoded clips: ``samples`` int16 (all,) back to back, clip i from ``offsets[i]`` to ``offsets[i + 1]``.

    A sample of clip i is worth ``int16 * gains[i]``; gains are powers of two, chosen so that no clip is clipped.
    """

    label: str
    rate_hz: int
    samples: np.ndarray
    offsets: np.ndarray
    gains: np.ndarray

    def __len__(self) -> int:
        return len(self.gains)

    @property
    def lengths(self) -> np.ndarray:
        """Samples of each clip, int64 (clips,)."""
        return np.diff(self.offsets)

    @property
    def bytes(self) -> int:
        """What the samples take."""
        return 2 * int(self.offsets[-1])

    def clip(self, row: int) -> np.ndarray:
        """One clip, float32 (samples,)."""
        return self.samples[self.offsets[row] : self.offsets[row + 1]] * self.gains[row]

    def windows(self, rows: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
        """``length`` samples of clip ``rows[k]`` from ``starts[k]`` on, int16 (n, length); multiply by ``gains[rows]``.

        A window that reaches past the end of its clip goes on at its beginning, as if the clip were repeated.
        """
        rows, starts = np.asarray(rows), np.asarray(starts)
        first, wraps = self.offsets[rows] + starts, self.wraps(rows, starts, length)
        if not wraps.any():
            return self._every(length)[first]
        out = np.empty((len(rows), length), self.samples.dtype)
        if not wraps.all():
            out[~wraps] = self._every(length)[first[~wraps]]
        for k in np.flatnonzero(wraps):
            begin, end = self.offsets[rows[k]], self.offsets[rows[k] + 1]
            out[k] = self.samples[begin:end].take(np.arange(starts[k], starts[k] + length), mode="wrap")
        return out

    def wraps(self, rows: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
        """Which windows reach past the end of their clip, bool (n,)."""
        return self.offsets[rows] + starts + length > self.offsets[rows + 1]

    def resident(self, limit_bytes: int | None = None) -> Store:
        """The store with its samples in memory, or as it is where they take over ``limit_bytes`` or most of what is free.

        Which of the two, and the amount, is said before any is taken.
        """
        free = free_bytes()
        allowed = min(MEMORY_SHARE * free, float("inf") if limit_bytes is None else limit_bytes)
        if self.bytes > allowed:
            _say(f"{self.label}: {_size(self.bytes)} of samples stay on disk, memory-mapped ({_size(free)} free)")
            return self
        _say(f"{self.label}: {_size(self.bytes)} of samples go into memory ({_size(free)} free)")
        samples = np.empty_like(self.samples, subok=False)
        for part in self._parts("loading"):
            samples[part] = self.samples[part]
        return replace(self, samples=samples)

    def to_device(self, device: torch.device | str, share: float = DEVICE_SHARE) -> DeviceStore | None:
        """The samples on ``device``; None where they take over ``share`` of the GPU's free memory, after saying so.

        For networks on the CPU ``windows`` of the store itself is several times faster.
        """
        device = torch.device(device)
        if device.type == "cuda":
            free = torch.cuda.mem_get_info(device)[0]
            if self.bytes > share * free:
                _say(f"{self.label}: {_size(self.bytes)} of samples stay off the GPU ({_size(free)} free there)")
                return None
            _say(f"{self.label}: {_size(self.bytes)} of samples go onto the GPU ({_size(free)} free there)")
        try:
            samples = torch.empty(len(self.samples), dtype=torch.int16, device=device)
        except torch.OutOfMemoryError:  # another process was faster
            _say(f"{self.label}: the GPU has no room for {_size(self.bytes)} of samples any more; they stay off it")
            return None
        for part in self._parts("to the device"):
            samples[part] = torch.from_numpy(np.array(self.samples[part]))  # a copy: a map is not writable
        known = (torch.from_numpy(values).to(device) for values in (self.offsets[:-1], self.lengths, self.gains))
        return DeviceStore(samples, *known, self)

    def _every(self, length: int) -> np.ndarray:
        """All windows of ``length``, one from each sample on: a view, whose rows NumPy copies whole."""
        return np.lib.stride_tricks.sliding_window_view(self.samples, length)

    def _parts(self, doing: str) -> Iterator[slice]:
        starts = range(0, len(self.samples), CHUNK)
        return track([slice(at, at + CHUNK) for at in starts], f"{self.label}: {doing}", len(starts))


def open_store(root: Path, clips: Clips, rate_hz: int, label: str, verify: bool = False) -> Store:
    """The decoded ``clips`` at ``rate_hz``, memory-mapped from a folder in ``root``; decoded now as far as they are not.

    Sizes are compared always; the samples' checksums with ``verify`` or when size or time of the file is not what it was
    when they were last compared. ``verify`` also reads the audio files again instead of trusting their size and time.
    Processes that want the same store wait for the one that makes it.

    Raises:
        UnreadableAudio: names the file and the reason; what was decoded before is kept.
        StoreError: no clips, no space, no permission, or the audio changes meanwhile.
    """
    if not len(clips):
        raise StoreError(f"{label}: has no clips to decode")
    try:
        root.mkdir(parents=True, exist_ok=True)
        sources = sources_of(root, clips, label, afresh=verify)
        folder = root / store_key(sources, rate_hz)
        blocks = None if verify else files.finished(folder, len(clips))
        if blocks is None:
            with _alone(folder.with_suffix(".lock"), label):
                blocks = None if verify else files.finished(folder, len(clips))  # another process may have made it
                blocks = blocks or _complete(folder, sources, rate_hz, label)
    except OSError as error:
        raise StoreError(
            f"{error.filename or root}: {error.strerror}; free space there or choose another folder"
        ) from None
    lengths = np.concatenate([np.asarray(block.lengths, np.int64) for block in blocks])
    exponents = np.concatenate([np.asarray(block.exponents) for block in blocks])
    samples = np.asarray(np.memmap(folder / files.SAMPLES, "<i2", "r", shape=(blocks[-1].end,)))
    gains = (2.0**exponents / FULL_SCALE).astype(np.float32)
    return Store(label, rate_hz, samples, np.concatenate([[0], np.cumsum(lengths)]), gains)


def _alone(path: Path, label: str) -> AbstractContextManager:
    lock = FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        _say(f"{label}: another process decodes the same clips; waiting for it")
        return lock.acquire()


def _complete(folder: Path, sources: Sequence[Source], rate_hz: int, label: str) -> list[Block]:
    """Check what the folder holds and decode what is missing or damaged; the caller has the lock."""
    for _ in range(2):
        blocks = files.sound_blocks(folder, label)
        there = sum(len(block.lengths) for block in blocks)
        if there < len(sources):
            _announce(folder, there, len(sources), label)
            (folder / files.NOTE).unlink(missing_ok=True)
            files.fill(folder, sources, rate_hz, blocks, label)
            blocks = files.sound_blocks(folder)
        if sum(len(block.lengths) for block in blocks) == len(sources):
            files.settle(folder, len(sources), blocks[-1].end)
            return blocks
        files.clear(folder)  # a block came out at another length than its neighbours leave room for
    raise StoreError(f"{folder}: decoding gives other lengths each time; do the audio files change meanwhile?")


def _announce(folder: Path, there: int, total: int, label: str) -> None:
    if (folder / files.NOTE).exists():
        _say(f"{label}: {total - there} of {total} decoded clips are damaged in {folder}; decoding those again")
    elif there:
        _say(f"{label}: {there} of {total} clips were decoded before; decoding the rest")
    else:
        _say(f"{label}: decoding {total} clips once, into {folder}")


def sources_of(root: Path, clips: Clips, label: str, afresh: bool = False) -> list[Source]:
    """Content hashes of all files, computed once: those of unchanged size and time are remembered under ``root``.

    With ``afresh`` every file is read again.

    Raises:
        UnreadableAudio: a file is missing or cannot be opened.
    """
    place = hashlib.sha256(str(clips.root.resolve()).encode()).hexdigest()[:16]
    notes = root / f"contents-{place}.json"
    known = {} if afresh else _remembered(notes)
    stamps = {name: files.stamp_of(clips.root / name) for name in clips.files}
    missing = [name for name, stamp in stamps.items() if str(known.get(name)).rpartition(" ")[0] != stamp]
    if missing:
        with ThreadPoolExecutor(files.workers()) as pool:
            hashes = files.ahead(pool, lambda name: _hash(clips.root / name), missing)
            tracked = track(hashes, f"{label}: reading files", len(missing))
            added = {name: f"{stamps[name]} {digest}" for name, digest in zip(missing, tracked, strict=True)}
        known |= added
        with FileLock(notes.with_suffix(".lock")):
            write_json(notes, _remembered(notes) | added)
    split = {name: known[name].split(" ") for name in stamps}
    sources = {name: Source(clips.root / name, int(size), int(at), sha) for name, (size, at, sha) in split.items()}
    return [sources[name] for name in clips.files]


def store_key(sources: Sequence[Source], rate_hz: int) -> str:
    """The name of the store of these contents, in this order, at this rate, by this code."""
    digest = hashlib.sha256(f"{files.VERSION} {rate_hz}\n".encode())
    for source in sources:
        digest.update(f"{source.size} {source.sha256}\n".encode())
    return digest.hexdigest()[:32]


def free_bytes() -> float:
    """Memory this process can take: what the system has available, or its control group where that allows less."""
    try:
        system, own = (Path(f"/proc/{name}").read_text() for name in ("meminfo", "self/cgroup"))
    except OSError:  # not Linux: half of what is built in
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2 if hasattr(os, "sysconf") else 0
    free = int(system.partition("MemAvailable:")[2].split()[0]) * 1024
    own = own.rpartition("0::/")[2].strip()
    group = Path("/sys/fs/cgroup") / own
    for folder in (group, *group.parents):
        try:
            limit, used = (int((folder / f"memory.{name}").read_text()) for name in ("max", "current"))
            cached = (folder / "memory.stat").read_text().partition("\ninactive_file ")[2].split("\n")[0]
        except (OSError, ValueError):  # no limit ("max") here
            continue
        free = min(free, limit - used + int(cached or 0))
    return free


def _remembered(notes: Path) -> dict[str, str]:
    known = read_json(notes)
    return known if isinstance(known, dict) else {}


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise files.unreadable(path, error) from None


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
