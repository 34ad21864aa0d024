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
from asc_search.nets.spec import NetSpec
from asc_search.space.candidate import Candidate
from asc_search.space.teachers import HeadPeer, Peer
from asc_search.train import checkpoint as checkpoints
from asc_search.train.batches import batch_count, epoch_batches
from asc_search.train.fit import Head, Loss, Recipe, TrainState, device, fit, restore, start
from asc_search.train.groups import membership, two_tasks
from asc_search.train.inputs import Inputs, open_inputs
from asc_search.train.losses import Batch, distillation, mutual_learning
from asc_search.train.mixtures import Mixtures
from asc_search.train.model_file import load_model
from asc_search.train.responses import ALL_GENERATED, Responses
from asc_search.train.shares import Judged
from asc_search.train.targets import Embedding, Lesson, Targets, targets_of

GRADIENT_BATCHES = 4


@dataclass(frozen=True)
class Material:
    """What every training of a run shares: clips to learn from, where features are kept, what teachers said by name, device
    responses to hear the clips through, mixtures of the clips' windows, by name the networks that may learn beside a student,
    and the checkpoints of teachers, as which one may begin. ``judged`` are the clips that the shares of teachers are fitted
    on, None where they need none.

    Teachers spoke of the training clips' windows in order and, where there are mixtures, of those after them.
    """

    folder: Path
    training: Clips
    teachers: Mapping[str, Lesson]
    responses: Responses = ALL_GENERATED
    mixtures: Mixtures | None = None
    peers: Mapping[str, Peer | HeadPeer] = field(default_factory=dict)
    parents: Mapping[str, Path] = field(default_factory=dict)
    judged: Judged | None = None

    def inputs(self, candidate: Candidate) -> Inputs:
        """What a training of ``candidate`` hears."""
        plan = candidate.distillation
        mixtures = self.mixtures if plan.mixed > 0 else None
        where = (self.folder, self.training, candidate.frontend, candidate.training)
        return open_inputs(*where, self.responses, device(), mixtures)

    def peers_of(self, candidate: Candidate) -> tuple[NetSpec | Head, ...]:
        """The networks that learn beside ``candidate``: on its front end, or heads on what a teacher made of the windows."""
        shape, classes = candidate.frontend.shape, len(self.training.classes)
        peers = [self.peers[name] for name in candidate.distillation.peers]
        return tuple(
            Head(self.teachers[peer.teacher].embedding.shape[1], classes)
            if isinstance(peer, HeadPeer)
            else peer.network(shape, classes)
            for peer in peers
        )

    def heard_by(self, candidate: Candidate) -> tuple[Embedding | None, ...]:
        """For each peer the embeddings that it hears, None where that is the student's input."""
        peers = [self.peers[name] for name in candidate.distillation.peers]
        return tuple(
            Embedding.of(self.teachers[peer.teacher].embedding) if isinstance(peer, HeadPeer) else None
            for peer in peers
        )


@dataclass(frozen=True)
class Origin:
    """Where a training begins and what of: the ``weights``, or those in ``file`` (a model's, or a checkpoint), None for
    fresh ones, and a ``pair`` of classes that is half of every batch, None for all alike.
    """

    file: Path | None = None
    pair: tuple[int, int] | None = None
    weights: Mapping[str, torch.Tensor] | None = None

    def into(self, state: TrainState) -> None:
        """Put the weights of the file into the state's network.

        Raises:
            WeightsError: there are none, or they are another network's.
        """
        weights = self.weights
        if weights is None and self.file is not None:
            saved = checkpoints.load(self.file)
            weights = load_model(self.file).network.state_dict() if saved is None else saved.network
        if weights is None:
            return
        try:
            state.network.load_state_dict(weights)
        except RuntimeError:
            raise WeightsError(
                f"{self.file}: these are the weights of another network than the one that is to begin with them"
            ) from None
        state.equipped = None  # what goes with the network is made anew


@dataclass(frozen=True)
class Course:
    """What a training of ``candidate`` hears, what teachers said of it, what peers hear in place of it, and the loss that
    follows.
    """

    candidate: Candidate
    inputs: Inputs
    targets: Targets | None
    heard: tuple[Embedding | None, ...] = ()
    pair: tuple[int, int] | None = None

    def batches(self, seed: int, epoch: int, epochs: int) -> Iterator[Batch]:
        """The batches of one epoch of ``epochs``."""
        mixed, recipe = self.candidate.distillation.mixed, self.candidate.training
        return epoch_batches(
            self.inputs, self.targets, recipe, seed, epoch, epochs, device(), mixed, self.pair, self.heard
        )

    def loss(self, alone: bool = False) -> Loss:
        """The loss by logits and batch; ``alone``, the student's without its peers."""
        plan, smoothing = self.candidate.distillation, self.candidate.training.label_smoothing
        taught = mutual_learning if plan.peers and not alone else distillation
        loss: Loss = partial(taught, plan=plan, smoothing=smoothing)
        if not self.candidate.groups:
            return loss
        belongs = membership(self.candidate.groups, self.inputs.windows.clips.classes).to(device())
        return two_tasks(loss, belongs, smoothing)


def course_of(candidate: Candidate, material: Material, pair: tuple[int, int] | None = None) -> Course:
    """The course of a training of ``candidate`` on ``material``, half of it of a ``pair`` of classes if there is one.

    Raises:
        AscSearchError: shares of teachers cannot be fitted.
    """
    inputs, clips = material.inputs(candidate), material.training
    devices: list[str] = []
    if candidate.distillation.shares != "equal":
        spoken = inputs.windows if inputs.windows.mixtures else inputs.windows.with_mixtures(material.mixtures)
        devices = [clips.devices[row] for row in spoken.clip_of]
    targets = targets_of(material.teachers, candidate.distillation, devices, material.judged)
    if targets is not None and len(targets) < len(inputs.windows):
        raise AscSearchError(
            f"teachers heard {len(targets)} windows, the student {len(inputs.windows)}; please report this"
        )
    return Course(candidate, inputs, targets, material.heard_by(candidate), pair)


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
    origin: Origin | None = None,
) -> TrainState:
    """Train ``candidate`` to epoch ``until`` (default all) of a schedule over ``epochs``, resuming from ``checkpoint``.

    It begins at ``origin`` where there is one, else as the candidate's parent, if it has one, else with fresh weights;
    ``network`` is trained on in its stead, if given.

    Raises:
        DivergedError: the loss is not finite or has exploded.
        WeightsError: there are no weights to begin with, or they are another network's.
        AscSearchError: shares of teachers cannot be fitted.
    """
    course = course_of(candidate, material, None if origin is None else origin.pair)
    predicted = 0 if course.targets is None else course.targets.predicted
    steps = batch_count(course.inputs.windows, candidate.training, course.pair)
    peers, until_epoch = material.peers_of(candidate), round(candidate.distillation.mutual_until * epochs)
    recipe = Recipe(candidate.training, epochs, steps, predicted, peers, until_epoch)
    state = restore(checkpoint, recipe, network)
    if state is None:
        state = start(candidate.network, recipe, seed, network)
        if origin is None and network is None and candidate.parent:
            origin = Origin(material.parents[candidate.parent])
        if origin is not None:
            origin.into(state)
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
