"""LogMel: the log-mel front end of the searched networks, as a module."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.torchaudio_shim import torchaudio

BANDS = 8
CPU_CHUNK = 4  # waveforms at a time on a CPU: their spectra stay in its cache, a whole batch's do not


class MelFilters(nn.Module):
    """HTK mel filters without normalisation: power (..., n_fft // 2 + 1) -> mel power (..., mels).

    Each filter reads few bins, so the product is taken in ``BANDS`` runs of neighbouring filters over the bins they
    read: about a sixth of the work of the whole matrix.
    """

    def __init__(self, spec: FrontEnd) -> None:
        super().__init__()
        filters = torchaudio().functional.melscale_fbanks(
            spec.n_fft // 2 + 1, spec.fmin_hz, spec.fmax_hz or spec.rate_hz / 2, spec.mels, spec.rate_hz
        )
        self.bins: list[slice] = []
        for index, band in enumerate(filters.split(-(-spec.mels // BANDS), dim=1)):
            read = band.any(dim=1).nonzero().flatten().tolist() or [0]
            self.bins.append(slice(read[0], read[-1] + 1))
            self.register_buffer(f"band{index}", band[self.bins[-1]].contiguous(), persistent=False)

    def forward(self, power: torch.Tensor) -> torch.Tensor:
        rows = power.flatten(end_dim=-2)
        mel = torch.cat([rows[:, bins] @ band for bins, band in zip(self.bins, self.buffers(), strict=True)], dim=1)
        return mel.unflatten(0, power.shape[:-1])


class LogMel(nn.Module):
    """Waveform (batch, samples) at ``spec.rate_hz`` -> log-mel (batch, 1, mels, 1 + samples // hop), float32.

    Centred, reflect-padded frames; periodic Hann window of ``spec.window`` samples in the middle of ``spec.n_fft``;
    power spectrum; mel filters; natural log(x + ``spec.log_floor``). Needs an even n_fft, window <= n_fft and
    more than n_fft / 2 samples. Always float32, also under autocast; the state_dict is empty.
    """

    def __init__(self, spec: FrontEnd) -> None:
        super().__init__()
        self.spec = spec
        self.filters = MelFilters(spec)
        before = (spec.n_fft - spec.window) // 2
        window = F.pad(torch.hann_window(spec.window), (before, spec.n_fft - spec.window - before))
        self.register_buffer("window", window, persistent=False)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        with torch.autocast(samples.device.type, enabled=False):
            if samples.device.type != "cpu" or len(samples) <= CPU_CHUNK:
                return self._log_mel(samples)
            return torch.cat([self._log_mel(part) for part in samples.split(CPU_CHUNK)])

    def _log_mel(self, samples: torch.Tensor) -> torch.Tensor:
        half = self.spec.n_fft // 2
        padded = F.pad(samples.float().unsqueeze(1), (half, half), mode="reflect").squeeze(1)
        spectrum = torch.fft.rfft(padded.unfold(-1, self.spec.n_fft, self.spec.hop) * self.window)
        power = spectrum.real.square() + spectrum.imag.square()
        return torch.log(self.filters(power) + self.spec.log_floor).transpose(1, 2).unsqueeze(1)
