"""Impulse responses of recording devices: read from a folder or generated, and waveforms heard through them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from asc_search.audio.draws import picks
from asc_search.errors import AscSearchError, DataError, Problem

SCALINGS = ("none", "range")
KNOTS_PER_OCTAVE = 1.5
LOWEST_KNOT_HZ = 50.0


def read_responses(
    folder: Path, rate_hz: int, taps: int, read: Callable[[Path, int], np.ndarray]
) -> tuple[torch.Tensor, list[str]]:
    """The wav files of ``folder`` by name: their first ``taps`` samples at ``rate_hz`` (count, taps) float32, and names.

    ``read(path, rate_hz)`` gives a file's mono samples at the rate (``data.audio_io.read_mono``). Shorter ones are
    padded with zeros. Levels stay as the files have them.

    Raises:
        DataError: no folder, no wav in it, or files that cannot be read or are silent over ``taps``.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() == ".wav")
    if not paths:
        problem = "is not a folder" if not folder.is_dir() else "has no wav files"
        raise DataError(
            "The impulse responses cannot be used:",
            [Problem(str(folder), problem)],
            "Name a folder of wav files, one response each, or use generated responses.",
        )
    responses, problems = np.zeros((len(paths), taps), np.float32), []
    for row, path in zip(responses, paths, strict=True):
        try:
            samples = read(path, rate_hz)[:taps]
        except AscSearchError as error:
            problems.append(Problem(str(path), str(error)))
            continue
        row[: len(samples)] = samples
        if not row.any():
            problems.append(Problem(str(path), f"is silent over its first {taps} samples at {rate_hz} Hz"))
    if problems:
        raise DataError("The impulse responses cannot be used:", problems, "Repair or remove these files.")
    return torch.from_numpy(responses), [path.stem for path in paths]


def generated_responses(
    count: int, rate_hz: int, taps: int, deviation_db: float, generator: torch.Generator
) -> torch.Tensor:
    """Responses of devices that do not exist, (count, taps) float32: minimum-phase, smooth over frequency, of unit energy.

    Gains in dB ~ N(0, ``deviation_db``) at knots of two thirds of an octave from 50 Hz to half the rate, between them
    half a cosine over log frequency; the phase that belongs to it by the cepstrum (Oppenheim and Schafer); the last
    quarter of the taps fades out. Unit energy: white noise keeps its level. ``deviation_db`` 0: a single 1.
    """
    n_fft = 1 << max(13, (8 * taps - 1).bit_length())
    octaves = math.log2(rate_hz / 2 / LOWEST_KNOT_HZ)
    knots = 2 + math.floor(octaves * KNOTS_PER_OCTAVE)
    gains_db = deviation_db * torch.randn(count, knots, generator=generator, dtype=torch.float64)
    bins_hz = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * rate_hz / n_fft
    place = torch.log2(bins_hz.clamp_min(LOWEST_KNOT_HZ) / LOWEST_KNOT_HZ) / octaves * (knots - 1)
    left = place.floor().long().clamp_max(knots - 2)
    share = (1 - torch.cos(math.pi * (place - left))) / 2
    curve_db = gains_db[:, left] * (1 - share) + gains_db[:, left + 1] * share
    cepstrum = torch.fft.irfft(curve_db * (math.log(10) / 20), n_fft)
    cepstrum[:, 1 : n_fft // 2] *= 2
    cepstrum[:, n_fft // 2 + 1 :] = 0
    response = torch.fft.irfft(torch.fft.rfft(cepstrum).exp(), n_fft)[:, :taps]
    fade = taps // 4
    response[:, taps - fade :] *= (1 + torch.cos(math.pi * (torch.arange(fade) + 1) / (fade + 1))) / 2
    return (response / response.norm(dim=1, keepdim=True)).float()


def convolved(x: torch.Tensor, responses: torch.Tensor, scaling: str = "none") -> torch.Tensor:
    """``x`` (batch, samples) or (batch, channels, samples), each convolved with its own of ``responses`` (batch, taps).

    The first samples of the full convolution, as many as ``x`` has; float32. ``scaling`` ``none`` leaves the level as it
    comes out (CP-JKU 2023); ``range`` multiplies by (max - min) of the original over that of the result (GZHU 2023), a
    constant result, such as silence, left alone.
    """
    if scaling not in SCALINGS:
        raise ValueError(f"scaling {scaling!r}: one of {', '.join(SCALINGS)}")
    x, samples = x.float(), x.shape[-1]
    n_fft = _fft_length(samples + responses.shape[-1] - 1)
    spectra = torch.fft.rfft(responses.to(x), n_fft).view(len(x), *[1] * (x.dim() - 2), -1)
    out = torch.fft.irfft(torch.fft.rfft(x, n_fft) * spectra, n_fft)[..., :samples]
    if scaling == "none":
        return out
    was, now = (value.amax(-1, keepdim=True) - value.amin(-1, keepdim=True) for value in (x, out))
    return out * torch.where(now > 0, was / now, 1.0)


def apply_responses(
    x: torch.Tensor,
    responses: torch.Tensor,
    generator: torch.Generator,
    probability: float,
    eligible: torch.Tensor | None = None,
    scaling: str = "none",
) -> torch.Tensor:
    """Convolve each of the ``eligible`` (batch,) samples with ``probability`` with one of ``responses`` (count, taps).

    ``x`` (batch, samples) or (batch, channels, samples); the responses are drawn with equal chances. Published: CP-JKU
    2023 probability 0.6, device a alone, scaling ``none``; GZHU 0.5, every device, scaling ``range``.
    """
    if probability <= 0:
        return x
    rows, choice = picks(len(x), len(responses), probability, generator, eligible)
    if not len(rows):
        return x
    rows = rows.to(x.device)
    heard = convolved(x[rows], responses[choice.to(responses.device)], scaling)
    return x.index_copy(0, rows, heard.to(x.dtype))


def _fft_length(least: int) -> int:
    """The smallest length of at least ``least`` without prime factors above 5; even, as a real spectrum wants."""
    best = 1 << (least - 1).bit_length()
    fives = 1
    while fives < best:
        threes = fives
        while threes < best:
            rest = -(-least // threes)
            best = min(best, threes << max(1, (rest - 1).bit_length()))
            threes *= 3
        fives *= 5
    return best
