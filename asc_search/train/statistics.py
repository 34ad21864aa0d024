"""Statistics of the training part for front ends that standardise with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.standardise import Standardise
from asc_search.data.clips import Clips
from asc_search.files import write_atomically
from asc_search.train.derived import derived_path
from asc_search.train.features import frontend_windows
from asc_search.train.windows import Windows

BATCH = 256


def training_statistics(folder: Path, training: Clips, frontend: FrontEnd) -> Standardise | None:
    """Mean and deviation of the audible windows of ``training``, kept under ``folder``; None where none are wanted.

    Of the windows as they are, without augmentation: those that evaluation hears.

    Raises:
        AscSearchError: there are no windows.
    """
    if not frontend.needs_statistics:
        return None
    path = derived_path(folder, training, "statistics.safetensors", frontend)
    if not path.exists():
        fitted = Standardise.fit(_batches(frontend_windows(folder, training, frontend)), frontend)
        write_atomically(path, lambda aside: save_file(fitted.state_dict(), aside))
    return Standardise(**load_file(path))


def _batches(windows: Windows) -> Iterator[torch.Tensor]:
    rows = np.flatnonzero(windows.audible)
    for start in range(0, len(rows), BATCH):
        yield torch.from_numpy(windows.values[rows[start : start + BATCH]].astype(np.float32))
