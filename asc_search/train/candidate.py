"""Training one candidate on one set of clips: the glue between a Candidate and ``fit``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from asc_search.data.clips import Clips
from asc_search.errors import AscSearchError
from asc_search.nets.spec import NetSpec
from asc_search.space.candidate import Candidate
from asc_search.space.space import Peer
from asc_search.train.batches import batch_count, epoch_batches
from asc_search.train.fit import Recipe, TrainState, device, fit, restore, start
from asc_search.train.groups import membership, two_tasks
from asc_search.train.inputs import Inputs, open_inputs
from asc_search.train.losses import distillation, mutual_learning
from asc_search.train.mixtures import Mixtures
from asc_search.train.responses import ALL_GENERATED, Responses
from asc_search.train.targets import Lesson, targets_of


@dataclass(frozen=True)
class Material:
    """What every training of a run shares: clips to learn from, where features are kept, what teachers said by name, device
    responses to hear the clips through, mixtures of the clips' windows, and by name the networks that may learn beside a
    student.

    Teachers spoke of the training clips' windows in order and, where there are mixtures, of those after them.
    """

    folder: Path
    training: Clips
    teachers: Mapping[str, Lesson]
    responses: Responses = ALL_GENERATED
    mixtures: Mixtures | None = None
    peers: Mapping[str, Peer] = field(default_factory=dict)

    def inputs(self, candidate: Candidate) -> Inputs:
        """What a training of ``candidate`` hears."""
        plan = candidate.distillation
        mixtures = self.mixtures if plan.mixed > 0 else None
        where = (self.folder, self.training, candidate.frontend, candidate.training)
        return open_inputs(*where, self.responses, device(), mixtures)

    def peers_of(self, candidate: Candidate) -> tuple[NetSpec, ...]:
        """The networks that learn beside ``candidate``, on its front end."""
        shape, classes = candidate.frontend.shape, len(self.training.classes)
        return tuple(self.peers[name].network(shape, classes) for name in candidate.distillation.peers)


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
    training, plan = candidate.training, candidate.distillation
    inputs = material.inputs(candidate)
    targets = targets_of(material.teachers, plan)
    if targets is not None and len(targets) < len(inputs.windows):
        raise AscSearchError(
            f"teachers heard {len(targets)} windows, the student {len(inputs.windows)}; please report this"
        )
    predicted = 0 if targets is None else targets.predicted
    recipe = Recipe(training, epochs, batch_count(inputs.windows, training), predicted, material.peers_of(candidate))
    state = restore(checkpoint, recipe) or start(candidate.network, recipe, seed)
    state.standardise = inputs.standardise
    loss = partial(mutual_learning if plan.peers else distillation, plan=plan, smoothing=training.label_smoothing)
    if candidate.groups:
        belongs = membership(candidate.groups, material.training.classes).to(device())
        loss = two_tasks(loss, belongs, training.label_smoothing)
    return fit(
        state,
        lambda epoch: epoch_batches(inputs, targets, training, seed, epoch, epochs, device(), plan.mixed),
        loss,
        recipe,
        epochs if until is None else until,
        save_to=checkpoint,
        before_epoch=before_epoch,
        after_epoch=after_epoch,
    )
