"""What teachers said of the training windows, and what of it a student is to learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from asc_search.space.candidate import Distillation

LEAST_DEVIATION = 1e-3  # of an embedding's column, below which it says nothing


@dataclass(frozen=True)
class Lesson:
    """What one teacher said of every window, mixtures last: ``logits`` (windows, classes), ``embedding`` (windows, width)."""

    logits: np.ndarray
    embedding: np.ndarray


@dataclass(frozen=True)
class Targets:
    """Logits (windows, teachers, classes) and embeddings (windows, width) with their ``mean`` and ``deviation`` (width,).

    Without embeddings to predict, their width is 0.
    """

    logits: np.ndarray
    embedding: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def predicted(self) -> int:
        """The width of the embedding that is to be predicted."""
        return self.embedding.shape[1]

    def at(self, rows: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits (rows, teachers, classes) and standardised embeddings (rows, width), None without, float32."""
        logits = torch.from_numpy(self.logits[rows].astype(np.float32)).to(device)
        if not self.predicted:
            return logits, None
        embedding = (self.embedding[rows].astype(np.float32) - self.mean) / self.deviation
        return logits, torch.from_numpy(embedding).to(device)


def targets_of(lessons: Mapping[str, Lesson], plan: Distillation) -> Targets | None:
    """What a student of ``plan`` learns from its subset of the teachers; None for the empty one."""
    if not plan.teachers:
        return None
    chosen = [lessons[name] for name in plan.teachers]
    if plan.average == "logits":
        logits = np.mean([lesson.logits.astype(np.float32) for lesson in chosen], axis=0)[:, None]
    else:
        logits = np.stack([lesson.logits for lesson in chosen], axis=1)
    if plan.features <= 0:
        none = np.zeros(0, np.float32)
        return Targets(logits, np.zeros((len(logits), 0), np.float16), none, none)
    embedding = _side_by_side([lesson.embedding for lesson in chosen])
    mean = embedding.mean(0, dtype=np.float64).astype(np.float32)
    deviation = embedding.std(0, dtype=np.float64).astype(np.float32)
    return Targets(logits, embedding, mean, np.maximum(deviation, LEAST_DEVIATION))


def _side_by_side(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
