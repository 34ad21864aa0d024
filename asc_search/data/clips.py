"""Clips: a table of audio files with what is known about each, the only view of data the other rooms have."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

SPLITS = ("train", "validation", "test", "evaluation")


@dataclass(frozen=True)
class Clips:
    """Audio files with label, device, location and split; columns are parallel tuples.

    ``labels`` holds indices into ``classes`` (-1 where unknown, as in an evaluation set); ``locations`` holds a
    recording location or source id ('' where the source gives none), ``devices`` the recording device ('' where
    unknown), ``splits`` one of ``SPLITS`` ('' until assigned). ``more`` holds the files that continue each clip, in
    order, its sound being all of them one after the other; empty where every clip is one file.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[str, ...]
    labels: tuple[int, ...]
    devices: tuple[str, ...]
    locations: tuple[str, ...]
    splits: tuple[str, ...]
    more: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    def take(self, indices: Sequence[int]) -> Clips:
        """The rows at ``indices``, in that order."""

        def pick(column: tuple) -> tuple:
            return tuple(column[i] for i in indices)

        return replace(
            self,
            files=pick(self.files),
            labels=pick(self.labels),
            devices=pick(self.devices),
            locations=pick(self.locations),
            splits=pick(self.splits),
            more=pick(self.more) if self.more else (),
        )

    def where(self, keep: Callable[[int], bool]) -> Clips:
        """The rows whose index satisfies ``keep``."""
        return self.take([i for i in range(len(self)) if keep(i)])

    def split(self, name: str) -> Clips:
        """The rows of one split: ``train``, ``validation``, ``test`` or ``evaluation``."""
        return self.where(lambda i: self.splits[i] == name)

    @property
    def parts(self) -> tuple[tuple[str, ...], ...]:
        """All files of each clip, in order."""
        return tuple((file, *more) for file, more in zip(self.files, self.more or ((),) * len(self), strict=True))

    @property
    def all_files(self) -> tuple[str, ...]:
        """The files of all clips."""
        return tuple(file for files in self.parts for file in files)

    @property
    def seen_devices(self) -> tuple[str, ...]:
        """Known devices of the training part, sorted; others are reported as unseen."""
        pairs = zip(self.devices, self.splits, strict=True)
        return tuple(sorted({device for device, split in pairs if device and split == "train"}))

    def label_array(self) -> np.ndarray:
        """Labels as int64, shape (clips,)."""
        return np.asarray(self.labels, dtype=np.int64)

    def digest(self) -> str:
        """SHA-256 of names, labels, splits and file sizes and times: changes when the data does."""
        digest = hashlib.sha256()
        for names, label, split in zip(self.parts, self.labels, self.splits, strict=True):
            for place, name in enumerate(names):
                stat, told = (self.root / name).stat(), f"+{place}" if place else f"{label}\0{split}"
                digest.update(f"{name}\0{told}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()
