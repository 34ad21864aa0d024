"""Mixtures of two training windows, which teachers hear as one sound and name: more to learn from than the clips hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

PER_WINDOW = 8  # mixtures made for each audible window; an epoch takes some
QUIET = 1e-9  # added to a window's power, so that silence has a level


@dataclass(frozen=True)
class Mixtures:
    """Rows of the windows mixed, ``first`` and ``second`` (mixtures,), and the ``share`` of the first, above a half.

    Both count by the same level: share * x + (1 - share) * y * rms(x) / rms(y).
    """

    first: np.ndarray
    second: np.ndarray
    share: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def digest(self) -> str:
        """Short hash of what is mixed with what."""
        digest = hashlib.sha256()
        for column in (self.first, self.second, self.share):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()[:16]

    def waves(self, which: np.ndarray, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """The mixtures ``which`` of waveforms ``first`` and ``second`` (batch, ..., samples)."""
        shape = (-1, *[1] * (first.dim() - 1))
        share = torch.from_numpy(self.share[which]).to(first).view(shape)
        level = [(x.flatten(1).square().mean(1) + QUIET).sqrt().view(shape) for x in (first, second)]
        return share * first + (1 - share) * level[0] / level[1] * second


def draw_mixtures(clip_of: np.ndarray, audible: np.ndarray, seed: int, per_window: int = PER_WINDOW) -> Mixtures:
    """``per_window`` mixtures of every audible window with audible ones of other clips; shares uniform in (1/2, 1).

    Of windows with clips ``clip_of`` (windows,); in order of the first one's clip. With one clip there are none.
    """
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(audible)
    if len(np.unique(clip_of[rows])) < 2:
        none = np.zeros(0, np.int64)
        return Mixtures(none, none, np.zeros(0, np.float32))
    first = np.repeat(rows, per_window)
    second = rng.choice(rows, len(first))
    while len(same := np.flatnonzero(clip_of[first] == clip_of[second])):
        second[same] = rng.choice(rows, len(same))
    return Mixtures(first, second, rng.uniform(0.5, 1, len(first)).astype(np.float32))
