"""Losses: cross-entropy on (mixed) labels, distillation from what teachers said of the same windows, and mutual learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from asc_search.audio.augment import Mix, mixed
from asc_search.space.candidate import Distillation

LEAST_SHARE = 1e-6  # of a teacher, below which it says nothing


@dataclass(frozen=True)
class Batch:
    """A training batch: ``x`` (batch, 1, freq, time), ``labels`` (batch,) or distributions (batch, classes).

    ``teacher``: logits (batch, teachers, classes), or None; ``shares`` (batch, teachers) those that teachers count by, None for
    equal ones; ``embedding``: the teachers' embeddings (batch, width) that the student's features are to predict, or None.
    ``mix`` says how inputs were mixed; targets are mixed the same way. ``heard`` has for each peer what it hears in place of
    ``x``, already mixed (batch, width), or None; empty: all hear ``x``.
    """

    x: torch.Tensor
    labels: torch.Tensor
    teacher: torch.Tensor | None
    mix: Mix | None
    embedding: torch.Tensor | None = None
    shares: torch.Tensor | None = None
    heard: tuple[torch.Tensor | None, ...] = ()


def cross_entropy(logits: torch.Tensor, batch: Batch, smoothing: float = 0.0) -> torch.Tensor:
    """Mean cross-entropy of logits (batch, classes) against the batch's labels, mixed as its inputs.

    ``smoothing`` is the share of each label spread evenly over all classes (Szegedy et al. 2016, section 7).
    """
    labels = batch.labels
    known = functional.one_hot(labels, logits.shape[1]) if labels.dim() == 1 else labels
    target = (1 - smoothing) * known.to(logits.dtype) + smoothing / logits.shape[1]
    return -(mixed(target, batch.mix) * functional.log_softmax(logits, 1)).sum(1).mean()


def divergence(
    logits: torch.Tensor, target: torch.Tensor, temperature: float, reduction: str, shares: torch.Tensor | None = None
) -> torch.Tensor:
    """KL(``target`` || softmax(``logits`` / T)) of (batch, classes), without a factor T^2.

    ``reduction`` ``batchmean`` sums over the classes and averages over the batch: the divergence by its definition.
    ``mean`` averages over both, which is that divided by the number of classes: what published code with PyTorch's default
    computes (GZHU 2023). ``shares`` (batch,) weighs each sample's.
    """
    each = functional.kl_div(functional.log_softmax(logits / temperature, 1), target, reduction="none")
    each = each if shares is None else shares[:, None] * each
    return each.mean() if reduction == "mean" else each.sum(1).mean()


def distillation(
    logits: torch.Tensor,
    batch: Batch,
    plan: Distillation,
    smoothing: float = 0.0,
    predicted: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy and the divergence from the teachers' softened distribution, averaged over the batch.

    ``plan.reduction`` ``batchmean``: ``weight`` * CE + (1 - ``weight``) * T^2 * KL (Hinton et al. 2015, section 2; CP-JKU
    2023 uses T = 2, weight = 0.02). ``mean``: CE + ``strength`` * KL, no T^2 (GZHU 2023 and CP-JKU 2022: 50).
    Several teachers speak by the mean of their distributions; with ``plan.average`` ``sum`` the KL from each are summed
    (Seoul 2019, weight 0: their cross-entropies differ from that by a constant). A mixed input's target is the mixture of
    its parents'. ``smoothing`` concerns the hard labels of CE only: the teacher's distribution is soft already and says more
    than an even spread would. With ``predicted`` (batch, width), ``plan.features`` times its mean squared distance from the
    teachers' embedding is added (FitNets, Romero et al. 2015, on the pooled features).
    """
    if batch.teacher is None:
        return cross_entropy(logits, batch, smoothing)
    loss = _taught(logits, batch, _spoken(batch, plan.temperature), plan, smoothing)
    if predicted is None or batch.embedding is None:
        return loss
    return loss + plan.features * functional.mse_loss(predicted, mixed(batch.embedding, batch.mix))


def _spoken(batch: Batch, temperature: float) -> torch.Tensor:
    """What the teachers say of each class, softened, weighed by their shares and mixed as the inputs: (batch, teachers,
    classes); over the teachers it sums to 1.
    """
    said = functional.softmax(batch.teacher / temperature, 2)
    said = said / said.shape[1] if batch.shares is None else batch.shares[:, :, None] * said
    return mixed(said, batch.mix)


def _taught(
    logits: torch.Tensor, batch: Batch, spoken: torch.Tensor, plan: Distillation, smoothing: float
) -> torch.Tensor:
    """Cross-entropy with the labels and divergence from what is ``spoken`` (batch, teachers, classes)."""
    hard = cross_entropy(logits, batch, smoothing)
    if plan.average == "sum":
        shares = spoken.sum(2)
        said = [spoken[:, k] / shares[:, [k]].clamp_min(LEAST_SHARE) for k in range(spoken.shape[1])]
        soft = spoken.shape[1] * sum(
            divergence(logits, one, plan.temperature, plan.reduction, shares[:, k]) for k, one in enumerate(said)
        )
    else:
        soft = divergence(logits, spoken.sum(1), plan.temperature, plan.reduction)
    if plan.reduction == "mean":
        return hard + plan.strength * soft
    return plan.weight * hard + (1 - plan.weight) * plan.temperature**2 * soft


def mutual_learning(
    logits: torch.Tensor,
    batch: Batch,
    plan: Distillation,
    smoothing: float = 0.0,
    *,
    peers: Sequence[torch.Tensor],
    predicted: torch.Tensor | None = None,
    settled: bool = False,
) -> torch.Tensor:
    """The losses of a student and its ``peers`` (logits of each), summed; no gradient of one reaches another.

    Network n of N: CE_n + ``plan.mutual`` / (N - 1) * sum over l != n of KL(softmax(z_l / T) || softmax(z_n / T)), batch
    mean, no T^2 (GZHU 2023's code, T = 3 and weight 1; their document's eq. 4 writes the divergence the other way round;
    Zhang et al. 2018). Where the student has teachers too, its CE is its :func:`distillation`.

    ``settled``: the peers learn no more and teach; the loss is :func:`distillation` from what they say of the batch as
    mixed, all of them or ``plan.mutual_teacher`` (KD after mutual learning), with the other teachers as one more.
    """
    if settled:
        return _from_peers(logits, batch, plan, smoothing, peers)
    own = [distillation(logits, batch, plan, smoothing, predicted)]
    own += [cross_entropy(peer, batch, smoothing) for peer in peers]
    agreement = divergences([logits, *peers], plan.temperature)
    return sum(loss + plan.mutual * kl for loss, kl in zip(own, agreement, strict=True))


def divergences(logits: Sequence[torch.Tensor], temperature: float) -> list[torch.Tensor]:
    """For each of several networks the mean divergence of what the others say, detached, from what it says."""
    said = [functional.softmax(each.detach() / temperature, 1) for each in logits]
    return [
        torch.stack(
            [divergence(mine, other, temperature, "batchmean") for other in [*said[:number], *said[number + 1 :]]]
        ).mean()
        for number, mine in enumerate(logits)
    ]


def _from_peers(
    logits: torch.Tensor, batch: Batch, plan: Distillation, smoothing: float, peers: Sequence[torch.Tensor]
) -> torch.Tensor:
    if plan.mutual_teacher in plan.peers:
        peers = [peers[plan.peers.index(plan.mutual_teacher)]]
    said = [functional.softmax(peer.detach() / plan.temperature, 1) for peer in peers]
    if batch.teacher is not None:
        said.append(_spoken(batch, plan.temperature).sum(1))
    return _taught(logits, batch, torch.stack(said, 1) / len(said), plan, smoothing)
