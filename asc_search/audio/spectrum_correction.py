"""Spectrum correction (SCUT 2023): log-mels of one device shifted to sound like another, from parallel recordings."""

from __future__ import annotations

import math

import numpy as np
import torch

from asc_search.audio.draws import hits
from asc_search.audio.frontend_spec import FrontEnd


def correction_bank(
    log_mels: torch.Tensor | np.ndarray,
    pairs: np.ndarray,
    training: np.ndarray,
    frontend: FrontEnd,
    eps: tuple[float, float] | None = None,
) -> torch.Tensor:
    """d = log(mean_t mel_X + eps_X) - log(mean_t mel_A + eps_A) of every parallel recording: (pairs, mels) float32.

    ``log_mels`` (clips, channels, mels, time) as ``LogMel.bare`` gives them, or without channels, whose powers are
    averaged; read clip by clip, so a memory map will do. ``pairs`` (pairs, 2) rows of (device A, device X) of
    the same segment; ``training`` (clips,) bool. In the front end's own logarithm. ``eps`` (of A, of X): the log floor
    for both by default; SCUT's code has 1e-6 and 1e-10.

    Raises:
        ValueError: no pairs, or a pair with a clip outside the training part.
    """
    if not len(pairs):
        raise ValueError("spectrum correction: no parallel recordings among the training clips")
    if not np.asarray(training)[pairs].all():
        raise ValueError("spectrum correction: a parallel recording lies outside the training part")
    unit = math.log(10) if frontend.log == "log10" else 1.0
    eps_a, eps_x = eps or (frontend.log_floor, frontend.log_floor)
    used, place = np.unique(pairs, return_inverse=True)
    bands = []
    for clip in used:
        log_mel = torch.from_numpy(np.array(log_mels[clip], np.float64)).reshape(-1, *log_mels.shape[-2:])
        bands.append((torch.exp(log_mel * unit) - frontend.log_floor).mean((0, 2)))
    power_a, power_x = torch.stack(bands).clamp_min(0)[torch.from_numpy(place.reshape(-1, 2))].unbind(1)
    return ((torch.log(power_x + eps_x) - torch.log(power_a + eps_a)) / unit).float()


def correct_spectrum(
    x: torch.Tensor,
    bank: torch.Tensor,
    generator: torch.Generator,
    probability: float = 12 / 13,
    eligible: torch.Tensor | None = None,
    one_for_batch: bool = False,
) -> torch.Tensor:
    """Add a random row of ``bank`` (count, mels), constant over time, to the ``eligible`` (batch,) samples.

    ``x`` (batch, channels, mels, time): log-mels before deltas and standardisation, as SCUT has it. Each eligible sample
    with ``probability`` and a row of its own; ``one_for_batch``, SCUT's way: all with the same row, or none.
    """
    if probability <= 0:
        return x
    draws = 1 if one_for_batch else len(x)
    choice = torch.randint(len(bank), (draws,), generator=generator).expand(len(x))
    hit = hits(draws, probability, generator).expand(len(x))
    hit = hit if eligible is None else hit & eligible.cpu()
    added = bank[choice.to(bank.device)].to(x) * hit[:, None].to(x)
    return x + added[:, None, :, None]
