"""Augmentations of a batch of log-mel windows (batch, 1, freq, time), vectorised and seeded by a generator."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Mix:
    """How a batch was mixed with itself: x = lam * x + (1 - lam) * x[order]; ``lam`` (batch,)."""

    lam: torch.Tensor
    order: torch.Tensor


def mixed(values: torch.Tensor, mix: Mix | None) -> torch.Tensor:
    """``values`` (batch, ...) mixed as ``mix`` says; unchanged without one."""
    if mix is None:
        return values
    lam = mix.lam.to(values.dtype).view(-1, *[1] * (values.dim() - 1))
    return lam * values + (1 - lam) * values[mix.order]


def _beta(alpha: float, count: int, generator: torch.Generator) -> torch.Tensor:
    """Beta(alpha, alpha) draws (count,); torch.distributions takes no generator, so from two Gamma draws."""
    shape = torch.full((2, count), alpha, dtype=torch.float64)
    gamma = torch._standard_gamma(shape, generator=generator).clamp_min(1e-300)
    return (gamma[0] / gamma.sum(0)).float()


def draw_mix(batch: int, alpha: float, generator: torch.Generator) -> Mix | None:
    """A mixup plan for a batch with lambda ~ Beta(alpha, alpha) per sample (Zhang et al. 2018); None for alpha 0."""
    if alpha <= 0:
        return None
    return Mix(_beta(alpha, batch, generator), torch.randperm(batch, generator=generator))


def roll_time(x: torch.Tensor, most: int, generator: torch.Generator) -> torch.Tensor:
    """Roll each sample along time by a uniform number of frames in [-most, most]."""
    if most <= 0:
        return x
    batch, _, freq, time = x.shape
    shift = torch.randint(-most, most + 1, (batch, 1), generator=generator)
    index = (torch.arange(time) - shift) % time
    return x.gather(3, index[:, None, None, :].expand(batch, 1, freq, time).to(x.device))


def mask_freq(x: torch.Tensor, most: int, fill: float, generator: torch.Generator) -> torch.Tensor:
    """Set a random band of up to ``most`` mel bins of each sample to ``fill`` (the log floor, as silence would be)."""
    if most <= 0:
        return x
    batch, _, freq, _ = x.shape
    width = torch.rand(batch, 1, generator=generator) * min(most, freq)
    start = torch.rand(batch, 1, generator=generator) * (freq - width)
    bins = torch.arange(freq)
    hit = (bins >= start) & (bins < start + width)
    return x.masked_fill(hit[:, None, :, None].to(x.device), fill)


def freq_mixstyle(x: torch.Tensor, probability: float, alpha: float, generator: torch.Generator) -> torch.Tensor:
    """Freq-MixStyle (Schmid et al., CP-JKU 2022, section 3): mix per-bin statistics with another sample's, labels kept.

    Mean and deviation are per sample and frequency over (channel, time); the whole batch or none of it, by ``probability``.
    """
    if torch.rand((), generator=generator) >= probability or alpha <= 0:
        return x
    mix = Mix(_beta(alpha, len(x), generator).to(x.device), torch.randperm(len(x), generator=generator).to(x.device))
    mean = x.mean((1, 3), keepdim=True)
    deviation = (x.var((1, 3), keepdim=True) + 1e-6).sqrt()
    return (x - mean) / deviation * mixed(deviation, mix) + mixed(mean, mix)
