"""What a study leaves behind, as values: trial points and finalists' measured rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import mean, stdev
from typing import Any


@dataclass(frozen=True)
class TrialPoint:
    """One trial of the study: ``state`` is ``rejected``, ``stopped``, ``finished`` or ``failed``.

    ``accuracy`` is macro accuracy on the validation split after ``epochs`` epochs (None where not trained).
    """

    number: int
    state: str
    params: int
    macs: int
    weight_bytes: int
    accuracy: float | None
    epochs: int
    reason: str = ""


@dataclass(frozen=True)
class FinalistRow:
    """One retrained network: cost, and accuracies over its seeds (fractions in [0, 1], macro over classes).

    ``role`` is ``finalist``, ``reference`` (a published design trained by the same recipe), ``undistilled`` (a finalist's
    twin trained with cross-entropy alone) or ``dense`` (a pruned finalist's twin of the same widths, trained from scratch).
    ``unseen_test`` is test accuracy on devices absent from training (empty where there are none). ``versions`` of an int8
    finalist: accuracies as ``fp32``, ``fp16``, ``ptq`` and ``qat``, by split (``validation``, ``test``) and group of devices
    (``all``, ``seen``, ``unseen``, ``device a``, ...), one for each seed, None where a seed was not trained so.
    ``averaged`` are those of test-time augmentation (``passes``, their ``macs`` a second, ``accuracies`` by split and group).
    ``stored_bytes`` are those of all tensors in its file (0: not counted): the official ``weight_bytes`` leave out the scales
    of int8 and count a folded BatchNorm as parameters of a byte.
    """

    name: str
    role: str
    trial: int | None
    params: int
    macs: int
    weight_bytes: int
    weight_type: str
    epochs: int
    teachers: tuple[str, ...]
    description: str
    validation: tuple[float, ...]
    test: tuple[float, ...]
    test_log_loss: tuple[float, ...]
    unseen_test: tuple[float, ...] = ()
    versions: dict[str, dict[str, dict[str, list[float | None]]]] = field(default_factory=dict)
    stored_bytes: int = 0
    averaged: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> FinalistRow:
        tuples = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        return FinalistRow(**tuples)


def mean_std(values: tuple[float, ...]) -> tuple[float, float]:
    """Mean and sample standard deviation (0 for one value)."""
    return mean(values), (stdev(values) if len(values) > 1 else 0.0)
