"""The audio that a training hears anew in every epoch, held where it is cut fastest: on the GPU, in memory, or mapped."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import torch

from asc_search.data.clips import Clips
from asc_search.data.store import DeviceStore, Store
from asc_search.train.windows import stored_audio

_HELD: dict[tuple[Path, torch.device], Store | DeviceStore] = {}  # the last one: the trials of a search share it


def resident_audio(
    folder: Path, clips: Clips, rate_hz: int, channels: int, device: torch.device
) -> Store | DeviceStore:
    """The store of ``clips`` (beside ``folder``): on the GPU that ``device`` is, else in memory, else memory-mapped.

    It is held until another is asked for; the amount is said before it is taken. In a process beside others it stays mapped.
    """
    store = stored_audio(folder, clips, rate_hz, channels)
    key = (store.folder, device)
    if key not in _HELD:
        _HELD.clear()  # before the next is taken, so that its memory counts as free
        on_device = None if device.type == "cpu" else store.to_device(device)
        # Trainings side by side share the pages of the map; each with a copy of its own might not fit.
        alone = multiprocessing.parent_process() is None
        _HELD[key] = on_device or (store.resident() if alone else store)
    return _HELD[key]
