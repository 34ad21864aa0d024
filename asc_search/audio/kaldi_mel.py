"""TaggerFrontEnd: the Kaldi-style log-mel the pretrained AudioSet taggers, PaSST among them, were trained on."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.logmel import MelFilters, emphasised

RATE_HZ = 32_000
# The tagger's own description; that its window is symmetric and what follows the logarithm, no FrontEnd can say.
SPEC = FrontEnd(
    rate_hz=RATE_HZ,
    window=800,
    hop=320,
    n_fft=1024,
    mels=128,
    fmax_hz=15_000.0,
    pre_emphasis=0.97,
    mel_scale="kaldi",
    seconds=10.0,
)


def student_front_end(seconds: float) -> FrontEnd:
    """``TaggerFrontEnd`` on windows of ``seconds`` as a front end of ours, but for its window, which is periodic."""
    return replace(SPEC, seconds=seconds, standardise="audioset")


class TaggerFrontEnd(nn.Module):
    """Waveform (batch, samples) at 32 kHz -> (batch, 1, 128, 1 + (samples - 1) // 320), float32; 10 ms a frame.

    Pre-emphasis x[t] - 0.97 x[t-1] (drops the first sample), centred reflect-padded STFT (1024, symmetric Hann 800, hop
    320), power, 128 Kaldi mel filters from 0 to 15,000 Hz, log(x + 1e-5), (x + 4.5) / 5: EfficientAT's evaluation
    settings. Needs at least 514 samples. Always float32, also under autocast; the state_dict is empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(SPEC.window, periodic=False), persistent=False)
        self.filters = MelFilters(SPEC)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        with torch.autocast(samples.device.type, enabled=False):
            waves = emphasised(samples.float(), SPEC.pre_emphasis)
            spectrum = torch.stft(
                waves, SPEC.n_fft, SPEC.hop, SPEC.window, self.window, center=True, return_complex=True
            )
            power = spectrum.real.square() + spectrum.imag.square()
            log_mel = torch.log(self.filters(power.transpose(1, 2)) + SPEC.log_floor)
            return ((log_mel + 4.5) / 5.0).transpose(1, 2).unsqueeze(1)
