"""The fast path of device responses: those short for the window are gains on kept log-mels, the others convolved.

Which are which is measured on the run's own training clips.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from asc_search.audio.band_response import BandError, apply_band_offsets, band_errors, band_offsets, qualifying
from asc_search.audio.device_ir import convolved
from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.logmel import LogMel
from asc_search.data.clips import Clips
from asc_search.files import read_json, write_json
from asc_search.progress import console
from asc_search.train.derived import bare, derived_path
from asc_search.train.features import frontend_windows
from asc_search.train.windows import Windows

BOUND_DB = 1.0  # of the 95 % quantile of a response's error
MEASURED = 24  # windows, of as many clips where there are


@dataclass(frozen=True)
class BandPath:
    """Responses (count, taps) and their ``offsets`` (count, mels); ``quick`` (count,) may take those.

    ``waveforms`` are the windows for the others, ``eligible`` (windows,) those that may get a response at all.
    """

    front: LogMel
    responses: torch.Tensor
    offsets: torch.Tensor
    quick: torch.Tensor
    probability: float
    waveforms: Windows | None
    eligible: np.ndarray

    def apply(self, x: torch.Tensor, rows: np.ndarray, generator: torch.Generator) -> torch.Tensor:
        """Bare log-mels ``x`` (batch, channels, mels, time) of windows ``rows``, some of them heard through a response."""

        def exactly(which: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
            waves = waveforms_of(self.waveforms, rows[which.numpy()]).to(x.device)
            return self.front.bare(convolved(waves, self.responses[choice.to(x.device)]))

        eligible = torch.from_numpy(self.eligible[rows])
        return apply_band_offsets(
            x, self.offsets, self.front.spec, generator, self.probability, eligible, self.quick, exactly
        )


def raw(frontend: FrontEnd) -> FrontEnd:
    """The waveform that ``frontend`` hears, as a front end."""
    return FrontEnd(kind="raw", rate_hz=frontend.rate_hz, seconds=frontend.seconds, channels=frontend.channels)


def waveforms_of(windows: Windows, rows: np.ndarray) -> torch.Tensor:
    """Windows ``rows`` of raw waveforms, (batch, channels, samples) float32."""
    return torch.from_numpy(windows.values[rows].astype(np.float32)).squeeze(2)


def open_band_path(
    folder: Path,
    training: Clips,
    frontend: FrontEnd,
    responses: torch.Tensor,
    eligible: np.ndarray,
    probability: float,
    device: torch.device,
) -> BandPath | None:
    """The fast path of ``responses`` (count, taps), for the ``eligible`` (clips,); None where none may take it.

    Says how many may where that was not known yet.
    """
    spec = bare(frontend)
    quick = qualifying(_errors(folder, training, spec, responses), BOUND_DB)
    if not quick.any():
        return None
    waveforms = None if quick.all() else frontend_windows(folder, training, raw(spec))
    clip_of = frontend_windows(folder, training, spec).clip_of
    front, offsets = LogMel(spec).to(device), band_offsets(responses, spec).to(device)
    return BandPath(front, responses.to(device), offsets, quick, probability, waveforms, eligible[clip_of])


def _errors(folder: Path, training: Clips, spec: FrontEnd, responses: torch.Tensor) -> list[BandError]:
    """The error of each response on windows of ``training``, measured once."""
    content = hashlib.sha256(responses.contiguous().numpy().tobytes()).hexdigest()
    path = derived_path(folder, training, "responses.json", spec, content)
    known = read_json(path)
    if known is None:
        clips = training.take(np.linspace(0, len(training) - 1, min(MEASURED, len(training))).round().astype(int))
        windows = frontend_windows(folder, clips, raw(spec))
        rows = np.flatnonzero(windows.audible)
        rows = rows[np.linspace(0, len(rows) - 1, min(MEASURED, len(rows))).round().astype(int)]
        heard = waveforms_of(windows, rows)
        errors = band_errors(heard, responses, spec)
        quick = int(qualifying(errors, BOUND_DB).sum())
        what = "convolution on every window" if quick == 0 else "the others by convolution"
        line = (
            f"device responses: {quick} of {len(errors)} are gains on kept log-mels (95 % of the error below "
            f"{BOUND_DB:g} dB on {len(rows)} training windows), {what}"
        )
        console.print(line, markup=False, soft_wrap=True)
        known = [asdict(error) for error in errors]
        write_json(path, known)
    return [BandError(**error) for error in known]
