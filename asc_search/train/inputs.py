"""Inputs: what a training hears, and what is done to each batch of it.

What can be computed once is kept: the front end's output, or its bare log-mels where devices are imitated on those. For
augmentations of the waveform, and for raw waveforms, windows are cut from the resident store and the front end runs on every
batch, on the device the network trains on. Evaluation has no part in this: it reads ``features.frontend_windows``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from asc_search.audio.augment import Mix, SpectrumAugment
from asc_search.audio.filterbank_jitter import JitteredLogMel, jitter_centre
from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.frontends import front_end
from asc_search.audio.logmel import finished
from asc_search.audio.standardise import Standardise
from asc_search.audio.waveform import WaveformAugment
from asc_search.data.clips import Clips
from asc_search.errors import AscSearchError
from asc_search.space.candidate import Training
from asc_search.train.band_path import BandPath, open_band_path
from asc_search.train.corrections import Corrections, open_corrections
from asc_search.train.derived import bare
from asc_search.train.features import frontend_windows
from asc_search.train.mixtures import Mixtures
from asc_search.train.resident import resident_audio, resident_features
from asc_search.train.responses import Responses
from asc_search.train.statistics import training_statistics
from asc_search.train.windows import StoredWaves, Windows, open_cuts, with_values

MOST_KEPT = 8e9  # bytes of mixtures' features on disk; beyond, they are made anew in every batch
BANKS, BANKS_SEED = 32, 0  # of jittered mel filters; CP-JKU draws new ones each batch


@dataclass(frozen=True)
class Waves:
    """How waveforms become bare log-mels: augmentation, the responses, who may get one (windows,), and the front end."""

    augment: WaveformAugment
    responses: torch.Tensor | None
    eligible: np.ndarray
    front: nn.Module

    def apply(self, x: torch.Tensor, rows: np.ndarray, generator: torch.Generator, rate_hz: int) -> torch.Tensor:
        """Waveforms ``x`` (batch, channels, samples) of windows ``rows`` through augmentation and front end."""
        x = self.augment.apply(x, generator, rate_hz, self.responses, torch.from_numpy(self.eligible[rows]))
        return self.front(x, generator) if isinstance(self.front, JitteredLogMel) else self.front(x)


@dataclass(frozen=True)
class Inputs:
    """The windows of a training and what becomes of them, in order of the fields.

    ``windows`` are waveforms where there are ``waves``, bare log-mels where there is only ``responses`` or
    ``corrections``, else the front end's output.
    """

    windows: Windows
    frontend: FrontEnd
    augment: SpectrumAugment
    waves: Waves | None = None
    responses: BandPath | None = None
    corrections: Corrections | None = None
    standardise: Standardise | None = None

    def batch(
        self, rows: np.ndarray, progress: float, generator: torch.Generator, device: torch.device
    ) -> tuple[torch.Tensor, Mix | None]:
        """Augmented windows ``rows`` (batch, channel, freq, time), before mixup, and the mixup plan.

        ``progress`` in [0, 1) is the share of the training that is done.
        """
        x = torch.as_tensor(self.windows.values[rows]).to(device).float()
        if self.waves is not None:
            x = self.waves.apply(x, rows, generator, self.frontend.rate_hz)
        if self.responses is not None:
            x = self.responses.apply(x, rows, generator)
        if self.corrections is not None:
            x = self.corrections.apply(x, rows, generator)
        if self.frontend.kind != "raw" and (self.waves or self.responses or self.corrections):
            x = finished(x, self.frontend)
        if self.standardise is not None:
            x = self.standardise(x)
        x = self.augment.disturb(x, generator, self.frontend)
        return x, self.augment.mix(len(rows), progress, generator)


def open_inputs(
    folder: Path,
    clips: Clips,
    frontend: FrontEnd,
    training: Training,
    responses: Responses,
    device: torch.device,
    mixtures: Mixtures | None = None,
) -> Inputs:
    """The inputs of a training on ``clips`` by the recipe ``training``; audio and features are kept under ``folder``.

    After the windows come ``mixtures`` of them. Their features are kept too where that takes less than ``MOST_KEPT``.

    Raises:
        DataError: the responses cannot be used, or spectrum correction has no parallel recordings.
        AscSearchError: filter-bank jitter has no room below half the rate.
    """
    waved = frontend.kind == "raw"
    jitter = not waved and (training.jitter_fmin_hz > 0 or training.jitter_fmax_hz > 0)
    others = (
        (training.stretch > 0 and training.stretch_p > 0)
        or (training.shift_s > 0 and training.shift_p > 0)
        or (training.gain_db > 0 and training.gain_p > 0)
        or jitter
    )
    many = mixtures is not None and 2 * len(mixtures) * math.prod(frontend.shape) > MOST_KEPT
    bank = responses.at(frontend.rate_hz) if training.response_p > 0 else None
    eligible = responses.eligible(clips)
    path = None
    if bank is not None and mixtures is None and not waved and not others and _may_be_fast(training):
        path = open_band_path(folder, clips, frontend, bank, eligible, training.response_p, device)
    on_waves = waved or others or many or (bank is not None and path is None)
    corrections = None
    if training.correction_p > 0 and not waved:
        probability, per_batch = training.correction_p, training.correction_per_batch
        corrections = open_corrections(folder, clips, frontend, probability, per_batch, device)
    statistics = training_statistics(folder, clips, frontend)
    kept = frontend if path is None and corrections is None else bare(frontend)
    waves = None
    if not on_waves:
        name = (folder, clips.digest(), kept, None if mixtures is None else mixtures.digest)
        windows = resident_features(frontend_windows(folder, clips, kept, mixtures), name, device)
    else:
        audio = (folder / "features", clips, frontend.rate_hz)
        cuts = open_cuts(*audio, frontend.seconds, frontend.channels).with_mixtures(mixtures)
        store = resident_audio(*audio, frontend.channels, device)
        windows = with_values(cuts, StoredWaves(store, cuts, frontend.samples))
        front = _jittered(frontend, training) if jitter else front_end(bare(frontend))
        heard = None if bank is None else bank.to(device)
        waves = Waves(_wave_augment(training), heard, eligible[windows.clip_of], front.to(device))
    return Inputs(
        windows,
        frontend,
        _spectrum_augment(frontend, training, on_waves),
        waves,
        path,
        corrections,
        None if statistics is None else statistics.to(device),
    )


def _may_be_fast(training: Training) -> bool:
    return training.response_path == "auto" and training.response_scaling == "none"


def _jittered(frontend: FrontEnd, training: Training) -> JitteredLogMel:
    """Jittered filters whose middle is ``frontend``, so that evaluation, export and teachers hear what it says."""
    fmin_range, fmax_range = training.jitter_fmin_hz, training.jitter_fmax_hz
    centre = jitter_centre(frontend, fmax_range)
    if centre != frontend:
        raise AscSearchError(
            f"training.jitter_fmax_hz: {fmax_range} Hz leave half of that below half the rate; write frontend.fmax_hz: "
            f"{centre.fmax_hz:g} or lower"
        )
    generator = torch.Generator().manual_seed(BANKS_SEED)
    return JitteredLogMel(bare(frontend), BANKS, fmin_range, fmax_range, generator).train()


def _wave_augment(training: Training) -> WaveformAugment:
    return WaveformAugment(
        response_p=training.response_p,
        response_scaling=training.response_scaling,
        stretch_low=1 - training.stretch,
        stretch_high=1 + training.stretch,
        stretch_p=training.stretch_p,
        roll_s=training.roll_s,
        roll_p=training.roll_p,
        shift_s=training.shift_s,
        shift_p=training.shift_p,
        gain_db=training.gain_db,
        gain_p=training.gain_p,
    )


def _spectrum_augment(frontend: FrontEnd, training: Training, rolled: bool) -> SpectrumAugment:
    """What follows the front end; masks and stripes are for log-mels, and the roll too where it is not ``rolled`` before."""
    waved = frontend.kind == "raw"
    roll = training.roll_s * frontend.rate_hz / frontend.hop
    return SpectrumAugment(
        roll_frames=0 if rolled else round(roll),
        roll_p=training.roll_p,
        freq_mask=0 if waved else training.freq_mask,
        freq_stripes=0 if waved else training.freq_stripes,
        freq_width=training.freq_width,
        time_stripes=0 if waved else training.time_stripes,
        time_width=training.time_mask,
        stripes_p=training.stripes_p,
        fill_mean=training.fill_mean,
        mixstyle_p=training.mixstyle_p,
        mixstyle_alpha=training.mixstyle_alpha,
        mixup_alpha=training.mixup_alpha,
        mixup_full_until=training.mixup_full_until,
        mixup_one_lambda=training.mixup_one_lambda,
    )
