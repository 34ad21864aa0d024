"""TaggerFrontEnd: the Kaldi-style log-mel the pretrained AudioSet tagger was trained on."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from asc_search.audio.torchaudio_shim import torchaudio

RATE_HZ = 32_000
N_FFT = 1024
WINDOW = 800
HOP = 320
MELS = 128
FMIN_HZ = 0.0
FMAX_HZ = 15_000.0
PRE_EMPHASIS = 0.97
LOG_FLOOR = 1e-5


def kaldi_filters() -> torch.Tensor:
    """Kaldi's triangular mel filters, straight in mel = 1127 ln(1 + f / 700): (n_fft // 2 + 1, mels), Nyquist bin 0."""
    kaldi = torchaudio().compliance.kaldi
    banks, _ = kaldi.get_mel_banks(MELS, N_FFT, RATE_HZ, FMIN_HZ, FMAX_HZ, 100.0, -500.0, 1.0)
    return F.pad(banks, (0, 1)).T.contiguous()


class TaggerFrontEnd(nn.Module):
    """Waveform (batch, samples) at 32 kHz -> (batch, 1, 128, 1 + (samples - 1) // 320), float32; 10 ms a frame.

    Pre-emphasis x[t] - 0.97 x[t-1] (drops the first sample), centred reflect-padded STFT (1024, symmetric Hann 800, hop
    320), power, 128 Kaldi mel filters from 0 to 15,000 Hz, log(x + 1e-5), (x + 4.5) / 5: EfficientAT's evaluation
    settings. Needs at least 514 samples. Always float32, also under autocast; the state_dict is empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WINDOW, periodic=False), persistent=False)
        self.register_buffer("filters", kaldi_filters(), persistent=False)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        with torch.autocast(samples.device.type, enabled=False):
            samples = samples.float()
            emphasised = samples[:, 1:] - PRE_EMPHASIS * samples[:, :-1]
            spectrum = torch.stft(emphasised, N_FFT, HOP, WINDOW, self.window, center=True, return_complex=True)
            power = spectrum.real.square() + spectrum.imag.square()
            log_mel = torch.log(power.transpose(1, 2) @ self.filters + LOG_FLOOR)
            return ((log_mel + 4.5) / 5.0).transpose(1, 2).unsqueeze(1)
