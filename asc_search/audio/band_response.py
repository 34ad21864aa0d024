"""Device responses on cached log-mels: an impulse response much shorter than the window is a gain for each mel band."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from asc_search.audio.device_ir import convolved
from asc_search.audio.draws import picks
from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.logmel import LogMel, mel_filters

ERROR_BATCH = 32
SAMPLED_ERRORS = 200_000


def band_offsets(responses: torch.Tensor, frontend: FrontEnd) -> torch.Tensor:
    """log(sum_k w_k |H_k|^2 / sum_k w_k) of each response (count, taps) in each mel filter w: (count, mels) float32.

    Natural logarithm of a power ratio, whatever ``frontend.log`` is. A filter without a bin has offset 0.
    """
    taps = responses.shape[-1]
    every = -(-taps // frontend.n_fft)
    spectrum = torch.fft.rfft(responses.double(), every * frontend.n_fft)[:, ::every]
    filters = mel_filters(frontend).to(spectrum.device)
    power = (spectrum.real.square() + spectrum.imag.square()) @ filters
    return torch.where(filters.sum(0) > 0, power.clamp_min(1e-20) / filters.sum(0), 1.0).log().float()


def offset_by(x: torch.Tensor, offsets: torch.Tensor, frontend: FrontEnd) -> torch.Tensor:
    """Log-mels ``x`` (batch, channels, mels, time) with each sample's bands raised by its ``offsets`` (batch, mels).

    ``x`` is what ``LogMel.bare`` gives, before deltas and standardisation. The log floor is taken off before and put on
    after: silence stays silence.
    """
    raised = offsets.to(x)[:, None, :, None]
    unit = math.log(10) if frontend.log == "log10" else 1.0
    power = (torch.exp(x * unit) - frontend.log_floor).clamp_min(0)
    return torch.log(power * raised.exp() + frontend.log_floor) / unit


def apply_band_offsets(
    x: torch.Tensor,
    offsets: torch.Tensor,
    frontend: FrontEnd,
    generator: torch.Generator,
    probability: float,
    eligible: torch.Tensor | None = None,
    quick: torch.Tensor | None = None,
    exactly: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """``offset_by`` with one of ``offsets`` (count, mels), for each of the ``eligible`` (batch,) samples with ``probability``.

    Responses that ``quick`` (count,) does not name are left to ``exactly(rows, choice)``, which gives the bare log-mels of
    samples ``rows`` heard through responses ``choice``, as exact as it likes.

    Draws what ``device_ir.apply_responses`` draws: the same seed gives the same responses to the same samples. It stands
    for scaling ``none`` alone; the range that ``range`` needs is no longer in a log-mel.
    """
    if probability <= 0:
        return x
    rows, choice = picks(len(x), len(offsets), probability, generator, eligible)
    fast = torch.ones(len(rows), dtype=torch.bool) if quick is None else quick[choice]
    if fast.any():
        at = rows[fast].to(x.device)
        heard = offset_by(x[at], offsets[choice[fast].to(offsets.device)], frontend)
        x = x.index_copy(0, at, heard.to(x.dtype))
    if exactly is not None and not fast.all():
        heard = exactly(rows[~fast], choice[~fast])
        x = x.index_copy(0, rows[~fast].to(x.device), heard.to(x.dtype))
    return x


@dataclass(frozen=True)
class BandError:
    """Absolute error in dB of one response's fast path, over the cells of all clips' log-mels.

    ``inner``: only frames that lie within the window. The others mirror its ends, and a mirrored response is not the
    response: most of the larger errors are there.
    """

    median_db: float
    q95_db: float
    inner_median_db: float
    inner_q95_db: float


@torch.no_grad()
def band_errors(clips: torch.Tensor, responses: torch.Tensor, frontend: FrontEnd) -> list[BandError]:
    """How far ``offset_by`` is from convolving first, for each response (count, taps) on real ``clips`` (clips, samples).

    In dB of mel power (10 log10), floor included; quantiles over at most ``SAMPLED_ERRORS`` evenly spaced cells.

    Seen, median and 95 % quantile in dB over all frames (inner frames in brackets), the typical response. Baseline's
    front end, TAU clips: MicIRP 0.16 and 1.5 (0.15, 0.8), generated of 3 dB 0.02 and 0.4 (0.01, 0.2), of 6 dB 0.03 and
    0.9 (0.02, 0.5). The same in milliseconds at 16 kHz, ESC-50 clips: MicIRP 0.23 and 2.0 (0.21, 1.3), where their delay
    of 1.6 ms alone gives 0.20 and 1.4 (0.19, 0.8); decaying noise, 95 %: 0.4 (0.2) for 2 ms, 1.0 (0.5) for 5, 2.0 (1.6)
    for 20, 6.0 (5.7) for 100, 13 for 400.
    """
    log_mel = LogMel(frontend).to(clips.device)
    to_db = 10.0 if frontend.log == "log10" else 10 / math.log(10)
    parts = clips.split(ERROR_BATCH)
    plain = [log_mel.bare(part) for part in parts]
    inner = _inner_frames(plain[0].shape[-1], clips.shape[-1], frontend)
    errors = []
    for response, offset in zip(responses, band_offsets(responses, frontend), strict=True):
        cells = []
        for part, before in zip(parts, plain, strict=True):
            exact = log_mel.bare(convolved(part, response.expand(len(part), -1)))
            cells.append((offset_by(before, offset.expand(len(part), -1), frontend) - exact).abs() * to_db)
        every = torch.cat(cells)
        errors.append(BandError(*_quantiles(every), *_quantiles(every[..., inner])))
    return errors


def qualifying(errors: Sequence[BandError], bound_db: float = 1.0, inner: bool = False) -> torch.Tensor:
    """Which responses may take the fast path, (count,) bool: 95 % of their (``inner`` frames') errors below ``bound_db``."""
    return torch.tensor(
        [(error.inner_q95_db if inner else error.q95_db) < bound_db for error in errors], dtype=torch.bool
    )


def _inner_frames(frames: int, samples: int, frontend: FrontEnd) -> slice:
    """The frames whose Hann window lies within the waveform."""
    if not frontend.centre:
        return slice(None)
    reach = frontend.window // 2
    return slice(-(-reach // frontend.hop), max(0, samples - reach) // frontend.hop + 1)


def _quantiles(cells: torch.Tensor) -> tuple[float, float]:
    every = cells.flatten()
    if not len(every):
        return math.inf, math.inf
    median, q95 = every[:: -(-len(every) // SAMPLED_ERRORS)].quantile(torch.tensor([0.5, 0.95]).to(every)).tolist()
    return median, q95
