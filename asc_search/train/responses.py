"""Device responses of a run: impulse responses that training clips may be heard through, and the clips they apply to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from asc_search.audio.device_ir import generated_responses, read_responses
from asc_search.data.audio_io import read_mono
from asc_search.data.clips import Clips

GENERATED = "generated"
COUNT, DEVIATION_DB, SEED = 64, 6.0, 0  # of generated responses
TAPS_S = 0.25  # of a response that is used; measured microphones have died away by then


@dataclass(frozen=True)
class Responses:
    """Where impulse responses come from (``generated`` or a folder of wavs) and the devices whose clips get them.

    No ``devices``: all clips. CP-JKU applies them to device a alone.
    """

    source: str = GENERATED
    devices: tuple[str, ...] = ()

    def eligible(self, clips: Clips) -> np.ndarray:
        """Which clips may be heard through a response, (clips,) of bool."""
        return np.array([not self.devices or device in self.devices for device in clips.devices], bool)

    def at(self, rate_hz: int) -> torch.Tensor:
        """The responses (count, taps) at ``rate_hz``.

        Raises:
            DataError: the folder or a file in it cannot be used.
        """
        return _loaded(self.source, rate_hz)


ALL_GENERATED = Responses()


@lru_cache(maxsize=4)
def _loaded(source: str, rate_hz: int) -> torch.Tensor:
    taps = round(TAPS_S * rate_hz)
    if source == GENERATED:
        return generated_responses(COUNT, rate_hz, taps, DEVIATION_DB, torch.Generator().manual_seed(SEED))
    return read_responses(Path(source), rate_hz, taps, read_mono)[0]
