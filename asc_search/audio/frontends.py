"""The module of any front end, and the front ends of the published systems by name."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.logmel import LogMel, emphasised
from asc_search.audio.standardise import standardised


def front_end(spec: FrontEnd) -> nn.Module:
    """The module of ``spec``: waveform (batch, samples) or (batch, channels, samples) -> (batch, *spec.shape), float32."""
    return RawWave(spec) if spec.kind == "raw" else LogMel(spec)


class RawWave(nn.Module):
    """Waveform (batch, samples) or (batch, channels, samples) -> (batch, channels, 1, samples), float32.

    What ``FrontEnd`` describes as ``raw``: times ``scale``, pre-emphasis (one sample shorter), standardised per sample
    where ``spec`` says so. The state_dict is empty.
    """

    def __init__(self, spec: FrontEnd) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        wave = emphasised(samples.float() * self.spec.scale, self.spec.pre_emphasis)
        wave = wave.reshape(len(samples), self.spec.channels, 1, -1)
        return standardised(wave) if self.spec.standardise == "sample" else wave


_BASELINE = FrontEnd()

# CP-JKU's code: Kaldi's filters up to half the rate less half the range the upper edge is drawn from in training (1 kHz).
# Left out: its window is symmetric, and (x + 4.5) / 5 follows, which the first BatchNorm undoes.
_CP_MOBILE = replace(_BASELINE, pre_emphasis=0.97, mel_scale="kaldi", fmax_hz=15_500.0)

_SEOUL = FrontEnd(rate_hz=48_000, channels=2, pre_emphasis=0.97, seconds=10.0)

# Shapes are those of the reports; where a report is silent, the baseline's value stands (SERFR: the log floor, nothing
# but the curve of its mel scale is given; Seoul: mel scale, log floor).
FRONTENDS: dict[str, FrontEnd] = {
    "dcase2024-baseline": _BASELINE,  # SSCP-Mobile took it over
    "cp-mobile-2023": _CP_MOBILE,
    "cp-resnet-2022": replace(_CP_MOBILE, window=2048, hop=744, n_fft=2048),
    # 28 frames: without centring.
    "serfr": FrontEnd(rate_hz=16_000, window=2048, hop=512, n_fft=2048, mel_scale="fant", centre=False),
    # GZHU's code: torchlibrosa's filters and decibels, here log10 (a tenth; BatchNorm over the mel bins comes first).
    "bcres2": FrontEnd(
        window=2048, hop=1024, n_fft=2048, mel_scale="slaney", mel_norm="slaney", log="log10", log_floor=1e-10
    ),
    # SCUT's code; "overlap 25%" of the report is a hop of 25%.
    "dsmn": FrontEnd(
        rate_hz=44_100,
        window=4096,
        hop=1024,
        n_fft=4096,
        mel_norm="slaney",
        log="log10",
        log_floor=1e-10,
        deltas=True,
        standardise="sample",
    ),
    # 248 frames, as the network's input has: without centring.
    "seoul-mel": replace(_SEOUL, window=4800, hop=1920, n_fft=4800, centre=False, standardise="global"),
    "seoul-raw": replace(_SEOUL, kind="raw", scale=32_000.0),
}
