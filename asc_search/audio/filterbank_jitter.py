"""Filter-bank jitter (CP-JKU): mel filters whose lower and upper edge move from batch to batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.logmel import LogMel


def jitter_centre(frontend: FrontEnd, fmax_range_hz: int) -> FrontEnd:
    """``frontend`` with an upper edge that leaves room for the jitter below half the rate; the one to evaluate with.

    Unchanged without jitter of that edge, and for raw waveforms, which have no filters.
    """
    if fmax_range_hz <= 0 or frontend.kind == "raw":
        return frontend
    room = (frontend.rate_hz - fmax_range_hz) / 2
    return replace(frontend, fmax_hz=min(frontend.fmax_hz or room, room))


def jittered(frontend: FrontEnd, fmin_range_hz: int, fmax_range_hz: int, generator: torch.Generator) -> FrontEnd:
    """``jitter_centre`` with fmin raised by a whole number of Hz below its range, fmax moved by up to half its range.

    CP-JKU and PaSST: ranges of 1 and 1000 Hz, so fmin stays and fmax lies within 500 Hz to either side.
    """
    centre = jitter_centre(frontend, fmax_range_hz)
    raised, lowered = (
        int(torch.randint(max(1, top), (), generator=generator)) for top in (fmin_range_hz, fmax_range_hz)
    )
    return replace(centre, fmin_hz=centre.fmin_hz + raised, fmax_hz=centre.fmax_hz + fmax_range_hz / 2 - lowered)


class JitteredLogMel(nn.Module):
    """``banks`` front ends with jittered filters, built once; each batch goes through one of them.

    ``build`` makes a front end of its description. In evaluation mode waveforms go through ``jitter_centre``. Cached
    log-mels cannot be jittered exactly: bands are sums over bins, which another bank's bands are no function of.
    """

    def __init__(
        self,
        frontend: FrontEnd,
        banks: int,
        fmin_range_hz: int,
        fmax_range_hz: int,
        generator: torch.Generator,
        build: Callable[[FrontEnd], nn.Module] = LogMel,
    ) -> None:
        super().__init__()
        specs = [jittered(frontend, fmin_range_hz, fmax_range_hz, generator) for _ in range(banks)]
        self.centre = build(jitter_centre(frontend, fmax_range_hz))
        self.banks = nn.ModuleList(build(spec) for spec in specs)

    def forward(self, samples: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """``samples`` as the front end takes them; ``generator`` chooses the bank, and is needed in training mode."""
        if not self.training:
            return self.centre(samples)
        return self.banks[int(torch.randint(len(self.banks), (), generator=generator))](samples)
