"""The distillation loss against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asc_search.audio.augment import Mix
from asc_search.space.candidate import Distillation
from asc_search.train.losses import Batch, cross_entropy, distillation, mutual_learning


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


def one_of_several(
    z: np.ndarray, others: list[np.ndarray], onehot: np.ndarray, temperature: float, mutual: float
) -> float:
    """The loss of one network, by the formula: what the others say is given."""
    value = -(onehot * np.log(softmax(z))).sum() / len(z)
    for other in others:
        p, q = softmax(other / temperature), softmax(z / temperature)
        value += mutual / len(others) * (p * np.log(p / q)).sum() / len(z)
    return value


@pytest.mark.parametrize("networks", [2, 4])
def test_mutual_learning_is_what_numpy_has_and_no_gradient_reaches_another_network(networks: int) -> None:
    rng = np.random.default_rng(networks)
    logits = [2 * rng.normal(size=(6, 4)) for _ in range(networks)]
    labels, lam, order = rng.integers(0, 4, 6), rng.random(6), rng.permutation(6)
    onehot = lam[:, None] * np.eye(4)[labels] + (1 - lam[:, None]) * np.eye(4)[labels][order]
    batch = Batch(torch.empty(0), torch.from_numpy(labels), None, Mix(torch.from_numpy(lam), torch.from_numpy(order)))
    temperature, mutual = 3.0, 0.7
    others = [[*logits[:n], *logits[n + 1 :]] for n in range(networks)]
    z = [torch.from_numpy(each).requires_grad_() for each in logits]
    plan = Distillation(temperature=temperature, mutual=mutual)
    loss = mutual_learning(z[0], batch, plan, peers=z[1:])
    expected = sum(one_of_several(logits[n], others[n], onehot, temperature, mutual) for n in range(networks))
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    loss.backward()
    for n, each in enumerate(logits):
        for cell in np.ndindex(each.shape):  # a network's own loss alone moves it
            step = np.zeros_like(each)
            step[cell] = 1e-5
            ends = [one_of_several(each + sign * step, others[n], onehot, temperature, mutual) for sign in (1, -1)]
            assert z[n].grad[cell].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-6)


def test_a_student_among_peers_may_have_teachers_and_its_peers_have_none() -> None:
    generator = torch.Generator().manual_seed(0)
    student, peer, teacher = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    batch = Batch(torch.empty(0), torch.tensor([0, 1, 2, 1, 0]), teacher[:, None], None)
    plan = Distillation(temperature=2.0, weight=0.4, mutual=0.0)
    got = mutual_learning(student, batch, plan, 0.1, peers=[peer])
    torch.testing.assert_close(got, distillation(student, batch, plan, 0.1) + cross_entropy(peer, batch, 0.1))
