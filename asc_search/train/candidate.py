"""Training one candidate on one set of clips: the glue between a Candidate and ``fit``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from asc_search.data.clips import Clips
from asc_search.errors import AscSearchError
from asc_search.space.candidate import Candidate
from asc_search.train.batches import batch_count, epoch_batches
from asc_search.train.fit import Recipe, TrainState, device, fit, restore, start
from asc_search.train.inputs import open_inputs
from asc_search.train.losses import distillation
from asc_search.train.responses import ALL_GENERATED, Responses


@dataclass(frozen=True)
class Material:
    """What every training of a run shares: clips to learn from, where features are kept, teachers' logits by name, and
    device responses to hear the clips through.

    Logits are (windows, classes) arrays in the order of the training clips' windows.
    """

    folder: Path
    training: Clips
    teachers: Mapping[str, np.ndarray]
    responses: Responses = ALL_GENERATED

    def subset_logits(self, names: tuple[str, ...]) -> np.ndarray | None:
        """Mean logits (windows, classes) of a teacher subset; None for the empty one."""
        if not names:
            return None
        return np.mean([self.teachers[name].astype(np.float32) for name in names], axis=0)


def train_candidate(
    candidate: Candidate,
    material: Material,
    checkpoint: Path,
    *,
    seed: int,
    epochs: int,
    until: int | None = None,
    before_epoch: Callable[[TrainState], None] = lambda state: None,
    after_epoch: Callable[[TrainState], None] = lambda state: None,
) -> TrainState:
    """Train ``candidate`` to epoch ``until`` (default all) of a schedule over ``epochs``, resuming from ``checkpoint``.

    Raises:
        DivergedError: the loss is not finite or has exploded.
    """
    training = candidate.training
    inputs = open_inputs(material.folder, material.training, candidate.frontend, training, material.responses, device())
    recipe = Recipe(training, epochs, batch_count(inputs.windows, training))
    state = restore(checkpoint, recipe) or start(candidate.network, recipe, seed)
    state.standardise = inputs.standardise
    teacher = material.subset_logits(candidate.distillation.teachers)
    if teacher is not None and len(teacher) != len(inputs.windows):
        raise AscSearchError(
            f"teachers heard {len(teacher)} windows, the student {len(inputs.windows)}; please report this"
        )
    plan = candidate.distillation
    return fit(
        state,
        lambda epoch: epoch_batches(inputs, teacher, training, seed, epoch, epochs, device()),
        partial(distillation, temperature=plan.temperature, weight=plan.weight, smoothing=training.label_smoothing),
        recipe,
        epochs if until is None else until,
        save_to=checkpoint,
        before_epoch=before_epoch,
        after_epoch=after_epoch,
    )
