"""Augmentations of a batch of waveforms (batch, samples) or (batch, channels, samples), vectorised and seeded."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from asc_search.audio.device_ir import apply_responses
from asc_search.audio.draws import hits, per_sample, uniform

STRETCH_N_FFT = 1024
STRETCH_HOP = 256


def roll_samples(
    x: torch.Tensor, most: int, generator: torch.Generator, probability: float = 1.0, wrap: bool = True
) -> torch.Tensor:
    """Move each sample along time by a uniform whole number of samples in [-most, most].

    With ``wrap`` what leaves at one end enters at the other (the DCASE 2024 baseline: 0.1 s; GZHU: ``most`` the whole
    clip, probability 0.7); without, silence enters. More than the whole length counts as that.
    """
    most = min(most, x.shape[-1])
    if most <= 0 or probability <= 0:
        return x
    batch, samples = len(x), x.shape[-1]
    shift = torch.randint(-most, most + 1, (batch,), generator=generator) * hits(batch, probability, generator)
    before, after = x[..., samples - most :], x[..., :most]
    if not wrap:
        before = after = torch.zeros_like(after)
    # Rows of a view at their starts are copied in one piece each; gathering by sample takes ten times as long.
    starts = torch.cat([before, x, after], -1).unfold(-1, samples, 1).movedim(-2, 1)
    return starts[torch.arange(batch, device=x.device), (most - shift).to(x.device)]


def stretch_time(
    x: torch.Tensor, low: float, high: float, generator: torch.Generator, probability: float = 1.0
) -> torch.Tensor:
    """Play each sample at a uniform rate in [low, high) (2: twice as fast) without changing its pitch or its length.

    A phase vocoder (Flanagan and Golden 1966): frames of ``STRETCH_N_FFT`` read at the rate, magnitudes interpolated,
    phases advanced as between the frames read. A slow sample loses its end; a fast one starts again, as a roll does.
    vivo's report names the augmentation without rates. Not resampling by interpolation, which would move the pitch.
    """
    if low == high == 1.0 or probability <= 0:
        return x
    rates = uniform(len(x), low, high, generator)
    hit = hits(len(x), probability, generator).nonzero().flatten()
    if not len(hit):
        return x
    rows = hit.to(x.device)
    chosen = x[rows]
    channels = chosen[0].numel() // x.shape[-1]
    flat = _vocoded(chosen.reshape(-1, x.shape[-1]).float(), rates[hit].repeat_interleave(channels).to(x.device))
    return x.index_copy(0, rows, flat.view_as(chosen).to(x.dtype))


def _vocoded(x: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
    """``x`` (rows, samples) at ``rates`` (rows,)."""
    window = torch.hann_window(STRETCH_N_FFT, device=x.device)
    spectrum = torch.stft(x, STRETCH_N_FFT, STRETCH_HOP, window=window, return_complex=True).transpose(1, 2)
    rows, frames, _ = spectrum.shape
    position = torch.arange(frames, device=x.device) * rates[:, None].double()
    first = position.long()
    between = (position - first).float()[..., None]
    row = torch.arange(rows, device=x.device)[:, None]
    now, then = spectrum[row, first % frames], spectrum[row, (first + 1) % frames]
    turn = (then * now.conj()).sgn()
    turn = torch.where(turn == 0, torch.ones_like(turn), turn)
    phase = torch.cat([now[:, :1].sgn(), turn[:, :-1]], dim=1)
    phase[:, 0].masked_fill_(phase[:, 0] == 0, 1)
    stretched = torch.lerp(now.abs(), then.abs(), between) * phase.cumprod(1)
    return torch.istft(stretched.transpose(1, 2), STRETCH_N_FFT, STRETCH_HOP, window=window, length=x.shape[-1])


def gain(x: torch.Tensor, most_db: float, generator: torch.Generator, probability: float = 1.0) -> torch.Tensor:
    """Change each sample's level by a uniform number of dB in [-most_db, most_db]."""
    if most_db <= 0 or probability <= 0:
        return x
    level = uniform(len(x), -most_db, most_db, generator) * hits(len(x), probability, generator)
    return x * per_sample(10 ** (level / 20), x).to(x.dtype)


@dataclass(frozen=True)
class WaveformAugment:
    """Augmentations of waveforms by strength and probability; the defaults change nothing.

    In this order: device response (GZHU convolves before it crops and rolls), stretch, roll, shift, gain. ``roll_s`` and
    ``shift_s`` in seconds to either side; ``stretch_low`` to ``stretch_high`` the rates; ``response_scaling`` one of
    ``device_ir.SCALINGS``.
    """

    response_p: float = 0.0
    response_scaling: str = "none"
    stretch_low: float = 1.0
    stretch_high: float = 1.0
    stretch_p: float = 1.0
    roll_s: float = 0.0
    roll_p: float = 1.0
    shift_s: float = 0.0
    shift_p: float = 1.0
    gain_db: float = 0.0
    gain_p: float = 1.0

    def apply(
        self,
        x: torch.Tensor,
        generator: torch.Generator,
        rate_hz: int,
        responses: torch.Tensor | None = None,
        eligible: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """``x`` (batch, samples) or (batch, channels, samples) at ``rate_hz``, augmented; same shape.

        ``responses`` (count, taps) at the same rate; ``eligible`` (batch,) bool says which samples may get one
        (CP-JKU: those of device a alone).
        """
        if responses is not None:
            x = apply_responses(x, responses, generator, self.response_p, eligible, self.response_scaling)
        x = stretch_time(x, self.stretch_low, self.stretch_high, generator, self.stretch_p)
        x = roll_samples(x, round(self.roll_s * rate_hz), generator, self.roll_p)
        x = roll_samples(x, round(self.shift_s * rate_hz), generator, self.shift_p, wrap=False)
        return gain(x, self.gain_db, generator, self.gain_p)
