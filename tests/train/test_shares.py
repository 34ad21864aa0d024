"""Shares of teachers: the likeliest mixture, by device, and what a student is taught by them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from asc_search.audio.augment import Mix
from asc_search.errors import AscSearchError
from asc_search.space.candidate import Distillation
from asc_search.train.losses import Batch, distillation
from asc_search.train.shares import PRIOR, Judged, fitted_shares, shares_of
from asc_search.train.targets import Lesson, targets_of


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def likeliest(true: np.ndarray, prior: np.ndarray | None = None) -> np.ndarray:
    """The same maximum by a general optimiser over softmax coordinates."""
    added = np.zeros(true.shape[1]) if prior is None else prior

    def cost(z: np.ndarray) -> float:
        w = softmax(z)
        return -np.log(true @ w).sum() - (added * np.log(w)).sum()

    return softmax(minimize(cost, np.zeros(true.shape[1]), method="BFGS", options={"gtol": 1e-8}).x)


@pytest.mark.parametrize("teachers", [2, 3, 8])
@pytest.mark.parametrize("with_prior", [False, True])
def test_shares_are_the_likeliest_mixture(teachers: int, with_prior: bool) -> None:
    rng = np.random.default_rng(teachers)
    true = rng.uniform(0.05, 1, (120, teachers)) ** rng.uniform(0.7, 1.5, teachers)
    prior = rng.uniform(1, 10, teachers) if with_prior else None
    shares = fitted_shares(true, prior)
    assert shares.sum() == pytest.approx(1)
    ours, theirs = (np.log(true @ w).sum() for w in (shares, likeliest(true, prior)))
    if with_prior:
        np.testing.assert_allclose(shares, likeliest(true, prior), atol=1e-4)
    else:  # a share may go to 0, which softmax coordinates never reach
        assert ours >= theirs - 1e-4


def judged_by(rng: np.random.Generator, clips: int, devices: tuple[str, ...]) -> tuple[list[np.ndarray], Judged]:
    """Two teachers: the first is right on the devices a, the second on the others."""
    labels = rng.integers(0, 3, clips)
    right = 3 * np.eye(3)[labels]
    on_a = np.array([device == "a" for device in devices])[:, None]
    noise = [rng.normal(size=(clips, 3)) for _ in range(2)]
    return [np.where(on_a, right, noise[0]), np.where(on_a, noise[1], right)], Judged(labels, devices)


def test_a_device_gets_the_teachers_that_know_it() -> None:
    rng = np.random.default_rng(0)
    devices = ("a",) * 150 + ("b",) * 50
    held_out, judged = judged_by(rng, 200, devices)
    true = np.stack([softmax(z)[np.arange(200), judged.labels] for z in held_out], axis=1)
    heard = ["b", "a", "unheard"]
    every = shares_of(held_out, judged, heard, by_device=False)
    np.testing.assert_allclose(every, np.tile(likeliest(true), (3, 1)), atol=1e-3)
    own = shares_of(held_out, judged, heard, by_device=True)
    expected = [likeliest(true[150:], PRIOR * every[0]), likeliest(true[:150], PRIOR * every[0]), every[0]]
    np.testing.assert_allclose(own, expected, atol=1e-3)
    assert own[0, 1] > every[0, 1] > own[1, 1]


@pytest.mark.parametrize("average", ["logits", "probabilities", "sum"])
@pytest.mark.parametrize("reduction", ["batchmean", "mean"])
@pytest.mark.parametrize("shares", ["equal", "by_device"])
def test_a_student_is_taught_by_shares_as_numpy_has_it(average: str, reduction: str, shares: str) -> None:
    rng = np.random.default_rng(1)
    held_out, judged = judged_by(rng, 60, ("a",) * 30 + ("b",) * 30)
    said = [2 * rng.normal(size=(6, 3)) for _ in range(2)]
    lessons = {name: Lesson(z, np.zeros((6, 0)), held) for name, z, held in zip("xy", said, held_out, strict=True)}
    plan = Distillation(("x", "y"), 2.0, 0.25, reduction, strength=5.0, average=average, shares=shares)
    devices = ["a", "b"] * 3
    targets = targets_of(lessons, plan, devices, judged)
    assert targets is not None and targets.predicted == 0
    teacher, weights, embedding = targets.at(np.arange(6), torch.device("cpu"))
    assert embedding is None
    labels, lam, order = rng.integers(0, 3, 6), rng.random(6), rng.permutation(6)
    mix = Mix(torch.from_numpy(lam), torch.from_numpy(order))
    student = rng.normal(size=(6, 3))
    batch = Batch(torch.empty(0), torch.from_numpy(labels), teacher, mix, None, weights)
    got = distillation(torch.from_numpy(student), batch, plan).item()

    w = np.full((6, 2), 0.5) if shares == "equal" else shares_of(held_out, judged, devices, True).astype(float)

    def mixed(x: np.ndarray) -> np.ndarray:
        return lam[:, None] * x + (1 - lam[:, None]) * x[order]

    log_q, q1 = np.log(softmax(student / 2)), np.log(softmax(student))
    hard = -(mixed(np.eye(3)[labels]) * q1).sum(1).mean()

    def kl(p: np.ndarray, share: np.ndarray) -> float:
        each = share[:, None] * p * (np.log(p) - log_q)
        return each.mean() if reduction == "mean" else each.sum(1).mean()

    one = np.ones(6)
    if average == "logits":
        soft = kl(mixed(softmax((w[:, [0]] * said[0] + w[:, [1]] * said[1]) / 2)), one)
    elif average == "probabilities":
        soft = kl(mixed(w[:, [0]] * softmax(said[0] / 2) + w[:, [1]] * softmax(said[1] / 2)), one)
    else:
        soft = 0.0
        for k in range(2):
            share = mixed(w[:, [k]])[:, 0]
            soft += 2 * kl(mixed(w[:, [k]] * softmax(said[k] / 2)) / share[:, None], share)
    expected = hard + 5 * soft if reduction == "mean" else 0.25 * hard + 0.75 * 4 * soft
    assert got == pytest.approx(expected, abs=1e-6)


def test_teachers_that_did_not_hear_the_validation_clips_have_no_fitted_shares() -> None:
    lesson = Lesson(np.zeros((4, 3)), np.zeros((4, 0)))
    judged = Judged(np.zeros(2, np.int64), ("", ""))
    plan = Distillation(("x", "y"), shares="learned")
    with pytest.raises(AscSearchError, match="which x, y said nothing of"):
        targets_of({"x": lesson, "y": lesson}, plan, [""] * 4, judged)
