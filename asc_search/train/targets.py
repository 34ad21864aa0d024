"""What teachers said of the training windows, and what of it a student is to learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from asc_search.errors import AscSearchError
from asc_search.space.candidate import Distillation
from asc_search.train.shares import Judged, shares_of

LEAST_DEVIATION = 1e-3  # of an embedding's column, below which it says nothing


@dataclass(frozen=True)
class Lesson:
    """What one teacher said of every window, mixtures last: ``logits`` (windows, classes), ``embedding`` (windows, width).

    ``held_out`` is what it said of the validation clips, logits (clips, classes), None where it did not hear them.
    """

    logits: np.ndarray
    embedding: np.ndarray
    held_out: np.ndarray | None = None


@dataclass(frozen=True)
class Embedding:
    """Rows of numbers about windows, ``values`` (windows, width), with their ``mean`` and ``deviation`` (width,)."""

    values: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    @staticmethod
    def of(values: np.ndarray) -> Embedding:
        """Of what a teacher, or several side by side, made of the windows."""
        mean, deviation = (each(0, dtype=np.float64).astype(np.float32) for each in (values.mean, values.std))
        return Embedding(values, mean, np.maximum(deviation, LEAST_DEVIATION))

    @property
    def width(self) -> int:
        return self.values.shape[1]

    def at(self, rows: np.ndarray, device: torch.device) -> torch.Tensor:
        """Standardised (rows, width) float32."""
        standardised = (self.values[rows].astype(np.float32) - self.mean) / self.deviation
        return torch.from_numpy(standardised).to(device)


@dataclass(frozen=True)
class Targets:
    """Logits (windows, teachers, classes), the ``shares`` (windows, teachers) that teachers count by, None for equal ones,
    and the embedding to predict, None without.
    """

    logits: np.ndarray
    shares: np.ndarray | None = None
    embedding: Embedding | None = None

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def predicted(self) -> int:
        """The width of the embedding that is to be predicted, 0 for none."""
        return 0 if self.embedding is None else self.embedding.width

    def at(
        self, rows: np.ndarray, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Logits (rows, teachers, classes), shares (rows, teachers) and embeddings (rows, width), None where there are
        none, float32."""
        logits = torch.from_numpy(self.logits[rows].astype(np.float32)).to(device)
        shares = None if self.shares is None else torch.from_numpy(self.shares[rows]).to(device)
        return logits, shares, None if self.embedding is None else self.embedding.at(rows, device)


def targets_of(
    lessons: Mapping[str, Lesson],
    plan: Distillation,
    devices: Sequence[str] = (),
    judged: Judged | None = None,
) -> Targets | None:
    """What a student of ``plan`` learns from its subset of the teachers; None for the empty one.

    Shares that are fitted need the ``judged`` clips, and by device also the ``devices`` of all windows.

    Raises:
        AscSearchError: shares are to be fitted, and a teacher did not hear the validation clips.
    """
    if not plan.teachers:
        return None
    chosen = [lessons[name] for name in plan.teachers]
    shares = None
    if plan.shares != "equal" and len(chosen) > 1:
        deaf = [name for name in plan.teachers if lessons[name].held_out is None]
        if deaf or judged is None:
            who = ", ".join(deaf) or "nobody"
            raise AscSearchError(
                f"distillation.shares: {plan.shares} is fitted on the validation clips, which {who} said nothing of; "
                "take shares: equal, or leave these teachers out"
            )
        shares = shares_of([lesson.held_out for lesson in chosen], judged, devices, plan.shares == "by_device")
    if plan.average == "logits":
        each = [lesson.logits.astype(np.float32) for lesson in chosen]
        parts = each if shares is None else [len(each) * shares[:, [k]] * one for k, one in enumerate(each)]
        logits, shares = np.mean(parts, axis=0)[:, None], None
    else:
        logits = np.stack([lesson.logits for lesson in chosen], axis=1)
    embedding = _side_by_side([lesson.embedding for lesson in chosen])
    if plan.features <= 0 or not embedding.shape[1]:
        return Targets(logits, shares)
    return Targets(logits, shares, Embedding.of(embedding))


def _side_by_side(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
