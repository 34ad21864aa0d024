"""Windows of clips through a front end, the input of students and network teachers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.frontends import front_end
from asc_search.data.clips import Clips
from asc_search.train.mixtures import Mixtures
from asc_search.train.windows import (
    StoredWaves,
    Windows,
    open_cuts,
    stored_audio,
    transformed_windows,
    with_values,
)


def frontend_windows(folder: Path, clips: Clips, frontend: FrontEnd, mixtures: Mixtures | None = None) -> Windows:
    """Windows of ``clips``, and ``mixtures`` of them, through ``frontend``, each ``frontend.shape``.

    Log-mels are kept under ``folder``/features. Raw waveforms are cut from the store and made ready when they are asked for.
    """
    features, made = folder / "features", front_end(frontend)
    where = (features, clips, frontend.rate_hz)
    if frontend.kind == "raw":
        cuts = open_cuts(*where, frontend.seconds, frontend.channels).with_mixtures(mixtures)
        waves = StoredWaves(stored_audio(*where, frontend.channels), cuts, frontend.samples)
        return with_values(cuts, Heard(waves, made))
    label = f"features {frontend.mels} mels, hop {frontend.hop}"
    key = {"transform": "frontend", **frontend.to_json()}
    return transformed_windows(*where, frontend.seconds, made, key, label, frontend.channels, mixtures)


@dataclass(frozen=True)
class Heard:
    """Windows cut from a store and put through a front end when asked for."""

    waves: StoredWaves
    front: nn.Module

    def __len__(self) -> int:
        return len(self.waves)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Windows ``rows`` (n, channel, freq, time) float32."""
        return self.front(self.waves[rows]).numpy()
