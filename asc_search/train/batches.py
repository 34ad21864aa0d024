"""Batches of an epoch: which windows, in which order, with which augmentation; all from (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from asc_search.audio.augment import Mix, mixed
from asc_search.space.candidate import Training
from asc_search.train.inputs import Inputs
from asc_search.train.losses import Batch
from asc_search.train.targets import Embedding, Targets
from asc_search.train.windows import Cuts


def epoch_rows(windows: Cuts, crops_per_clip: int, rng: np.random.Generator, mixed_share: float = 0.0) -> np.ndarray:
    """Rows of one epoch in random order: ``crops_per_clip`` audible windows of each clip, spread over the clip.

    Each is replaced with probability ``mixed_share`` by a mixture that its clip is the louder part of.
    """
    rows = np.flatnonzero(windows.audible)
    first = np.searchsorted(windows.clip_of[rows], np.arange(len(windows.clips)))
    count = np.diff(np.append(first, len(rows)))
    start, step = rng.integers(0, count), np.maximum(1, count // crops_per_clip)
    crops = [rows[first + (start + crop * step) % count] for crop in range(crops_per_clip)]
    chosen = rng.permutation(np.concatenate(crops))
    if mixed_share > 0 and windows.mixtures is not None and len(windows.mixtures):
        replaced = np.flatnonzero(rng.random(len(chosen)) < mixed_share)
        clips = windows.clip_of[windows.unmixed :]  # in order
        clip = windows.clip_of[chosen[replaced]]
        begin, end = np.searchsorted(clips, clip), np.searchsorted(clips, clip, "right")
        chosen[replaced] = windows.unmixed + begin + (rng.random(len(clip)) * (end - begin)).astype(np.int64)
    return chosen


def label_shares(windows: Cuts, rows: np.ndarray) -> np.ndarray:
    """How much of windows ``rows`` is of which class, (rows, classes) float32: 1 of one, or a mixture's two shares."""
    labels, mixtures = windows.clips.label_array(), windows.mixtures
    shares = np.zeros((len(rows), len(windows.clips.classes)), np.float32)
    every, which = np.arange(len(rows)), rows - windows.unmixed
    mixed_rows = np.flatnonzero(which >= 0)
    share = np.ones(len(rows), np.float32)
    if mixtures is not None and len(mixed_rows):
        which = which[mixed_rows]
        share[mixed_rows] = mixtures.share[which]
        second = labels[windows.clip_of[mixtures.second[which]]]
        shares[mixed_rows, second] = 1 - mixtures.share[which]
    np.add.at(shares, (every, labels[windows.clip_of[rows]]), share)
    return shares


def epoch_batches(
    inputs: Inputs,
    targets: Targets | None,
    training: Training,
    seed: int,
    epoch: int,
    epochs: int,
    device: torch.device,
    mixed_share: float = 0.0,
    pair: tuple[int, int] | None = None,
    heard: Sequence[Embedding | None] = (),
) -> Iterator[Batch]:
    """The augmented batches of one epoch of ``epochs``; ``targets`` are what teachers said of the windows.

    With a ``pair`` of classes every batch is half of these (``halves``). ``heard`` is for each peer what it hears in place
    of the input. A last batch of a single sample is dropped: BatchNorm cannot train on it.
    """
    rng = np.random.default_rng((seed, epoch))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    windows = inputs.windows
    labels = windows.clips.label_array()
    rows = epoch_rows(windows, training.crops_per_clip, rng, mixed_share)
    size = training.batch
    if pair is not None:
        rows, size = halves(rows, np.isin(labels[windows.clip_of[rows]], pair)), 2 * (size // 2)
    for start in range(0, len(rows), size):
        chosen = rows[start : start + size]
        if len(chosen) < 2:
            return
        x, mix = inputs.batch(chosen, epoch / epochs, generator, device)
        if mix is not None:
            mix = Mix(mix.lam.to(device), mix.order.to(device))
        known = labels[windows.clip_of[chosen]] if windows.mixtures is None else label_shares(windows, chosen)
        teacher, shares, embedding = (None, None, None) if targets is None else targets.at(chosen, device)
        beside = tuple(None if one is None else mixed(one.at(chosen, device), mix) for one in heard)
        x = mixed(x, mix).contiguous(memory_format=torch.channels_last)
        yield Batch(x, torch.from_numpy(known).to(device), teacher, mix, embedding, shares, beside)


def halves(rows: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """``rows`` (n,) in random order as a row of ``ours`` (n,) and another in turn, as many as the fewer of both allow.

    So every batch of even size is half and half; what is left over is another one each epoch (Seoul 2019).
    """
    target, others = rows[ours], rows[~ours]
    count = min(len(target), len(others))
    return np.stack([target[:count], others[:count]], axis=1).reshape(-1)


def batch_count(windows: Cuts, training: Training, pair: tuple[int, int] | None = None) -> int:
    """Batches an epoch has."""
    if pair is None:
        full, rest = divmod(len(windows.clips) * training.crops_per_clip, training.batch)
        return full + (rest > 1)
    ours = int(np.isin(windows.clips.label_array(), pair).sum())
    rows = min(ours, len(windows.clips) - ours) * training.crops_per_clip
    return -(-rows // (training.batch // 2))
