"""Random draws the augmentations share: always by a CPU generator, so that a seed means the same on every device."""

from __future__ import annotations

import torch


def hits(
    batch: int, probability: float, generator: torch.Generator, eligible: torch.Tensor | None = None
) -> torch.Tensor:
    """Which samples an augmentation concerns: each of the ``eligible`` (batch,) ones with ``probability``; (batch,) bool, CPU.

    Draws ``batch`` numbers whatever is eligible, so a change of devices leaves the draws of other samples as they are.
    """
    hit = torch.rand(batch, generator=generator) < probability
    return hit if eligible is None else hit & eligible.cpu()


def picks(
    batch: int, count: int, probability: float, generator: torch.Generator, eligible: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """For each sample that ``hits`` names: its row, and which of ``count`` things it gets, with equal chances; CPU."""
    choice = torch.randint(count, (batch,), generator=generator)
    rows = hits(batch, probability, generator, eligible).nonzero().flatten()
    return rows, choice[rows]


def uniform(batch: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """Uniform draws in [low, high), (batch,), CPU."""
    return low + (high - low) * torch.rand(batch, generator=generator)


def per_sample(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """``values`` (batch,) on the device of ``x`` (batch, ...), shaped to meet it sample by sample."""
    return values.to(x.device).view(-1, *[1] * (x.dim() - 1))
