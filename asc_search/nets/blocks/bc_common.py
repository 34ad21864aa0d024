"""What the broadcasting families share: sub-spectral normalisation and the two kinds of ResNorm.

Sources: Chang et al., "SubSpectral Normalization for Neural Audio Data Processing" (2021); Kim et al., "QTI submission to
DCASE 2021: residual normalization" (2021); GZHU, DCASE 2023 Task 1 report, with the team's code.
"""

from __future__ import annotations

import torch
from torch import nn

from asc_search.nets.blocks.registry import Option
from asc_search.nets.ledger import Ledger, Map

BANDS = 4  # sub-bands of the sub-spectral normalisation
RESNORM_KINDS = ("none", "statistic", "batch")


class SubSpectralNorm(nn.Module):
    """BatchNorm with its own statistics, scale and shift for each of ``BANDS`` equal runs of frequency bins.

    (batch, channel, freq, time) -> the same; ``freq`` must be a multiple of ``BANDS``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels * BANDS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels, freq, time = x.shape
        bands = x.reshape(batch, channels * BANDS, freq // BANDS, time)
        return self.norm(bands).reshape(batch, channels, freq, time)


class FrequencyNorm(nn.Module):
    """BatchNorm with the frequency bins as its channels: (batch, channel, freq, time) -> the same."""

    def __init__(self, freq: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(freq)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class BatchResNorm(FrequencyNorm):
    """ResNorm that can be quantised: x + BatchNorm over frequency(x). (batch, channel, freq, time) -> the same."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)


class StatisticResNorm(nn.Module):
    """ResNorm without parameters: x + (x - mean) / sqrt(std + 1e-5), per example and frequency over (channel, time).

    (batch, channel, freq, time) -> the same. The root of the deviation, not of the variance, is what GZHU's code takes.
    The deviation is that of the population, which one value alone has too.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        std = x.std((1, 3), correction=0, keepdim=True)
        return x + (x - x.mean((1, 3), keepdim=True)) / torch.sqrt(std + 1e-5)


def resnorm_option(default: str) -> Option:
    """The drawn option ``resnorm`` with its default."""
    doc = "residual frequency normalisation: by statistics of the example, or by a BatchNorm (which can be quantised)"
    return Option("str", default, doc, choices=RESNORM_KINDS)


def build_resnorm(kind: str, freq: int) -> nn.Module:
    """The module of ResNorm ``kind`` on maps of ``freq`` bins."""
    if kind == "batch":
        return BatchResNorm(freq)
    return StatisticResNorm() if kind == "statistic" else nn.Identity()


def price_resnorm(kind: str, ledger: Ledger, x: Map) -> Map:
    """``x`` after ResNorm ``kind``. Batch: P = M = 2 F; statistic: nothing."""
    if kind == "none":
        return x
    normed = ledger.norm("resnorm", x, x.freq) if kind == "batch" else ledger.apply("resnorm", x)
    return ledger.add("resnorm add", x, normed)


def price_sub_spectral(name: str, ledger: Ledger, x: Map) -> Map:
    """``x`` after sub-spectral normalisation, which folds into no convolution: P = M = 2 * BANDS * c."""
    ledger.require(
        x.freq % BANDS == 0,
        "its map has {} frequency bins; sub-spectral normalisation needs a multiple of {}: change the mel bins or strides",
        x.freq,
        BANDS,
    )
    return ledger.norm(name, x, BANDS * x.channels)
