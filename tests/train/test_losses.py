"""The distillation loss against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asc_search.audio.augment import Mix
from asc_search.space.candidate import Distillation
from asc_search.train.losses import Batch, cross_entropy, distillation


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("mix_it", [False, True])
@pytest.mark.parametrize("reduction", ["batchmean", "mean"])
def test_distillation_is_cross_entropy_and_kl_as_numpy_has_them(mix_it: bool, reduction: str) -> None:
    rng = np.random.default_rng(0)
    logits, teachers = rng.normal(size=(6, 4)), 3 * rng.normal(size=(6, 2, 4))
    labels, lam, order = rng.integers(0, 4, 6), rng.random(6), rng.permutation(6)
    onehot, temperature, weight, strength = np.eye(4)[labels], 3.0, 0.3, 50.0
    target = (softmax(teachers[:, 0] / temperature) + softmax(teachers[:, 1] / temperature)) / 2
    predicted, embedding = rng.normal(size=(6, 5)), rng.normal(size=(6, 5))
    wanted = embedding
    if mix_it:
        onehot = lam[:, None] * onehot + (1 - lam[:, None]) * onehot[order]
        target = lam[:, None] * target + (1 - lam[:, None]) * target[order]
        wanted = lam[:, None] * embedding + (1 - lam[:, None]) * embedding[order]
    hard = -(onehot * np.log(softmax(logits))).sum(1).mean()
    divergences = target * (np.log(target) - np.log(softmax(logits / temperature)))
    expected = {
        "batchmean": weight * hard + (1 - weight) * temperature**2 * divergences.sum(1).mean(),
        "mean": hard + strength * divergences.mean(),
    }[reduction]
    mix = Mix(torch.from_numpy(lam), torch.from_numpy(order)) if mix_it else None
    heard = torch.from_numpy(teachers), mix, torch.from_numpy(embedding)
    batch = Batch(torch.empty(0), torch.from_numpy(labels), *heard)
    plan = Distillation(temperature=temperature, weight=weight, reduction=reduction, strength=strength, features=0.7)
    z = torch.from_numpy(logits)
    assert distillation(z, batch, plan).item() == pytest.approx(expected, rel=1e-9)
    distance = 0.7 * np.square(predicted - wanted).mean()
    got = distillation(z, batch, plan, predicted=torch.from_numpy(predicted))
    assert got.item() == pytest.approx(expected + distance, rel=1e-9)
    assert cross_entropy(z, batch).item() == pytest.approx(hard, rel=1e-9)


def test_labels_may_be_distributions() -> None:
    logits, labels = torch.randn(5, 3), torch.rand(5, 3).softmax(1)
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(cross_entropy(logits, Batch(torch.empty(0), labels, None, None), 0.1), expected)


def test_without_a_teacher_it_is_cross_entropy() -> None:
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    batch = Batch(torch.empty(0), labels, None, None)
    expected = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(distillation(logits, batch, Distillation()), expected)


@pytest.mark.parametrize("taught", [False, True])
def test_smoothing_concerns_the_hard_labels_only(taught: bool) -> None:
    logits, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 1, 0])
    teacher = torch.randn(5, 1, 3, dtype=torch.float64) if taught else None
    batch = Batch(torch.empty(0), labels, teacher, None)
    smooth = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.2)
    torch.testing.assert_close(cross_entropy(logits, batch, 0.2), smooth)
    plain = torch.nn.functional.cross_entropy(logits, labels)
    plan = Distillation(temperature=2.0, weight=0.4)
    difference = distillation(logits, batch, plan, 0.2) - distillation(logits, batch, plan)
    torch.testing.assert_close(difference, (0.4 if taught else 1.0) * (smooth - plain))


def test_smoothing_and_mixing_commute() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    mix = Mix(torch.tensor([0.1, 0.5, 0.9, 1.0]), torch.tensor([2, 0, 1, 3]))
    each = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.3, reduction="none")
    other = torch.nn.functional.cross_entropy(logits, labels[mix.order], label_smoothing=0.3, reduction="none")
    expected = (mix.lam * each + (1 - mix.lam) * other).mean()
    torch.testing.assert_close(cross_entropy(logits, Batch(torch.empty(0), labels, None, mix), 0.3), expected)
