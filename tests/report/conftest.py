"""Made-up rows and trials of a finished study."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from report.made_up import made_up_run

from asc_search.study.records import FinalistRow, TrialPoint
from asc_search.study.run_folder import RunFolder


def make_row(name: str, role: str, macs: int, validation: tuple[float, ...], **changes: object) -> FinalistRow:
    fields = {
        "trial": 7,
        "params": 60_000,
        "weight_bytes": 120_000,
        "weight_type": "fp16",
        "epochs": 150,
        "teachers": ("passt-1", "bcbl"),
        "description": "sscp, widths 32/56/104",
        "test": tuple(value - 0.02 for value in validation),
        "test_log_loss": tuple(1.2 for _ in validation),
        "unseen_test": tuple(value - 0.05 for value in validation),
    }
    return FinalistRow(name=name, role=role, macs=macs, validation=validation, **{**fields, **changes})


@pytest.fixture
def row() -> Callable[..., FinalistRow]:
    return make_row


@pytest.fixture
def rows() -> list[FinalistRow]:
    return [
        make_row("twin", "undistilled", 29_700_000, (0.55, 0.56), teachers=()),
        make_row("scratch", "dense", 8_000_000, (0.47,), trial=3),
        make_row("small", "finalist", 8_000_000, (0.48,), trial=3),
        make_row("dcase2024-baseline", "reference", 29_419_156, (0.56, 0.57), trial=None),
        make_row("beaten", "finalist", 12_000_000, (0.47, 0.48), test=(0.9, 0.9)),
        make_row("large", "finalist", 29_700_000, (0.60, 0.62, 0.61)),
    ]


@pytest.fixture
def trials() -> list[TrialPoint]:
    return [
        TrialPoint(0, "finished", 50_000, 20_000_000, 100_000, 0.52, 27),
        TrialPoint(1, "stopped", 40_000, 15_000_000, 80_000, 0.31, 3),
        TrialPoint(2, "rejected", 90_000, 44_000_000, 180_000, None, 0, "14,000,000 over"),
        TrialPoint(3, "rejected", 70_000, 25_000_000, 140_000, None, 0, "12,000 over"),
        TrialPoint(4, "failed", 30_000, 10_000_000, 60_000, None, 0, "loss is not finite"),
        TrialPoint(5, "failed", 30_000, 11_000_000, 60_000, 0.1, 3, "loss is not finite"),
    ]


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run at its end: 14 trainings, 4 finalists and a reference. Read only."""
    return made_up_run(tmp_path_factory.mktemp("runs") / "finished", trials=14)
