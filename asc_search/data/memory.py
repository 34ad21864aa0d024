"""Memory that data takes: how much is free, what is taken of it and said before, and arrays on the device networks train on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from asc_search.progress import console, track

DEVICE_SHARE = 0.5  # of the free memory of a GPU; the rest is for networks and batches
BLOCK = 1 << 25  # bytes moved at a time


class Rows(Sized, Protocol):
    """An array, or what gives slices of rows as one does."""

    def __getitem__(self, rows: slice) -> Any: ...


def on_device(values: Rows, device: torch.device, label: str, share: float = DEVICE_SHARE) -> torch.Tensor | None:
    """``values`` (rows, ...) on ``device``; None where they take over ``share`` of the GPU's free memory, after saying so."""
    first = np.asarray(values[:1])
    whole = len(values) * first.nbytes
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what was let go of counts as free only then
        free = torch.cuda.mem_get_info(device)[0]
        if whole > share * free:
            say(f"{label}, {size(whole)}, stay off the GPU ({size(free)} free there)")
            return None
        say(f"{label}, {size(whole)}, go onto the GPU ({size(free)} free there)")
    try:
        moved = torch.empty((len(values), *first.shape[1:]), dtype=torch.from_numpy(first.copy()).dtype, device=device)
    except torch.OutOfMemoryError:  # another process was faster
        say(f"{label}, {size(whole)}, stay off the GPU, which has no room for them any more")
        return None
    for part in parts(len(values), max(1, BLOCK // max(1, first.nbytes)), f"{label}: to the device"):
        moved[part] = torch.from_numpy(np.array(values[part]))  # a copy: a map is not writable
    return moved


def parts(count: int, step: int, doing: str) -> Iterator[slice]:
    """``count`` rows, ``step`` at a time, while showing how far it is."""
    starts = range(0, count, step)
    return track([slice(start, start + step) for start in starts], doing, len(starts))


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


def say(line: str) -> None:
    """Say what is done with memory and disks."""
    console.print(line, markup=False, soft_wrap=True)


def size(count: float) -> str:
    """``count`` bytes for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
