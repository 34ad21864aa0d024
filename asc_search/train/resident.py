"""What a training reads in every epoch, held where that is fastest: on the GPU, in memory, or mapped."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asc_search.data.clips import Clips
from asc_search.data.memory import on_device
from asc_search.data.store import DeviceStore, Store
from asc_search.train.windows import Windows, stored_audio

_HELD: dict[str, tuple[Hashable, Any]] = {}  # the last audio and the last features: the trials of a search share them


def resident_audio(
    folder: Path, clips: Clips, rate_hz: int, channels: int, device: torch.device
) -> Store | DeviceStore:
    """The store of ``clips`` (beside ``folder``): on the GPU that ``device`` is, else in memory, else memory-mapped.

    It is held until another is asked for; the amount is said before it is taken. In a process beside others it stays mapped.
    """
    store = stored_audio(folder, clips, rate_hz, channels)

    def placed() -> Store | DeviceStore:
        moved = None if device.type == "cpu" else store.to_device(device)
        # Trainings side by side share the pages of the map; each with a copy of its own might not fit.
        alone = multiprocessing.parent_process() is None
        return moved or (store.resident() if alone else store)

    return _held("audio", (store.folder, device), placed)


@dataclass(frozen=True)
class DeviceFeatures:
    """Features of windows, (windows, ...) float16, on the device that reads them."""

    all: torch.Tensor

    def __len__(self) -> int:
        return len(self.all)

    def __getitem__(self, rows: np.ndarray) -> torch.Tensor:
        return self.all[torch.from_numpy(rows).to(self.all.device)]


def resident_features(windows: Windows, name: Hashable, device: torch.device) -> Windows:
    """``windows`` with their features, which ``name`` tells from others, on the GPU that ``device`` is if they fit there.

    They are held until others are asked for. On the CPU they stay mapped: the system keeps the pages that are read.
    """
    if device.type == "cpu":
        return windows

    def placed() -> Windows:
        moved = on_device(windows.values, device, "features")
        return windows if moved is None else replace(windows, values=DeviceFeatures(moved))

    return _held("features", (name, device), placed)


def _held(kind: str, key: Hashable, placed: Callable[[], Any]) -> Any:
    if kind not in _HELD or _HELD[kind][0] != key:
        _HELD.pop(kind, None)  # before the next is taken, so that its memory counts as free
        _HELD[kind] = (key, placed())
    return _HELD[kind][1]
