"""Inputs: what a training hears, and what is done to each batch of it.

Without augmentations of the waveform a front end's output is computed once and kept; with them, and for raw waveforms, windows
are cut from the resident store and the front end runs on every batch, on the device the network trains on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from asc_search.audio.augment import Mix, SpectrumAugment
from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.frontends import front_end
from asc_search.audio.waveform import WaveformAugment
from asc_search.data.clips import Clips
from asc_search.space.candidate import Training
from asc_search.train.features import frontend_windows
from asc_search.train.resident import resident_audio
from asc_search.train.responses import Responses
from asc_search.train.windows import Windows, open_cuts, stored_waves, with_values

TIME_STRIPES = 2  # as GZHU and SCUT have


@dataclass(frozen=True)
class Waves:
    """How waveforms become inputs: the front end, the augmentation, the responses and the windows that may get one."""

    front: nn.Module
    augment: WaveformAugment
    responses: torch.Tensor | None
    eligible: np.ndarray


@dataclass(frozen=True)
class Inputs:
    """The windows of a training, waveforms (``waves``) or the front end's output, and their augmentation."""

    windows: Windows
    frontend: FrontEnd
    augment: SpectrumAugment
    waves: Waves | None = None

    def batch(
        self, rows: np.ndarray, progress: float, generator: torch.Generator, device: torch.device
    ) -> tuple[torch.Tensor, Mix | None]:
        """Augmented windows ``rows`` (batch, channel, freq, time), before mixup, and the mixup plan.

        ``progress`` in [0, 1) is the share of the training that is done.
        """
        x = torch.as_tensor(self.windows.values[rows]).to(device).float()
        if self.waves is not None:
            eligible = torch.from_numpy(self.waves.eligible[rows])
            x = self.waves.augment.apply(x, generator, self.frontend.rate_hz, self.waves.responses, eligible)
            x = self.waves.front(x)
        x = self.augment.disturb(x, generator, self.frontend)
        return x, self.augment.mix(len(rows), progress, generator)


def open_inputs(
    folder: Path, clips: Clips, frontend: FrontEnd, training: Training, responses: Responses, device: torch.device
) -> Inputs:
    """The inputs of a training by the recipe ``training``; audio and features are kept under ``folder``.

    Raises:
        DataError: the responses cannot be used.
    """
    raw = frontend.kind == "raw"
    on_waves = raw or training.response_p > 0 or training.stretch > 0 or training.gain_db > 0
    roll = training.roll_s * frontend.rate_hz / frontend.hop
    augment = SpectrumAugment(
        roll_frames=0 if on_waves else round(roll),
        freq_mask=0 if raw else training.freq_mask,
        time_stripes=0 if raw else TIME_STRIPES,
        time_width=training.time_mask,
        mixstyle_p=training.mixstyle_p,
        mixstyle_alpha=training.mixstyle_alpha,
        mixup_alpha=training.mixup_alpha,
        mixup_full_until=training.mixup_full_until,
    )
    if not on_waves:
        return Inputs(frontend_windows(folder, clips, frontend), frontend, augment)
    audio = (folder / "features", clips, frontend.rate_hz)
    cuts = open_cuts(*audio, frontend.seconds, frontend.channels)
    store = resident_audio(*audio, frontend.channels, device)
    windows = with_values(cuts, stored_waves(store, cuts, frontend.samples))
    waves = Waves(
        front_end(frontend).to(device),
        WaveformAugment(
            response_p=training.response_p,
            response_scaling=training.response_scaling,
            stretch_low=1 - training.stretch,
            stretch_high=1 + training.stretch,
            roll_s=training.roll_s,
            gain_db=training.gain_db,
        ),
        responses.at(frontend.rate_hz).to(device) if training.response_p > 0 else None,
        responses.eligible(clips)[windows.clip_of],
    )
    return Inputs(windows, frontend, augment, waves)
