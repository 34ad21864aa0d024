"""THE training loop. Everything that trains here is a loss, batches and a hook given to ``fit``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from asc_search.audio.standardise import Standardise
from asc_search.errors import AscSearchError
from asc_search.nets.network import build
from asc_search.nets.spec import NetSpec
from asc_search.space.candidate import Training
from asc_search.train import checkpoint
from asc_search.train.allocator import keep_freed_memory
from asc_search.train.ema import Average
from asc_search.train.losses import Batch
from asc_search.train.optimizers import make_optimizer
from asc_search.train.pcgrad import pcgrad
from asc_search.train.schedules import schedule_of
from asc_search.train.watch import LOOK_EVERY, Watch

# (logits, batch) -> loss, or one for each task; also predicted=embedding, peers=logits, settled=True where the Recipe says so
Loss = Callable[..., torch.Tensor | tuple[torch.Tensor, ...]]
Batches = Callable[[int], Iterable[Batch]]  # epoch -> its batches

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Head:
    """A peer that is a linear layer from what it hears, (batch, width), to ``classes`` logits."""

    width: int
    classes: int


@dataclass(frozen=True)
class Recipe:
    """How ``fit`` trains: ``training`` without its augmentations, over ``epochs`` of ``steps_per_epoch`` batches.

    ``predicted`` is the width of an embedding that a linear layer predicts from the network's pooled features
    (``Network.pooled``) for the loss; 0 for none. It is trained and thrown away. ``peers`` are trained on the same batches,
    by ``training`` without ``ema_decay``; from epoch ``settled_from`` on (None: never) they learn no more.
    """

    training: Training
    epochs: int
    steps_per_epoch: int
    predicted: int = 0
    peers: tuple[NetSpec | Head, ...] = ()
    settled_from: int | None = None


@dataclass
class PeerState:
    """A network trained beside the student, with its own optimiser."""

    network: nn.Module
    optimizer: torch.optim.Optimizer


@dataclass
class TrainState:
    """A network in training, its spec and the epochs it has had; ``seed`` decides what its layers draw (dropout).

    Between epochs, hooks included, ``network`` holds the weights to evaluate, prune and store: with ``ema_decay`` the
    averaged ones. A hook may put another network and spec in place; it gets a new optimiser and average.
    ``standardise`` holds the statistics the network's inputs were standardised with, if any; its trainer puts them there.
    ``peers`` are the networks trained beside it, which stay as they are when another takes its place.
    """

    spec: NetSpec
    network: nn.Module
    seed: int
    epoch: int = 0
    standardise: Standardise | None = None
    peers: list[PeerState] = field(default_factory=list)
    optimizer: torch.optim.Optimizer = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)
    average: Average | None = field(init=False)
    regressor: nn.Linear | None = field(init=False)
    equipped: nn.Module | None = field(init=False, default=None)  # the network the four above belong to


def device() -> torch.device:
    """The device networks train on: CUDA where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def start(spec: NetSpec, recipe: Recipe, seed: int, network: nn.Module | None = None) -> TrainState:
    """A fresh network of ``spec`` and the recipe's peers, all initialised from ``seed``, no two alike.

    Where ``network`` is given it is trained on instead of a fresh one.

    Raises:
        AscSearchError: the recipe names an optimiser, schedule or precision that does not exist.
    """
    state = TrainState(spec, _fresh(spec, seed) if network is None else network.to(device()), seed)
    _equip(state, recipe)
    networks = [_fresh(peer, _derived(seed, number, 1)) for number, peer in enumerate(recipe.peers)]
    state.peers = [PeerState(network, _optimizer(network, recipe.training)) for network in networks]
    return state


def _fresh(spec: NetSpec | Head, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return (nn.Linear(spec.width, spec.classes) if isinstance(spec, Head) else build(spec)).to(device())


def restore(path: Path, recipe: Recipe, network: nn.Module | None = None) -> TrainState | None:
    """The state saved at ``path`` by ``fit``, or None where there is none to read; its weights go into ``network``, if given."""
    saved = checkpoint.load(path)
    if saved is None:
        return None
    state = start(NetSpec.from_json(saved.note["spec"]), recipe, saved.note["seed"], network)
    state.epoch = saved.note["epoch"]
    state.network.load_state_dict(saved.network)
    if state.regressor is not None:
        state.regressor.load_state_dict(saved.regressor)
    _restore_moments(state.optimizer, saved.optimizer)
    for peer, kept in zip(state.peers, saved.peers, strict=True):
        peer.network.load_state_dict(kept.network)
        _restore_moments(peer.optimizer, kept.optimizer)
    if saved.note["scaler"]:
        state.scaler.load_state_dict(saved.note["scaler"])
    if state.average is not None:
        state.average.restore(saved.aside, saved.note["averaged"])
    return state


def _restore_moments(optimizer: torch.optim.Optimizer, saved: Mapping[int, checkpoint.Tensors]) -> None:
    optimizer.load_state_dict({**optimizer.state_dict(), "state": saved})
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.dim() > 0:  # files hold contiguous tensors; fused steps want the parameter's own layout
                moments[name] = torch.empty_like(parameter).copy_(value)


def fit(
    state: TrainState,
    batches: Batches,
    loss: Loss,
    recipe: Recipe,
    until: int,
    *,
    save_to: Path | None = None,
    before_epoch: Callable[[TrainState], None] = lambda state: None,
    after_epoch: Callable[[TrainState], None] = lambda state: None,
) -> TrainState:
    """Train ``state`` up to epoch ``until`` of ``recipe.epochs``, saved after each; resuming gives the same weights.

    ``before_epoch`` may put another network in place (pruning); ``after_epoch`` reports. ``loss`` gets float32 logits
    whatever the precision; fp16 gradients are scaled, which makes CUDA wait in each step where the optimiser is not fused.
    With peers it is one number for all networks: its gradient in each is that of the network's own loss; each is clipped and
    stepped by itself. A tuple of losses is of several tasks, whose gradients meet by PCGrad.

    Raises:
        DivergedError: the loss is not finite or has exploded, or a weight is not finite; nothing of that epoch is saved.
    """
    keep_freed_memory()
    training, schedule = recipe.training, schedule_of(recipe.training)
    while state.epoch < until:
        before_epoch(state)
        if state.equipped is not state.network:
            _equip(state, recipe)
        network, scaler, average = state.network.train(), state.scaler, state.average
        settled = recipe.settled_from is not None and state.epoch >= recipe.settled_from
        peers = nn.ModuleList(peer.network for peer in state.peers).train(not settled)
        optimizers = [state.optimizer, *(peer.optimizer for peer in state.peers if not settled)]
        on = next(network.parameters()).device
        watch = Watch(state.epoch, every=LOOK_EVERY if on.type == "cuda" else 1)
        if average is not None:
            average.swap()
        order = torch.Generator().manual_seed(_derived(state.seed, state.epoch, 2))
        with _drawing_from(state.seed, state.epoch):
            for step, batch in enumerate(batches(state.epoch)):
                progress = (state.epoch + (step + 0.5) / recipe.steps_per_epoch) / recipe.epochs
                for group in chain.from_iterable(optimizer.param_groups for optimizer in optimizers):
                    group["lr"] = training.lr * schedule(min(1.0, progress))
                with _forward_in(training.precision, on):
                    logits, told = _outputs(network, state.regressor, peers, batch, settled)
                value = loss(logits.float(), batch, **told)
                tasks = value if isinstance(value, tuple) else (value,)
                watch.add(sum(tasks))
                for optimizer in optimizers:
                    optimizer.zero_grad(set_to_none=True)
                _backward(scaler.scale(tasks), state, order, settled)
                for optimizer in optimizers:
                    if training.grad_clip > 0:
                        scaler.unscale_(optimizer)
                        nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], training.grad_clip)
                    scaler.step(optimizer)
                scaler.update()
                if average is not None:
                    average.update()
        if average is not None:
            average.swap()
        watch.close(nn.ModuleList([network, *peers]), average)
        state.epoch += 1
        if save_to is not None:
            _save(save_to, state)
        after_epoch(state)
    return state


def _backward(tasks: Sequence[torch.Tensor], state: TrainState, order: torch.Generator, settled: bool) -> None:
    """The gradients of a loss, or of several tasks': by PCGrad in the network, summed in its peers unless ``settled``."""
    if len(tasks) == 1:
        tasks[0].backward()
        return
    pcgrad(tasks, state.optimizer.param_groups[0]["params"], order)
    of_peers = [parameter for peer in state.peers for parameter in peer.network.parameters()]
    if of_peers and not settled:
        sum(tasks).backward(inputs=of_peers)


def _equip(state: TrainState, recipe: Recipe) -> None:
    """Give the state's network a fresh optimiser, gradient scaler and average."""
    training, cuda = recipe.training, next(state.network.parameters()).is_cuda
    if training.precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise AscSearchError(f"training.precision: {training.precision!r} is not known; use one of {known}")
    schedule_of(training)
    state.regressor = _regressor(state, recipe.predicted) if recipe.predicted else None
    trained = state.network if state.regressor is None else nn.ModuleList([state.network, state.regressor])
    state.optimizer = _optimizer(trained, training)
    state.scaler = torch.amp.GradScaler("cuda", enabled=cuda and training.precision == "fp16")
    state.average = Average(state.network, training.ema_decay) if training.ema_decay > 0 else None
    state.equipped = state.network


def _optimizer(network: nn.Module, training: Training) -> torch.optim.Optimizer:
    return make_optimizer(network, training.lr, training.weight_decay, training.optimizer, training.momentum)


def _regressor(state: TrainState, width: int) -> nn.Linear:
    """The layer that predicts an embedding of ``width``, initialised from the state's seed."""
    on = next(state.network.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(state.seed)
        return nn.Linear(state.network.pooled_width, width).to(on)


def _outputs(
    network: nn.Module, regressor: nn.Linear | None, peers: nn.ModuleList, batch: Batch, settled: bool
) -> tuple[torch.Tensor, dict[str, Any]]:
    """The network's logits, and what else the loss gets, float32: the predicted embedding, peers' logits."""
    told: dict[str, Any] = {}
    if regressor is None:
        logits = network(batch.x)
    else:
        maps = network.trunk(batch.x)
        logits, told["predicted"] = network[-1](*maps), regressor(network.pooled(maps)).float()
    if len(peers):
        heard = batch.heard or (None,) * len(peers)
        with torch.set_grad_enabled(not settled):
            said = [peer(batch.x if own is None else own).float() for peer, own in zip(peers, heard, strict=True)]
        told |= {"peers": said, "settled": True} if settled else {"peers": said}
    return logits, told


def _save(path: Path, state: TrainState) -> None:
    average = state.average
    note = {
        "spec": state.spec.to_json(),
        "epoch": state.epoch,
        "seed": state.seed,
        "scaler": state.scaler.state_dict(),
        "averaged": 0 if average is None else average.updates,
    }
    aside = {} if average is None else average.aside
    regressor = {} if state.regressor is None else state.regressor.state_dict()
    peers = [(peer.network.state_dict(), peer.optimizer) for peer in state.peers]
    checkpoint.save(path, state.network.state_dict(), aside, regressor, state.optimizer, note, peers)


def _forward_in(precision: str, on: torch.device) -> torch.autocast:
    """The context of a forward pass; fp16 is for CUDA only: CPUs have no fast convolutions in it."""
    low = precision == "bf16" or (precision == "fp16" and on.type == "cuda")
    return torch.autocast(on.type, PRECISIONS[precision] if low else None, enabled=low)


@contextmanager
def _drawing_from(seed: int, epoch: int) -> Iterator[None]:
    """What layers draw in an epoch depends on (seed, epoch) alone; the caller's generators stay as they were."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(_derived(seed, epoch))
        yield


def _derived(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])
