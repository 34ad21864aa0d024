"""Classes and groups of them, learnt as two tasks by one last layer: targets, losses and the scores the two make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from asc_search.space.candidate import Groups
from asc_search.train.losses import Batch, cross_entropy


def membership(groups: Groups, classes: Sequence[str]) -> torch.Tensor:
    """1 where a class (row) is in a group (column), else 0: (classes, groups) float32."""
    return torch.tensor([[float(name in members) for _, members in groups] for name in classes])


def two_tasks(
    loss: Callable[..., torch.Tensor], belongs: torch.Tensor, smoothing: float = 0.0
) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """The losses of classes and of groups, for logits (batch, classes + groups).

    The first is ``loss`` of the class logits, the second the cross-entropy of the group logits against the groups of the
    labels, mixed alike (SCUT 2023, who sum over the batch where this averages). ``belongs`` is the membership.
    """

    def losses(logits: torch.Tensor, batch: Batch, **told: Any) -> tuple[torch.Tensor, torch.Tensor]:
        scenes, coarse = logits.split(list(belongs.shape), dim=1)
        known = functional.one_hot(batch.labels, len(belongs)) if batch.labels.dim() == 1 else batch.labels
        grouped = replace(batch, labels=known.to(belongs.dtype) @ belongs)
        return loss(scenes, batch, **told), cross_entropy(coarse, grouped, smoothing)

    return losses


class Fusion(nn.Module):
    """Logits (batch, classes + groups) -> the logarithm of fused class scores (batch, classes), which sum to 1.

    score_k = share * p_k + (1 - share) * p_group(k), each part's softmax by itself, then divided by the sum over k: groups
    of unlike sizes make it other than 1. SCUT 2023 say "combined" and leave a rate of 0.8 unused in their code.
    """

    def __init__(self, belongs: torch.Tensor, share: float) -> None:
        super().__init__()
        self.register_buffer("belongs", belongs)
        self.share = share

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        scenes, coarse = (part.softmax(1) for part in logits.float().split(list(self.belongs.shape), dim=1))
        scores = self.share * scenes + (1 - self.share) * coarse @ self.belongs.T
        return (scores / scores.sum(1, keepdim=True)).log()
