"""THE training loop. Everything that trains here is a loss, batches and a hook given to ``fit``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from asc_search.audio.standardise import Standardise
from asc_search.errors import AscSearchError, DivergedError
from asc_search.nets.network import build
from asc_search.nets.spec import NetSpec
from asc_search.space.candidate import Training
from asc_search.train import checkpoint
from asc_search.train.allocator import keep_freed_memory
from asc_search.train.ema import Average
from asc_search.train.losses import Batch
from asc_search.train.optimizers import make_optimizer
from asc_search.train.schedules import schedule_of

Loss = Callable[..., torch.Tensor]  # (logits, batch), where ``Recipe.predicted`` also (predicted=embedding) -> loss
Batches = Callable[[int], Iterable[Batch]]  # epoch -> its batches

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
EXPLODED = 1e4  # nats; chance over ten classes is 2.3
LOOK_EVERY = 50  # steps between two looks at the losses on CUDA, where each look waits for the device


@dataclass(frozen=True)
class Recipe:
    """How ``fit`` trains: ``training`` without its augmentations, over ``epochs`` of ``steps_per_epoch`` batches.

    ``predicted`` is the width of an embedding that a linear layer beside the network predicts from its pooled features
    (``Network.pooled``) for the loss; 0 for none. The layer is trained and thrown away.
    """

    training: Training
    epochs: int
    steps_per_epoch: int
    predicted: int = 0


@dataclass
class TrainState:
    """A network in training, its spec and the epochs it has had; ``seed`` decides what its layers draw (dropout).

    Between epochs, hooks included, ``network`` holds the weights to evaluate, prune and store: with ``ema_decay`` the
    averaged ones. A hook may put another network and spec in place; it gets a new optimiser and average.
    ``standardise`` holds the statistics the network's inputs were standardised with, if any; its trainer puts them there.
    """

    spec: NetSpec
    network: nn.Sequential
    seed: int
    epoch: int = 0
    standardise: Standardise | None = None
    optimizer: torch.optim.Optimizer = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)
    average: Average | None = field(init=False)
    regressor: nn.Linear | None = field(init=False)
    equipped: nn.Sequential | None = field(init=False, default=None)  # the network the four above belong to


def device() -> torch.device:
    """The device networks train on: CUDA where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def start(spec: NetSpec, recipe: Recipe, seed: int) -> TrainState:
    """A fresh network of ``spec``, initialised from ``seed``.

    Raises:
        AscSearchError: the recipe names an optimiser, schedule or precision that does not exist.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = build(spec).to(device())
    state = TrainState(spec, network, seed)
    _equip(state, recipe)
    return state


def restore(path: Path, recipe: Recipe) -> TrainState | None:
    """The state saved at ``path`` by ``fit``, or None where there is none to read."""
    saved = checkpoint.load(path)
    if saved is None:
        return None
    state = start(NetSpec.from_json(saved.note["spec"]), recipe, saved.note["seed"])
    state.epoch = saved.note["epoch"]
    state.network.load_state_dict(saved.network)
    state.optimizer.load_state_dict({**state.optimizer.state_dict(), "state": saved.optimizer})
    if state.regressor is not None:
        state.regressor.load_state_dict(saved.regressor)
    for parameter, moments in state.optimizer.state.items():
        for name, value in moments.items():
            if value.dim() > 0:  # files hold contiguous tensors; fused steps want the parameter's own layout
                moments[name] = torch.empty_like(parameter).copy_(value)
    if saved.note["scaler"]:
        state.scaler.load_state_dict(saved.note["scaler"])
    if state.average is not None:
        state.average.restore(saved.aside, saved.note["averaged"])
    return state


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
    """Train ``state`` up to epoch ``until`` of ``recipe.epochs``, saving after each epoch; resuming gives the same weights.

    ``before_epoch`` may put another network in place (pruning); ``after_epoch`` reports. ``loss`` gets float32 logits
    whatever the precision; fp16 gradients are scaled, which makes CUDA wait in each step where the optimiser is not fused.

    Raises:
        DivergedError: the loss is not finite or has exploded, or a weight is not finite; nothing of that epoch is saved.
    """
    keep_freed_memory()
    training, schedule = recipe.training, schedule_of(recipe.training)
    while state.epoch < until:
        before_epoch(state)
        if state.equipped is not state.network:
            _equip(state, recipe)
        network, optimizer, scaler, average = state.network.train(), state.optimizer, state.scaler, state.average
        on = next(network.parameters()).device
        watch = _Watch(state.epoch, every=LOOK_EVERY if on.type == "cuda" else 1)
        if average is not None:
            average.swap()
        with _drawing_from(state.seed, state.epoch):
            for step, batch in enumerate(batches(state.epoch)):
                progress = (state.epoch + (step + 0.5) / recipe.steps_per_epoch) / recipe.epochs
                for group in optimizer.param_groups:
                    group["lr"] = training.lr * schedule(min(1.0, progress))
                with _forward_in(training.precision, on):
                    logits, told = _outputs(network, state.regressor, batch.x)
                value = loss(logits.float(), batch, **told)
                watch.add(value)
                optimizer.zero_grad(set_to_none=True)
                scaler.scale(value).backward()
                if training.grad_clip > 0:
                    scaler.unscale_(optimizer)
                    nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], training.grad_clip)
                scaler.step(optimizer)
                scaler.update()
                if average is not None:
                    average.update()
        if average is not None:
            average.swap()
        watch.close(network, average)
        state.epoch += 1
        if save_to is not None:
            _save(save_to, state)
        after_epoch(state)
    return state


def _equip(state: TrainState, recipe: Recipe) -> None:
    """Give the state's network a fresh optimiser, gradient scaler and average."""
    training, cuda = recipe.training, next(state.network.parameters()).is_cuda
    if training.precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise AscSearchError(f"training.precision: {training.precision!r} is not known; use one of {known}")
    schedule_of(training)
    state.regressor = _regressor(state, recipe.predicted) if recipe.predicted else None
    trained = state.network if state.regressor is None else nn.ModuleList([state.network, state.regressor])
    state.optimizer = make_optimizer(trained, training.lr, training.weight_decay, training.optimizer, training.momentum)
    state.scaler = torch.amp.GradScaler("cuda", enabled=cuda and training.precision == "fp16")
    state.average = Average(state.network, training.ema_decay) if training.ema_decay > 0 else None
    state.equipped = state.network


def _regressor(state: TrainState, width: int) -> nn.Linear:
    """The layer that predicts an embedding of ``width``, initialised from the state's seed."""
    on = next(state.network.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(state.seed)
        return nn.Linear(state.network.pooled_width, width).to(on)


def _outputs(
    network: nn.Module, regressor: nn.Linear | None, x: torch.Tensor
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The network's logits, and what else the loss gets: the embedding predicted from its features, float32."""
    if regressor is None:
        return network(x), {}
    maps = network.trunk(x)
    return network[-1](*maps), {"predicted": regressor(network.pooled(maps)).float()}


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
    checkpoint.save(path, state.network.state_dict(), aside, regressor, state.optimizer, note)


def _forward_in(precision: str, on: torch.device) -> torch.autocast:
    """The context of a forward pass; half precision is for CUDA only: CPUs have no fast convolutions in it."""
    low = precision == "bf16" or (precision == "fp16" and on.type == "cuda")
    return torch.autocast(on.type, PRECISIONS[precision] if low else None, enabled=low)


@contextmanager
def _drawing_from(seed: int, epoch: int) -> Iterator[None]:
    """What layers draw in an epoch depends on (seed, epoch) alone; the caller's generators are left as they were."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0]))
        yield


class _Watch:
    """Looks at the losses of an epoch, ``every`` so many steps and at its end, and then at the weights."""

    def __init__(self, epoch: int, every: int) -> None:
        self.epoch, self.every = epoch, every
        self.steps = 0
        self.waiting: list[torch.Tensor] = []

    def add(self, value: torch.Tensor) -> None:
        self.waiting.append(value.detach())
        if len(self.waiting) >= self.every:
            self._look()

    def close(self, network: nn.Module, average: Average | None) -> None:
        self._look()
        weights = [*network.state_dict().values(), *(average.aside.values() if average is not None else ())]
        if not torch.stack([value.isfinite().all() for value in weights]).all():
            raise DivergedError(f"the weights are not finite after epoch {self.epoch + 1}")

    def _look(self) -> None:
        for value in torch.stack(self.waiting).tolist() if self.waiting else ():
            self.steps += 1
            if not math.isfinite(value) or value > EXPLODED:
                raise DivergedError(f"the loss became {value:g} in epoch {self.epoch + 1}, step {self.steps}")
        self.waiting.clear()
