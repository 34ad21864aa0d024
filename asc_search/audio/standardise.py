"""Mean 0 and deviation 1: of each window by itself, or with statistics of the training part."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.errors import AscSearchError

MIN_DEVIATION = 1e-3  # of silence, whose rounding errors would otherwise become noise; log-mels are far above


def standardised(x: torch.Tensor) -> torch.Tensor:
    """``x`` (batch, channels, freq, time) with mean 0 and deviation 1 (of n - 1) over each channel's (freq, time)."""
    deviation, mean = torch.std_mean(x, dim=(2, 3), keepdim=True)
    return (x - mean) / deviation.clamp_min(MIN_DEVIATION)


class Standardise(nn.Module):
    """(x - mean) / deviation on (batch, channels, freq, time), with statistics of the training part.

    ``mean`` and ``deviation`` are (channels, freq, 1) by mel bin or (channels, 1, 1) by channel; other channels, such as
    deltas, have their own. They are buffers, so they count neither as parameters nor as MACs, and lie in the state_dict:
    a model's file carries them beside the weights, and ``Standardise(mean, deviation)`` restores them. Windows are kept
    as the front end makes them and are standardised on the way to the network, so one cache serves every split.
    """

    def __init__(self, mean: torch.Tensor, deviation: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("deviation", deviation.float().clamp_min(MIN_DEVIATION))

    @classmethod
    def fit(cls, batches: Iterable[torch.Tensor], spec: FrontEnd) -> Standardise:
        """The statistics of all ``batches`` (batch, channels, freq, time) of the training part, taken in float64.

        By mel bin where ``spec.standardise`` is ``frequency``, else by channel.

        Raises:
            AscSearchError: there are no batches.
        """
        over = (0, 3) if spec.standardise == "frequency" else (0, 2, 3)
        count, mean, squares = 0, torch.zeros(()), torch.zeros(())
        for batch in batches:
            variance, batch_mean = torch.var_mean(batch.double(), dim=over, correction=0, keepdim=True)
            size = batch.numel() // batch_mean.numel()
            share, count = size / (count + size), count + size
            # The batch's sum of squares about its own mean, and what the two means differ by (Chan et al. 1979).
            step = batch_mean - mean
            squares = squares + size * variance + step.square() * size * (1 - share)
            mean = mean + share * step
        if not count:
            raise AscSearchError(
                "the training part has no windows to take mean and deviation from; check the data source"
            )
        return cls(mean[0], (squares / count).sqrt()[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) / self.deviation


def standardising(standardise: Standardise | None, network: nn.Module) -> nn.Module:
    """``network`` behind ``standardise``, so that it takes windows as the front end makes them; alone without one."""
    return network if standardise is None else nn.Sequential(standardise, network)
