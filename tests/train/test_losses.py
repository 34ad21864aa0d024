"""The distillation loss against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asc_search.audio.augment import Mix
from asc_search.train.losses import Batch, cross_entropy, distillation


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("mix_it", [False, True])
def test_distillation_is_weighted_ce_plus_t_squared_kl(mix_it: bool) -> None:
    rng = np.random.default_rng(0)
    logits, teacher = rng.normal(size=(6, 4)), 3 * rng.normal(size=(6, 4))
    labels, lam, order = rng.integers(0, 4, 6), rng.random(6), rng.permutation(6)
    onehot, temperature, weight = np.eye(4)[labels], 3.0, 0.3
    target = softmax(teacher / temperature)
    if mix_it:
        onehot = lam[:, None] * onehot + (1 - lam[:, None]) * onehot[order]
        target = lam[:, None] * target + (1 - lam[:, None]) * target[order]
    hard = -(onehot * np.log(softmax(logits))).sum(1).mean()
    soft = (target * (np.log(target) - np.log(softmax(logits / temperature)))).sum(1).mean()
    mix = Mix(torch.from_numpy(lam), torch.from_numpy(order)) if mix_it else None
    batch = Batch(torch.empty(0), torch.from_numpy(labels), torch.from_numpy(teacher), mix)
    got = distillation(torch.from_numpy(logits), batch, temperature, weight)
    assert got.item() == pytest.approx(weight * hard + (1 - weight) * 9 * soft, rel=1e-9)
    assert cross_entropy(torch.from_numpy(logits), batch).item() == pytest.approx(hard, rel=1e-9)


def test_without_a_teacher_it_is_cross_entropy() -> None:
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    batch = Batch(torch.empty(0), labels, None, None)
    expected = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(distillation(logits, batch, 2.0, 0.1), expected)


@pytest.mark.parametrize("taught", [False, True])
def test_smoothing_concerns_the_hard_labels_only(taught: bool) -> None:
    logits, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 1, 0])
    teacher = torch.randn(5, 3, dtype=torch.float64) if taught else None
    batch = Batch(torch.empty(0), labels, teacher, None)
    smooth = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.2)
    torch.testing.assert_close(cross_entropy(logits, batch, 0.2), smooth)
    plain = torch.nn.functional.cross_entropy(logits, labels)
    difference = distillation(logits, batch, 2.0, 0.4, 0.2) - distillation(logits, batch, 2.0, 0.4)
    torch.testing.assert_close(difference, (0.4 if taught else 1.0) * (smooth - plain))


def test_smoothing_and_mixing_commute() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    mix = Mix(torch.tensor([0.1, 0.5, 0.9, 1.0]), torch.tensor([2, 0, 1, 3]))
    each = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.3, reduction="none")
    other = torch.nn.functional.cross_entropy(logits, labels[mix.order], label_smoothing=0.3, reduction="none")
    expected = (mix.lam * each + (1 - mix.lam) * other).mean()
    torch.testing.assert_close(cross_entropy(logits, Batch(torch.empty(0), labels, None, mix), 0.3), expected)
