"""Spectrum correction in a training: the bank of differences between devices, from parallel recordings it trains on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.spectrum_correction import correct_spectrum, correction_bank
from asc_search.data.clips import Clips
from asc_search.data.tau import parallel_recordings
from asc_search.errors import DataError, Problem
from asc_search.files import write_atomically
from asc_search.train.derived import bare, derived_path
from asc_search.train.features import frontend_windows
from asc_search.train.windows import Windows, save_array

REFERENCE = "a"  # the device whose clips are corrected to sound like others


@dataclass(frozen=True)
class Corrections:
    """``bank`` (pairs, mels) of differences to the reference device; ``eligible`` (windows,) marks that device's windows."""

    bank: torch.Tensor
    probability: float
    per_batch: bool
    eligible: np.ndarray

    def apply(self, x: torch.Tensor, rows: np.ndarray, generator: torch.Generator) -> torch.Tensor:
        """Bare log-mels ``x`` (batch, channels, mels, time) of windows ``rows``, some of them as another device has them."""
        window = rows < len(self.eligible)  # mixtures come after
        eligible = torch.from_numpy(window & self.eligible[np.where(window, rows, 0)])
        return correct_spectrum(x, self.bank, generator, self.probability, eligible, self.per_batch)


def open_corrections(
    folder: Path, training: Clips, frontend: FrontEnd, probability: float, per_batch: bool, device: torch.device
) -> Corrections:
    """The corrections that ``training`` gives, kept under ``folder``; ``per_batch``: one for a batch, or none.

    Raises:
        DataError: it has no parallel recordings of the reference device.
    """
    windows = frontend_windows(folder, training, bare(frontend))
    path = derived_path(folder, training, "corrections.npy", bare(frontend))
    if not path.exists():
        pairs = _window_pairs(windows, parallel_pairs(training))
        known = np.ones(len(windows.clip_of), bool)
        made = correction_bank(windows.values, pairs, known, frontend).numpy()
        write_atomically(path, lambda aside: save_array(aside, made))
    devices = np.array(training.devices)
    bank = torch.from_numpy(np.load(path)).to(device)
    return Corrections(bank, probability, per_batch, (devices == REFERENCE)[windows.clip_of])


def parallel_pairs(training: Clips) -> np.ndarray:
    """Rows of (a clip of the reference device, the same moment on another device), (pairs, 2).

    Told by file names, whatever the source.

    Raises:
        DataError: there are none.
    """
    found = parallel_recordings(training, REFERENCE)
    pairs = [(row, other) for row, others in found.items() for other in others.values()]
    if not pairs:
        counted = ", ".join(f"{count} of {device or 'no known device'}" for device, count in _counted(training))
        what = f"no clip of device {REFERENCE} has the same moment on another device ({counted})"
        advice = (
            "Write correction_p: 0, or use data with parallel recordings: tau2019, tau2020, tau2022, or a folder whose "
            "files are named <moment>-<device>, as `asc-search data mobile --parallel` names them."
        )
        raise DataError(
            "training.correction_p: spectrum correction learns from parallel recordings",
            [Problem("training part", what)],
            advice,
        )
    return np.array(pairs)


def _counted(training: Clips) -> list[tuple[str, int]]:
    return sorted(Counter(training.devices).items())


def _window_pairs(windows: Windows, pairs: np.ndarray) -> np.ndarray:
    """The windows of each pair of clips that lie at the same time, those audible on both devices if any are."""
    first = np.searchsorted(windows.clip_of, np.arange(len(windows.clips) + 1))
    count = np.diff(first)
    parts = [first[pair] + np.arange(count[pair].min())[:, None] for pair in pairs]
    every = np.concatenate(parts)
    audible = windows.audible[every].all(1)
    return every[audible] if audible.any() else every
