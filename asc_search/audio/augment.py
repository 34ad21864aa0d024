"""Augmentations of a batch of network inputs (batch, channels, freq, time), vectorised and seeded by a generator."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from asc_search.audio.draws import hits
from asc_search.audio.frontend_spec import FrontEnd

FREQ, TIME = 2, 3


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


def draw_mix(
    batch: int, alpha: float, generator: torch.Generator, share: float = 1.0, one_lambda: bool = False
) -> Mix | None:
    """A mixup plan for a batch with lambda ~ Beta(alpha, alpha) per sample (Zhang et al. 2018); None for alpha 0.

    Only the first ``share`` of the batch is mixed, with itself; ``one_lambda`` draws one for all of it (SCUT).
    """
    count = round(share * batch)
    if alpha <= 0 or count < 1:
        return None
    lam, order = torch.ones(batch), torch.arange(batch)
    lam[:count] = _beta(alpha, 1 if one_lambda else count, generator)
    order[:count] = torch.randperm(count, generator=generator)
    return Mix(lam, order)


def mix_share(progress: float, full_until: float = 0.6, later: float = 0.5) -> float:
    """Mixup without hesitation: the share of the batch to mix at ``progress`` in [0, 1) of the training's epochs.

    All of it at first, ``later`` from ``full_until`` on; SCUT's code: half of it from epoch 60 of 100.
    """
    return 1.0 if progress < full_until else later


def roll_time(x: torch.Tensor, most: int, generator: torch.Generator, probability: float = 1.0) -> torch.Tensor:
    """Roll each sample with ``probability`` along time by a uniform number of frames in [-most, most].

    Inside a window this is a roll of the waveform by as many hops. It differs in the frames that touch its ends: a
    window of n whole hops has n + 1 centred frames, the last a mirrored twin of the first, and the frames around the
    seam of a rolled waveform see both ends at once. Measured on the baseline's 65 frames, 6 of them rolled: 51 equal to
    0.02 dB, 14 not.
    """
    if most <= 0 or probability <= 0:
        return x
    batch, _, _, time = x.shape
    shift = torch.randint(-most, most + 1, (batch, 1), generator=generator)
    if probability < 1:
        shift = shift * hits(batch, probability, generator)[:, None]
    index = (torch.arange(time) - shift) % time
    return x.gather(3, index[:, None, None, :].to(x.device).expand_as(x))


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


def mask_stripes(
    x: torch.Tensor,
    dim: int,
    count: int,
    most: int,
    fill: float | None,
    generator: torch.Generator,
    probability: float = 1.0,
) -> torch.Tensor:
    """Set ``count`` random stripes of 0 to ``most`` bins (``dim`` ``FREQ``) or frames (``TIME``) to ``fill``, per sample.

    SpecAugment (Park et al. 2019) with widths and starts uniform over the whole numbers that fit; ``fill`` None: the mean
    of each sample's channel. torchlibrosa's drop width w is ``most`` w - 1. Published: GZHU two stripes each way, 7
    frames and 39 bins, probability 0.7; SCUT two each way of 1, after standardisation.
    """
    most = min(most, x.shape[dim])
    if most <= 0 or count <= 0 or probability <= 0:
        return x
    batch, size = len(x), x.shape[dim]
    width = torch.randint(most + 1, (batch, count, 1), generator=generator)
    start = (torch.rand(batch, count, 1, generator=generator, dtype=torch.float64) * (size - width + 1)).long()
    place = torch.arange(size)
    hit = ((place >= start) & (place < start + width)).any(1) & hits(batch, probability, generator)[:, None]
    hit = hit.to(x.device).view(batch, 1, *((size, 1) if dim == FREQ else (1, size)))
    return x.masked_fill(hit, fill) if fill is not None else torch.where(hit, x.mean((2, 3), keepdim=True), x)


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


@dataclass(frozen=True)
class SpectrumAugment:
    """Augmentations of a front end's output by strength and probability; the defaults change nothing.

    ``roll_frames`` with ``roll_p``; ``freq_mask`` bins of one band (the baseline's); ``freq_stripes``, ``time_stripes`` of
    up to ``freq_width`` bins and ``time_width`` frames, with ``stripes_p`` each way; Freq-MixStyle; mixup. ``fill_mean``:
    stripes are filled with the mean, not with the front end's fill.
    """

    roll_frames: int = 0
    roll_p: float = 1.0
    freq_mask: int = 0
    freq_stripes: int = 0
    freq_width: int = 0
    time_stripes: int = 0
    time_width: int = 0
    stripes_p: float = 1.0
    fill_mean: bool = False
    mixstyle_p: float = 0.0
    mixstyle_alpha: float = 0.3
    mixup_alpha: float = 0.0
    mixup_full_until: float = 1.0
    mixup_one_lambda: bool = False

    def disturb(self, x: torch.Tensor, generator: torch.Generator, frontend: FrontEnd) -> torch.Tensor:
        """Roll, masks and Freq-MixStyle of inputs ready for the network; draws as the single functions in this order."""
        fill = None if self.fill_mean else frontend.fill
        x = roll_time(x, self.roll_frames, generator, self.roll_p)
        x = mask_freq(x, self.freq_mask, frontend.fill, generator)
        x = mask_stripes(x, TIME, self.time_stripes, self.time_width, fill, generator, self.stripes_p)
        x = mask_stripes(x, FREQ, self.freq_stripes, self.freq_width, fill, generator, self.stripes_p)
        return freq_mixstyle(x, self.mixstyle_p, self.mixstyle_alpha, generator)

    def mix(self, batch: int, progress: float, generator: torch.Generator) -> Mix | None:
        """The mixup plan of a batch at ``progress`` in [0, 1) of the training; mix inputs and targets with it."""
        share = mix_share(progress, self.mixup_full_until)
        return draw_mix(batch, self.mixup_alpha, generator, share, self.mixup_one_lambda)
