"""Batches of an epoch: which windows, in which order, with which augmentation; all from (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from asc_search.audio.augment import Mix, mixed
from asc_search.space.candidate import Training
from asc_search.train.inputs import Inputs
from asc_search.train.losses import Batch
from asc_search.train.windows import Windows


def epoch_rows(windows: Windows, crops_per_clip: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of one epoch in random order: ``crops_per_clip`` audible windows of each clip, spread over the clip."""
    rows = np.flatnonzero(windows.audible)
    first = np.searchsorted(windows.clip_of[rows], np.arange(len(windows.clips)))
    count = np.diff(np.append(first, len(rows)))
    start, step = rng.integers(0, count), np.maximum(1, count // crops_per_clip)
    crops = [rows[first + (start + crop * step) % count] for crop in range(crops_per_clip)]
    return rng.permutation(np.concatenate(crops))


def epoch_batches(
    inputs: Inputs,
    teacher: np.ndarray | None,
    training: Training,
    seed: int,
    epoch: int,
    epochs: int,
    device: torch.device,
) -> Iterator[Batch]:
    """The augmented batches of one epoch of ``epochs``; ``teacher`` (windows, classes) holds the subset's mean logits.

    A last batch of a single sample is dropped: BatchNorm cannot train on it.
    """
    rng = np.random.default_rng((seed, epoch))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    windows = inputs.windows
    labels = windows.clips.label_array()[windows.clip_of]
    rows = epoch_rows(windows, training.crops_per_clip, rng)
    for start in range(0, len(rows), training.batch):
        chosen = rows[start : start + training.batch]
        if len(chosen) < 2:
            return
        x, mix = inputs.batch(chosen, epoch / epochs, generator, device)
        if mix is not None:
            mix = Mix(mix.lam.to(device), mix.order.to(device))
        targets = None if teacher is None else torch.from_numpy(teacher[chosen].astype(np.float32)).to(device)
        x = mixed(x, mix).contiguous(memory_format=torch.channels_last)
        yield Batch(x, torch.from_numpy(labels[chosen]).to(device), targets, mix)


def batch_count(windows: Windows, training: Training) -> int:
    """Batches an epoch has."""
    full, rest = divmod(len(windows.clips) * training.crops_per_clip, training.batch)
    return full + (rest > 1)
