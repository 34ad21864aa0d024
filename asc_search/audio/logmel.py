"""LogMel: the log-mel front end of the searched networks, as a module."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from asc_search.audio.frontend_spec import AUDIOSET_DEVIATION, AUDIOSET_MEAN, FrontEnd
from asc_search.audio.standardise import standardised

BANDS = 8
CPU_VALUES = 1 << 20  # windowed samples at a time on a CPU: their spectra stay in its cache, a whole batch's do not
DELTA_REACH = 2  # frames to each side


def _log_warp(corner_hz: float) -> tuple[Callable, Callable]:
    """Scale log(1 + f / corner) and its inverse; a factor would not move filters that are equally spaced on it."""
    return (lambda hz: torch.log1p(hz / corner_hz)), (lambda mel: corner_hz * torch.expm1(mel))


def _slaney_mel(hz: torch.Tensor) -> torch.Tensor:
    """15 mel a kHz below 1 kHz, above that 27 mel for a factor of 6.4 (Slaney's Auditory Toolbox, 1998)."""
    return torch.where(hz < 1000, hz * 0.015, 15 + 27 * torch.log(hz.clamp_min(1000) / 1000) / math.log(6.4))


def _slaney_hz(mel: torch.Tensor) -> torch.Tensor:
    return torch.where(mel < 15, mel / 0.015, 1000 * torch.exp((mel - 15) * math.log(6.4) / 27))


_HTK = _log_warp(700)
_WARPS = {"htk": _HTK, "kaldi": _HTK, "fant": _log_warp(1000), "slaney": (_slaney_mel, _slaney_hz)}


def mel_filters(spec: FrontEnd) -> torch.Tensor:
    """The triangular mel filters of ``spec``, (n_fft // 2 + 1, mels) float64."""
    to_mel, to_hz = _WARPS[spec.mel_scale]
    low, high = to_mel(torch.tensor([spec.fmin_hz, spec.fmax_hz or spec.rate_hz / 2], dtype=torch.float64)).tolist()
    edges = torch.linspace(low, high, spec.mels + 2, dtype=torch.float64)
    edges_hz = to_hz(edges)
    bins = torch.arange(spec.n_fft // 2 + 1, dtype=torch.float64) * spec.rate_hz / spec.n_fft
    bins, edges = (to_mel(bins), edges) if spec.mel_scale == "kaldi" else (bins, edges_hz)
    above, widths = bins[:, None] - edges, edges.diff()
    filters = torch.minimum(above[:, :-2] / widths[:-1], -above[:, 2:] / widths[1:]).clamp_min(0)
    return filters * 2 / (edges_hz[2:] - edges_hz[:-2]) if spec.mel_norm == "slaney" else filters


def emphasised(samples: torch.Tensor, coefficient: float) -> torch.Tensor:
    """x[t] - coefficient * x[t-1] on (..., samples), one sample shorter; unchanged for 0."""
    return torch.sub(samples[..., 1:], samples[..., :-1], alpha=coefficient) if coefficient else samples


def deltas(x: torch.Tensor) -> torch.Tensor:
    """Slope of ``x`` (..., time) over five frames, the first and last repeated beyond the ends.

    d[t] = sum over n = 1, 2 of n (x[t+n] - x[t-n]) / 10, as the HTK book has it; DSMN's code takes torchaudio's.
    """
    time, reach = x.shape[-1], DELTA_REACH
    frames = torch.arange(-reach, time + reach, device=x.device).clamp(0, time - 1)
    padded = x.index_select(-1, frames)
    slope = torch.zeros_like(x)
    for n in range(1, reach + 1):
        slope.add_(padded[..., reach + n : reach + n + time], alpha=n)
        slope.sub_(padded[..., reach - n : reach - n + time], alpha=n)
    return slope / (2 * sum(n * n for n in range(1, reach + 1)))


def finished(log_mel: torch.Tensor, spec: FrontEnd) -> torch.Tensor:
    """What follows the logarithm: (batch, channels, mels, frames) standardised, unless with statistics, and with deltas.

    Log-mels first, then deltas; these are the slope of standardised log-mels and are standardised in turn (DSMN's code).
    Augmentations of log-mels that must come before this work on the output of ``LogMel.bare``.
    """
    alone = spec.standardise == "sample"
    if alone:
        log_mel = standardised(log_mel)
    if spec.standardise == "audioset":
        log_mel = (log_mel - AUDIOSET_MEAN) / AUDIOSET_DEVIATION
    if not spec.deltas:
        return log_mel
    slope = deltas(log_mel)
    return torch.cat([log_mel, standardised(slope) if alone else slope], dim=1)


class MelFilters(nn.Module):
    """The mel filters of ``spec``: power (..., n_fft // 2 + 1) -> mel power (..., mels).

    Each filter reads few bins, so the product is taken in ``BANDS`` runs of neighbouring filters over the bins they
    read: about a sixth of the work of the whole matrix.
    """

    def __init__(self, spec: FrontEnd) -> None:
        super().__init__()
        self.bins: list[slice] = []
        for index, band in enumerate(mel_filters(spec).float().split(-(-spec.mels // BANDS), dim=1)):
            read = band.any(dim=1).nonzero().flatten().tolist() or [0]
            self.bins.append(slice(read[0], read[-1] + 1))
            self.register_buffer(f"band{index}", band[self.bins[-1]].contiguous(), persistent=False)

    def forward(self, power: torch.Tensor) -> torch.Tensor:
        rows = power.flatten(end_dim=-2)
        mel = torch.cat([rows[:, bins] @ band for bins, band in zip(self.bins, self.buffers(), strict=True)], dim=1)
        return mel.unflatten(0, power.shape[:-1])


class LogMel(nn.Module):
    """Waveform (batch, samples), or (batch, channels, samples), at ``spec.rate_hz`` -> ``spec.shape`` for each, float32.

    What ``FrontEnd`` describes as ``logmel``; statistics of the training part are not applied here (``Standardise``).
    Needs an even n_fft, window <= n_fft, and more than n_fft / 2 samples after pre-emphasis (uncentred: n_fft).
    Always float32, also under autocast; the state_dict is empty.
    """

    def __init__(self, spec: FrontEnd) -> None:
        super().__init__()
        self.spec = spec
        self.filters = MelFilters(spec)
        before = (spec.n_fft - spec.window) // 2
        window = F.pad(spec.scale * torch.hann_window(spec.window), (before, spec.n_fft - spec.window - before))
        self.register_buffer("window", window, persistent=False)
        self._log = torch.log10 if spec.log == "log10" else torch.log

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        with torch.autocast(samples.device.type, enabled=False):
            return finished(self.bare(samples), self.spec)

    def bare(self, samples: torch.Tensor) -> torch.Tensor:
        """Log-mel (batch, channels, mels, frames) before deltas and standardisation."""
        with torch.autocast(samples.device.type, enabled=False):
            rows = samples.reshape(-1, samples.shape[-1])
            if samples.device.type == "cpu":
                chunk = CPU_VALUES * self.spec.hop // (self.spec.n_fft * rows.shape[-1])
                log_mel = torch.cat([self._log_mel(part) for part in rows.split(max(1, chunk))])
            else:
                log_mel = self._log_mel(rows)
            return log_mel.unflatten(0, (len(samples), self.spec.channels))

    def _log_mel(self, samples: torch.Tensor) -> torch.Tensor:
        samples = emphasised(samples.float(), self.spec.pre_emphasis)
        if self.spec.centre:
            half = self.spec.n_fft // 2
            samples = F.pad(samples.unsqueeze(1), (half, half), mode="reflect").squeeze(1)
        spectrum = torch.fft.rfft(samples.unfold(-1, self.spec.n_fft, self.spec.hop) * self.window)
        power = spectrum.real.square() + spectrum.imag.square()
        return self._log(self.filters(power) + self.spec.log_floor).transpose(1, 2)
