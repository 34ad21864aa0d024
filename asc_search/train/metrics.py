"""Metrics of a classifier as the DCASE organisers compute them: macro accuracy and log loss, by class and by device.

``accuracy`` is the mean over classes of per-class recall: the official figure, by device too until 2023.
``micro_accuracy`` is the share of all clips: what the baselines of 2024 and 2025 print by device and group.
Log loss is in nats over all clips of the group it describes, with probabilities clipped as scikit-learn clips them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from asc_search.errors import DataError, DivergedError, Problem

REAL_DEVICES = ("a", "b", "c")  # the recording devices of TAU; its s1, s2, ... are simulated
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Metrics:
    """How well ``clips`` clips were classified; accuracies in [0, 1], log losses in nats.

    ``class_wise`` maps every class to its recall (``accuracy``) and ``log_loss``, None where it has no clip;
    ``device_wise`` maps every known device to ``accuracy``, ``micro_accuracy``, ``log_loss`` and ``clips``;
    ``groups`` maps ``real`` (a, b, c of the training part), ``seen`` (its other devices) and ``unseen`` (devices it has
    not) to ``accuracy``, ``micro_accuracy`` and ``clips``, an empty group being left out; ``confusion`` counts clips, rows
    true class, columns predicted class; ``calibration_error`` is :func:`expected_calibration_error`.
    """

    clips: int
    accuracy: float
    micro_accuracy: float
    log_loss: float
    class_wise: dict[str, dict[str, float | None]]
    device_wise: dict[str, dict[str, float | int]]
    groups: dict[str, dict[str, float | int]]
    confusion: list[list[int]]
    calibration_error: float | None = None  # None where read from a file older than it

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Metrics:
        return Metrics(**data)


def evaluate(
    probabilities: np.ndarray,
    labels: np.ndarray | Sequence[int],
    classes: Sequence[str],
    devices: Sequence[str] | None = None,
    seen_devices: Collection[str] | None = None,
) -> Metrics:
    """Score ``probabilities`` (clips, classes) against ``labels`` (clips,), indices into ``classes``.

    ``devices`` (clips,) names each clip's device, '' where unknown, which counts in no device and no group;
    ``seen_devices`` are those of the training part. The predicted class is the most probable, the first of equals.

    Raises:
        DataError: no clips, or clips without a label in ``classes``.
        DivergedError: probabilities that are not finite.
        ValueError: shapes that do not belong together.
    """
    probabilities, labels = np.asarray(probabilities), np.asarray(labels, dtype=np.int64)
    if probabilities.shape != (len(labels), len(classes)):
        raise ValueError(f"probabilities {probabilities.shape} for {len(labels)} labels and {len(classes)} classes")
    if devices is not None and len(devices) != len(labels):
        raise ValueError(f"{len(devices)} devices for {len(labels)} labels")
    if len(labels) == 0:
        raise DataError("Nothing to evaluate:", [Problem("clips", "the split has no clips")])
    unlabelled = int(np.count_nonzero((labels < 0) | (labels >= len(classes))))
    if unlabelled:
        what = f"{unlabelled} of {len(labels)} have no label among the {len(classes)} classes"
        raise DataError("Cannot be evaluated:", [Problem("clips", what)], "Evaluate a labelled split.")
    if not np.isfinite(probabilities).all():
        bad = int(np.count_nonzero(~np.isfinite(probabilities).all(axis=1)))
        raise DivergedError(f"the network's output is not finite for {bad} of {len(labels)} clips")

    predicted = probabilities.argmax(axis=1)
    counts = confusion_counts(predicted, labels, len(classes))
    losses = clip_losses(probabilities, labels)
    names = np.asarray(devices if devices is not None else [""] * len(labels), dtype=str)

    def part(rows: np.ndarray) -> dict[str, float | int]:
        accuracy, micro_accuracy = accuracies(confusion_counts(predicted[rows], labels[rows], len(classes)))
        return {"accuracy": accuracy, "micro_accuracy": micro_accuracy, "clips": int(np.count_nonzero(rows))}

    groups = {}
    if seen_devices is not None:
        seen, real = np.isin(names, list(seen_devices)), np.isin(names, REAL_DEVICES)
        members = {"real": seen & real, "seen": seen & ~real, "unseen": ~seen}
        members = {name: rows & (names != "") for name, rows in members.items()}
        groups = {name: part(rows) for name, rows in members.items() if rows.any()}

    accuracy, micro_accuracy = accuracies(counts)
    return Metrics(
        clips=len(labels),
        accuracy=accuracy,
        micro_accuracy=micro_accuracy,
        log_loss=float(losses.mean()),
        class_wise={name: _class_score(counts, losses, labels, index) for index, name in enumerate(classes)},
        device_wise={
            device: {**part(names == device), "log_loss": float(losses[names == device].mean())}
            for device in sorted(set(names.tolist()) - {""}, key=lambda name: (len(name), name))
        },
        groups=groups,
        confusion=counts.tolist(),
        calibration_error=expected_calibration_error(probabilities.max(axis=1), predicted == labels),
    )


def confusion_counts(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Clips by true class (row) and predicted class (column), int64 (classes, classes)."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def accuracies(counts: np.ndarray) -> tuple[float, float]:
    """Macro accuracy (mean recall of the classes that have clips) and micro accuracy of a confusion matrix."""
    totals = counts.sum(axis=1)
    present = totals > 0
    recalls = counts.diagonal()[present] / totals[present]
    return float(recalls.mean()), float(counts.trace() / totals.sum())


def clip_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Minus log of the true class's probability, float64 (clips,), clipped to [eps, 1 - eps] of the input's type."""
    eps = np.finfo(probabilities.dtype if probabilities.dtype.kind == "f" else np.float64).eps
    true = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.clip(true, eps, 1 - eps).astype(np.float64))


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Mean |accuracy - confidence| over 15 equal-width bins of the confidence, weighted by their clips; in [0, 1].

    ``confidence`` (clips,) is the predicted class's probability, ``correct`` (clips,) whether it is the true one; a bin
    contains its upper edge (Guo et al. 2017, section 2).
    """
    inner = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
    gaps = np.bincount(np.searchsorted(inner, confidence), correct - confidence.astype(np.float64))
    return float(np.abs(gaps).sum() / len(confidence))


def _class_score(counts: np.ndarray, losses: np.ndarray, labels: np.ndarray, index: int) -> dict[str, float | None]:
    total = int(counts[index].sum())
    if total == 0:
        return {"accuracy": None, "log_loss": None}
    return {"accuracy": float(counts[index, index] / total), "log_loss": float(losses[labels == index].mean())}
