"""Training one candidate on one set of clips: the glue between a Candidate and ``fit``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from asc_search.data.clips import Clips
from asc_search.errors import AscSearchError, WeightsError
from asc_search.nets.network import build
from asc_search.nets.spec import NetSpec
from asc_search.space.candidate import Candidate
from asc_search.space.space import Peer
from asc_search.train.batches import batch_count, epoch_batches
from asc_search.train.checkpoint import load as load_checkpoint
from asc_search.train.fit import Loss, Recipe, TrainState, device, fit, restore, start
from asc_search.train.groups import membership, two_tasks
from asc_search.train.inputs import Inputs, open_inputs
from asc_search.train.losses import Batch, distillation, mutual_learning
from asc_search.train.mixtures import Mixtures
from asc_search.train.responses import ALL_GENERATED, Responses
from asc_search.train.targets import Lesson, Targets, targets_of

GRADIENT_BATCHES = 4


@dataclass(frozen=True)
class Material:
    """What every training of a run shares: clips to learn from, where features are kept, what teachers said by name, device
    responses to hear the clips through, mixtures of the clips' windows, by name the networks that may learn beside a student,
    and the checkpoints of the teachers as which one may begin.

    Teachers spoke of the training clips' windows in order and, where there are mixtures, of those after them.
    """

    folder: Path
    training: Clips
    teachers: Mapping[str, Lesson]
    responses: Responses = ALL_GENERATED
    mixtures: Mixtures | None = None
    peers: Mapping[str, Peer] = field(default_factory=dict)
    parents: Mapping[str, Path] = field(default_factory=dict)

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


@dataclass(frozen=True)
class Course:
    """What a training of ``candidate`` hears, what teachers said of it, and the loss that follows."""

    candidate: Candidate
    inputs: Inputs
    targets: Targets | None

    def batches(self, seed: int, epoch: int, epochs: int) -> Iterator[Batch]:
        """The batches of one epoch of ``epochs``."""
        mixed = self.candidate.distillation.mixed
        return epoch_batches(self.inputs, self.targets, self.candidate.training, seed, epoch, epochs, device(), mixed)

    def loss(self, alone: bool = False) -> Loss:
        """The loss by logits and batch; ``alone``, the student's without its peers."""
        plan, smoothing = self.candidate.distillation, self.candidate.training.label_smoothing
        taught = mutual_learning if plan.peers and not alone else distillation
        loss: Loss = partial(taught, plan=plan, smoothing=smoothing)
        if not self.candidate.groups:
            return loss
        belongs = membership(self.candidate.groups, self.inputs.windows.clips.classes).to(device())
        return two_tasks(loss, belongs, smoothing)


def course_of(candidate: Candidate, material: Material) -> Course:
    """The course of a training of ``candidate`` on ``material``."""
    inputs, targets = material.inputs(candidate), targets_of(material.teachers, candidate.distillation)
    if targets is not None and len(targets) < len(inputs.windows):
        raise AscSearchError(
            f"teachers heard {len(targets)} windows, the student {len(inputs.windows)}; please report this"
        )
    return Course(candidate, inputs, targets)


def parent_weights(path: Path) -> Mapping[str, torch.Tensor]:
    """The network's state_dict in the checkpoint of a trained teacher.

    Raises:
        WeightsError: there is none.
    """
    saved = load_checkpoint(path)
    if saved is None:
        raise WeightsError(
            f"{path}: the fine-tuned network is gone; delete the folder logits beside teachers to tune it anew"
        )
    return saved.network


def leave_gradients(candidate: Candidate, material: Material, state: TrainState, epochs: int) -> None:
    """Put into the parameters of ``state``'s network the gradients of the loss summed over ``GRADIENT_BATCHES`` batches.

    They are the first of the epoch of ``epochs`` that comes next (after the last, of that), heard in evaluation mode and
    float32: nothing of the state changes. A loss on embeddings is left out, as its layer is thrown away.
    """
    course, network = course_of(candidate, material), state.network.eval()
    loss = course.loss(alone=True)
    network.zero_grad(set_to_none=True)
    for batch in islice(course.batches(state.seed, min(state.epoch, epochs - 1), epochs), GRADIENT_BATCHES):
        value = loss(network(batch.x), batch)
        (sum(value) if isinstance(value, tuple) else value).backward()


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
    network: nn.Module | None = None,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> TrainState:
    """Train ``candidate`` to epoch ``until`` (default all) of a schedule over ``epochs``, resuming from ``checkpoint``.

    A new training begins with ``weights``, else with those of the candidate's parent, if it has one, else afresh;
    ``network`` is trained on in its stead, if given.

    Raises:
        DivergedError: the loss is not finite or has exploded.
        WeightsError: the parent's checkpoint is gone.
    """
    course = course_of(candidate, material)
    predicted = 0 if course.targets is None else course.targets.predicted
    steps = batch_count(course.inputs.windows, candidate.training)
    recipe = Recipe(candidate.training, epochs, steps, predicted, material.peers_of(candidate))
    state = restore(checkpoint, recipe, network)
    if state is None:
        begun = parent_weights(material.parents[candidate.parent]) if weights is None and candidate.parent else weights
        if network is None and begun is not None:
            network = build(candidate.network)
            network.load_state_dict(begun)
        state = start(candidate.network, recipe, seed, network)
    state.standardise = course.inputs.standardise
    return fit(
        state,
        lambda epoch: course.batches(seed, epoch, epochs),
        course.loss(),
        recipe,
        epochs if until is None else until,
        save_to=checkpoint,
        before_epoch=before_epoch,
        after_epoch=after_epoch,
    )
