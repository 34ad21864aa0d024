"""Schedules against the reports' formulas, epoch by epoch or step by step, and against torch's own schedulers."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from asc_search.space.candidate import Training
from asc_search.train.schedules import FALLS, PUBLISHED, RAMPS, Schedule, schedule_of


def exponential(epoch: float, epochs: float) -> float:
    return math.exp(-5 * (1 - epoch / epochs) ** 2)


def vivo(epoch: int) -> float:
    """ "Exponential increase to lr 0.001 over the first 300 epochs, then linear to 1e-5 at 800"."""
    if epoch < 300:
        return 1e-3 * exponential(epoch, 300)
    return 1e-3 + (1e-5 - 1e-3) * (epoch - 300) / 500


def cpjku2022(epoch: int) -> float:
    """ "750 epochs, warm-up 100, hold to 250, linear over 400 to 0.005x"."""
    if epoch < 100:
        return exponential(epoch, 100)
    return 1.0 if epoch < 250 else max(0.005, 1 - 0.995 * (epoch - 250) / 400)


def cpjku2023(epoch: int) -> float:
    """ "Exp warm-up 14 epochs (factor exp(-5(1-e/14)^2)), constant to 50, linear down over 84 epochs to 0.005 x"."""
    if epoch < 14:
        return 9e-4 * math.exp(-5 * (1 - epoch / 14) ** 2)
    return 9e-4 if epoch < 50 else 9e-4 * max(0.005, 1 - 0.995 * (epoch - 50) / 84)


def scut(epoch: int) -> float:
    """timm cosine: t_initial 100, lr_min 1e-6, 5 warm-up epochs from 5e-5, prefix (the cosine's epochs count after it)."""
    if epoch < 5:
        return 5e-5 + epoch * (1e-3 - 5e-5) / 5
    return 1e-6 + 0.5 * (1e-3 - 1e-6) * (1 + math.cos(math.pi * (epoch - 5) / 100))


def baseline(step: int) -> float:
    """ "lr 0.005, linear warm-up 2000 steps then cosine to 0, per step; 150 epochs, batch 256" of 139,620 clips."""
    steps = 150 * math.ceil(139_620 / 256)
    if step < 2000:
        return 0.005 * step / 2000
    return 0.005 * 0.5 * (1 + math.cos(math.pi * (step - 2000) / (steps - 2000)))


def seoul_raw(epoch: int) -> float:
    """ "lr 1e-4, lr x0.2 at epochs 20 and 50" of 70."""
    return 1e-4 * 0.2 ** sum(epoch >= milestone for milestone in (20, 50))


def seoul_student(epoch: int) -> float:
    """ "60 epochs, lr 1e-4 x0.2 at 15/30/45"."""
    return 1e-4 * 0.2 ** sum(epoch >= milestone for milestone in (15, 30, 45))


def seoul_mel(step: int) -> float:
    """ "200 epochs, batch 50, Adam lr 1e-3, lr_t = lr0/(1+1e-4 t) per iteration" of 9,185 clips."""
    return 1e-3 / (1 + 1e-4 * step)


CASES = [
    ("vivo", 1e-3, vivo, 800),
    ("cpjku2022", 1.0, cpjku2022, 750),
    ("cpjku2023", 9e-4, cpjku2023, 150),
    ("scut", 1e-3, scut, 100),
    ("baseline2024", 0.005, baseline, 81_900),
    ("seoul_raw", 1e-4, seoul_raw, 70),
    ("seoul_student", 1e-4, seoul_student, 60),
    ("seoul_mel", 1e-3, seoul_mel, 36_800),
]


@pytest.mark.parametrize(("name", "peak", "formula", "total"), CASES)
def test_a_published_schedule_is_its_formula(
    name: str, peak: float, formula: Callable[[int], float], total: int
) -> None:
    schedule = schedule_of(Training(schedule=name, warmup=0.7))  # the other fields do not matter
    for point in range(0, total, max(1, total // 1000)):
        assert peak * schedule(point / total) == pytest.approx(formula(point), rel=1e-9), point


def test_every_published_schedule_is_checked() -> None:
    assert {name for name, *_ in CASES} == set(PUBLISHED)


def torchs(make: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler], epochs: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, rates = make(optimizer), []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_the_falls_are_torchs() -> None:
    lr = torch.optim.lr_scheduler
    pairs = [
        (Schedule("cosine", final=0.1), lambda o: lr.CosineAnnealingLR(o, 40, eta_min=0.1)),
        (Schedule("linear", fall=0.5, final=0.2), lambda o: lr.LinearLR(o, 1.0, 0.2, 20)),
        (Schedule("steps", hold=0.25, fall=0.25, final=0.3), lambda o: lr.StepLR(o, 10, 0.3)),
        (Schedule("constant", warmup=0.25, start=0.1), lambda o: lr.LinearLR(o, 0.1, 1.0, 10)),
    ]
    for schedule, make in pairs:
        ours = [schedule(epoch / 40) for epoch in range(40)]
        assert ours == pytest.approx(torchs(make, 40), rel=1e-6), schedule


def test_the_default_rises_linearly_and_falls_to_zero() -> None:
    schedule = schedule_of(Training())
    assert schedule(0.0) == 0.0
    assert schedule(0.05) == pytest.approx(0.5)
    assert schedule(0.1) == pytest.approx(1.0)
    assert schedule(0.55) == pytest.approx(0.5)
    assert schedule(1.0) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("ramp", list(RAMPS))
@pytest.mark.parametrize("kind", list(FALLS))
def test_any_shares_give_a_factor_that_rises_to_1_and_never_again(kind: str, ramp: str) -> None:
    for warmup in (0.0, 0.3, 1.0):
        for hold in (0.0, 0.4, 1.0):
            for fall in (0.0, 0.1, 1.0):
                schedule = Schedule(kind, ramp, warmup=warmup, hold=hold, fall=fall, final=0.05)
                factors = [schedule(point / 200) for point in range(201)]
                rising = factors[: math.ceil(warmup * 200)]
                falling = factors[len(rising) :]
                assert all(0 <= factor <= 1 for factor in factors)
                assert rising == sorted(rising) and falling == sorted(falling, reverse=True)
                assert not falling or kind == "steps" or falling[0] == pytest.approx(1.0)
                if kind in ("cosine", "linear", "inverse") and warmup + hold + fall < 1:
                    assert falling[-1] == pytest.approx(0.05)
