"""The resident store: every clip decoded once to int16 at one rate, then cut from memory, a memory map or the GPU.

Stores are named by the content of the audio, the rate, the channels and the version of the code that wrote them, so what has
changed is never read by mistake and what was made again just the same is found again. ``store_files`` tells how they are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from asc_search.data import store_files as files
from asc_search.data.clips import Clips
from asc_search.data.int16 import FULL_SCALE
from asc_search.data.memory import DEVICE_SHARE, free_bytes, on_device, parts, say, size
from asc_search.data.store_content import sources_of, store_key
from asc_search.data.store_files import Block, Parts, StoreError

MEMORY_SHARE = 0.7  # of the free memory that samples may take
CHUNK = 1 << 24  # samples moved at a time


@dataclass(frozen=True, eq=False)
class DeviceStore:
    """A store's samples on a device: ``samples`` int16 (all,), ``offsets``, ``lengths`` (tracks,), ``gains`` (clips,)."""

    samples: torch.Tensor
    offsets: torch.Tensor
    lengths: torch.Tensor
    gains: torch.Tensor
    host: Store

    def windows(self, rows: np.ndarray, starts: np.ndarray, length: int) -> torch.Tensor:
        """As ``Store.windows``, int16 on the device; ``rows`` and ``starts`` are on the host."""
        device, shape = self.samples.device, self.host.shape(rows, length)
        tracks, starts = self.host.tracks(rows, starts)
        if not self.host.wraps(tracks, starts, length).any():
            first = torch.from_numpy(self.host.offsets[tracks] + starts).to(device)
            return self.samples.unfold(0, length, 1)[first].view(shape)
        track, start = torch.from_numpy(tracks).to(device), torch.from_numpy(starts).to(device)
        within = (start[:, None] + torch.arange(length, device=device)) % self.lengths[track, None]
        return self.samples[self.offsets[track, None] + within].view(shape)

    def waves(self, rows: np.ndarray, starts: np.ndarray, length: int) -> torch.Tensor:
        """As ``Store.waves``, on the device."""
        return _worth(self.windows(rows, starts, length), self.gains[torch.from_numpy(rows).to(self.gains.device)])


@dataclass(frozen=True, eq=False)
class Store:
    """Decoded clips: ``samples`` int16 (all,) back to back, each clip one channel after the other.

    Every channel of a clip is a track: clip i has the tracks ``channels * i`` and following, track t lies from
    ``offsets[t]`` to ``offsets[t + 1]``. A sample of clip i is worth ``int16 * gains[i]``; gains are powers of two, chosen
    so that no clip is clipped. ``folder`` is where it is kept, one for each content, rate and number of channels.
    """

    label: str
    rate_hz: int
    channels: int
    folder: Path
    samples: np.ndarray
    offsets: np.ndarray
    gains: np.ndarray

    def __len__(self) -> int:
        return len(self.gains)

    @property
    def lengths(self) -> np.ndarray:
        """Samples of each clip, of one channel, int64 (clips,)."""
        return np.diff(self.offsets)[:: self.channels]

    @property
    def bytes(self) -> int:
        """What the samples take."""
        return 2 * int(self.offsets[-1])

    def clip(self, row: int) -> np.ndarray:
        """One clip, float32 (samples,), of several channels (channels, samples)."""
        first = self.channels * row
        clip = self.samples[self.offsets[first] : self.offsets[first + self.channels]] * self.gains[row]
        return clip if self.channels == 1 else clip.reshape(self.channels, -1)

    def windows(self, rows: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
        """``length`` samples of clip ``rows[k]`` from ``starts[k]`` on, int16; multiply by ``gains[rows]``.

        (n, length), of several channels (n, channels, length). A window that reaches past the end of its clip goes on at
        its beginning, as if the clip were repeated.
        """
        shape = self.shape(rows, length)
        tracks, starts = self.tracks(rows, starts)
        first, wraps = self.offsets[tracks] + starts, self.wraps(tracks, starts, length)
        if not wraps.any():
            return self._every(length)[first].reshape(shape)
        out = np.empty((len(tracks), length), self.samples.dtype)
        if not wraps.all():
            out[~wraps] = self._every(length)[first[~wraps]]
        for k in np.flatnonzero(wraps):
            begin, end = self.offsets[tracks[k]], self.offsets[tracks[k] + 1]
            out[k] = self.samples[begin:end].take(np.arange(starts[k], starts[k] + length), mode="wrap")
        return out.reshape(shape)

    def waves(self, rows: np.ndarray, starts: np.ndarray, length: int) -> torch.Tensor:
        """The windows as waveforms: float32 (n, length), of several channels (n, channels, length)."""
        return _worth(torch.from_numpy(self.windows(rows, starts, length)), torch.from_numpy(self.gains[rows]))

    def tracks(self, rows: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The tracks that windows of clips are cut from, and their starts: (n * channels,) each."""
        rows, starts = np.asarray(rows), np.asarray(starts)
        if self.channels == 1:
            return rows, starts
        return (self.channels * rows[:, None] + np.arange(self.channels)).reshape(-1), starts.repeat(self.channels)

    def shape(self, rows: np.ndarray, length: int) -> tuple[int, ...]:
        """The shape of these windows."""
        return (len(rows), length) if self.channels == 1 else (len(rows), self.channels, length)

    def wraps(self, tracks: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
        """Which windows reach past the end of their track, bool (n,)."""
        return self.offsets[tracks] + starts + length > self.offsets[tracks + 1]

    def resident(self, limit_bytes: int | None = None) -> Store:
        """The store with its samples in memory, or as it is where they take over ``limit_bytes`` or most of what is free.

        Which of the two, and the amount, is said before any is taken.
        """
        free = free_bytes()
        allowed = min(MEMORY_SHARE * free, float("inf") if limit_bytes is None else limit_bytes)
        if self.bytes > allowed:
            say(f"{self.label}: {size(self.bytes)} of samples stay on disk, memory-mapped ({size(free)} free)")
            return self
        say(f"{self.label}: {size(self.bytes)} of samples go into memory ({size(free)} free)")
        samples = np.empty_like(self.samples, subok=False)
        for part in parts(len(samples), CHUNK, f"{self.label}: loading"):
            samples[part] = self.samples[part]
        return replace(self, samples=samples)

    def to_device(self, device: torch.device | str, share: float = DEVICE_SHARE) -> DeviceStore | None:
        """The samples on ``device``; None where they take over ``share`` of the GPU's free memory, after saying so.

        For networks on the CPU ``windows`` of the store itself is several times faster.
        """
        device = torch.device(device)
        samples = on_device(self.samples, device, f"{self.label}: samples", share)
        if samples is None:
            return None
        known = (
            torch.from_numpy(values).to(device) for values in (self.offsets[:-1], np.diff(self.offsets), self.gains)
        )
        return DeviceStore(samples, *known, self)

    def _every(self, length: int) -> np.ndarray:
        """All windows of ``length``, one from each sample on: a view, whose rows NumPy copies whole."""
        return np.lib.stride_tricks.sliding_window_view(self.samples, length)


def open_store(root: Path, clips: Clips, rate_hz: int, label: str, verify: bool = False, *, channels: int = 1) -> Store:
    """The decoded ``clips`` at ``rate_hz``, memory-mapped from a folder in ``root``; decoded now as far as they are not.

    One channel is the mean of those the files have; several must be as many as they have.
    Sizes are compared always; the samples' checksums with ``verify`` or when size or time of the file is not what it was
    when they were last compared. ``verify`` also reads the audio files again instead of trusting their size and time.
    Processes that want the same store wait for the one that makes it.

    Raises:
        UnreadableAudio: names the file and the reason (its channels among them); what was decoded before is kept.
        StoreError: no clips, no space, no permission, or the audio changes meanwhile.
    """
    if not len(clips):
        raise StoreError(f"{label}: has no clips to decode")
    try:
        root.mkdir(parents=True, exist_ok=True)
        sources = sources_of(root, clips, label, afresh=verify)
        folder = root / store_key(sources, rate_hz, channels)
        blocks = None if verify else files.finished(folder, len(clips))
        if blocks is None:
            with _alone(folder.with_suffix(".lock"), label):
                blocks = None if verify else files.finished(folder, len(clips))  # another process may have made it
                blocks = blocks or _complete(folder, sources, rate_hz, channels, label)
    except OSError as error:
        raise StoreError(
            f"{error.filename or root}: {error.strerror}; free space there or choose another folder"
        ) from None
    lengths = np.concatenate([np.asarray(block.lengths, np.int64) for block in blocks])
    exponents = np.concatenate([np.asarray(block.exponents) for block in blocks])
    samples = np.asarray(np.memmap(folder / files.SAMPLES, "<i2", "r", shape=(blocks[-1].end,)))
    gains = (2.0**exponents / FULL_SCALE).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum(np.repeat(lengths // channels, channels))])
    return Store(label, rate_hz, channels, folder, samples, offsets, gains)


def _alone(path: Path, label: str) -> AbstractContextManager:
    lock = FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        say(f"{label}: another process decodes the same clips; waiting for it")
        return lock.acquire()


def _complete(folder: Path, sources: Sequence[Parts], rate_hz: int, channels: int, label: str) -> list[Block]:
    """Check what the folder holds and decode what is missing or damaged; the caller has the lock."""
    for _ in range(2):
        blocks = files.sound_blocks(folder, label)
        there = sum(len(block.lengths) for block in blocks)
        if there < len(sources):
            _announce(folder, there, len(sources), label)
            (folder / files.NOTE).unlink(missing_ok=True)
            files.fill(folder, sources, rate_hz, channels, blocks, label)
            blocks = files.sound_blocks(folder)
        if sum(len(block.lengths) for block in blocks) == len(sources):
            files.settle(folder, len(sources), blocks[-1].end)
            return blocks
        files.clear(folder)  # a block came out at another length than its neighbours leave room for
    raise StoreError(f"{folder}: decoding gives other lengths each time; do the audio files change meanwhile?")


def _announce(folder: Path, there: int, total: int, label: str) -> None:
    if (folder / files.NOTE).exists():
        say(f"{label}: {total - there} of {total} decoded clips are damaged in {folder}; decoding those again")
    elif there:
        say(f"{label}: {there} of {total} clips were decoded before; decoding the rest")
    else:
        say(f"{label}: decoding {total} clips once, into {folder}")


def _worth(samples: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
    """int16 (n, ...) times ``gains`` (n,), float32."""
    return samples.float() * gains.view(-1, *[1] * (samples.dim() - 1))
