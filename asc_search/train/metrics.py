"""Metrics of a classifier as the DCASE organisers compute them: macro accuracy and log loss, by class and by device.

``accuracy`` is the mean over classes of per-class recall, the official figure; ``micro_accuracy`` is that of all clips.
Log loss is in nats over all clips of the group it describes, with probabilities clipped as scikit-learn clips them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from asc_search.errors import DataError, DivergedError, Problem


@dataclass(frozen=True)
class Metrics:
    """How well ``clips`` clips were classified; accuracies in [0, 1], log losses in nats.

    ``class_wise`` maps every class to its recall (``accuracy``) and ``log_loss``, None where it has no clip;
    ``device_wise`` maps every known device to ``accuracy``, ``micro_accuracy``, ``log_loss`` and ``clips``;
    ``groups`` maps ``seen`` and ``unseen`` (devices of the training part, others) to ``accuracy``, ``micro_accuracy``
    and ``clips``, an empty group being left out; ``confusion`` counts clips, rows true class, columns predicted class.
    """

    clips: int
    accuracy: float
    micro_accuracy: float
    log_loss: float
    class_wise: dict[str, dict[str, float | None]]
    device_wise: dict[str, dict[str, float | int]]
    groups: dict[str, dict[str, float | int]]
    confusion: list[list[int]]

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
        seen = np.asarray([name in seen_devices for name in names.tolist()])
        members = {"seen": seen & (names != ""), "unseen": ~seen & (names != "")}
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


def _class_score(counts: np.ndarray, losses: np.ndarray, labels: np.ndarray, index: int) -> dict[str, float | None]:
    total = int(counts[index].sum())
    if total == 0:
        return {"accuracy": None, "log_loss": None}
    return {"accuracy": float(counts[index, index] / total), "log_loss": float(losses[labels == index].mean())}
