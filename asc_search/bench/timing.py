"""What benchmarks of training share: clips of noise, and seconds that count what a GPU has yet to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from asc_search.data.audio_io import write_wav
from asc_search.data.clips import Clips
from asc_search.train.fit import device

RATE_HZ, CLASSES = 44_100, 10


def noise_clips(folder: Path, count: int) -> Clips:
    """One-second clips of noise at 44.1 kHz, as the TAU sets have them."""
    rng = np.random.default_rng(0)
    for index in range(count):
        write_wav(folder / f"{index}.wav", 0.1 * rng.standard_normal(RATE_HZ).astype(np.float32), RATE_HZ)
    files, labels = tuple(f"{index}.wav" for index in range(count)), tuple(index % CLASSES for index in range(count))
    blank = ("",) * count
    return Clips(folder, tuple(map(str, range(CLASSES))), files, labels, blank, blank, ("train",) * count)


def seconds(run: Callable[[], object]) -> float:
    """Seconds that ``run`` takes."""
    begin = time.perf_counter()
    run()
    if device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin
