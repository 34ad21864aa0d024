"""Losses: cross-entropy on (mixed) labels, and distillation from cached teacher logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from asc_search.audio.augment import Mix, mixed


@dataclass(frozen=True)
class Batch:
    """A training batch: ``x`` (batch, 1, freq, time), ``labels`` (batch,), teachers' mean logits (batch, classes) or None.

    ``mix`` says how inputs were mixed; targets are mixed the same way.
    """

    x: torch.Tensor
    labels: torch.Tensor
    teacher: torch.Tensor | None
    mix: Mix | None


def cross_entropy(logits: torch.Tensor, batch: Batch, smoothing: float = 0.0) -> torch.Tensor:
    """Mean cross-entropy of logits (batch, classes) against the batch's labels, mixed as its inputs.

    ``smoothing`` is the share of each label spread evenly over all classes (Szegedy et al. 2016, section 7).
    """
    onehot = functional.one_hot(batch.labels, logits.shape[1]).to(logits.dtype)
    target = (1 - smoothing) * onehot + smoothing / logits.shape[1]
    return -(mixed(target, batch.mix) * functional.log_softmax(logits, 1)).sum(1).mean()


def distillation(
    logits: torch.Tensor, batch: Batch, temperature: float, weight: float, smoothing: float = 0.0
) -> torch.Tensor:
    """``weight`` * CE + (1 - ``weight``) * T^2 * KL(teacher || student), averaged over the batch.

    Both distributions are softened by T = ``temperature`` (Hinton et al. 2015, section 2; CP-JKU 2023 uses T = 2,
    weight = 0.02). A mixed input's target is the mixture of its parents' softened distributions. ``smoothing`` concerns
    the hard labels of CE only: the teacher's distribution is soft already and says more than an even spread would.
    """
    hard = cross_entropy(logits, batch, smoothing)
    if batch.teacher is None:
        return hard
    target = mixed(functional.softmax(batch.teacher / temperature, 1), batch.mix)
    student = functional.log_softmax(logits / temperature, 1)
    soft = functional.kl_div(student, target, reduction="batchmean")
    return weight * hard + (1 - weight) * temperature**2 * soft
