"""THE training loop. Everything that trains here is a loss, batches and a hook given to ``fit``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from asc_search.errors import DivergedError
from asc_search.nets.network import build
from asc_search.nets.spec import NetSpec
from asc_search.train import checkpoint
from asc_search.train.losses import Batch
from asc_search.train.schedules import warmup_cosine

Loss = Callable[[torch.Tensor, Batch], torch.Tensor]
Batches = Callable[[int], Iterable[Batch]]  # epoch -> its batches


@dataclass(frozen=True)
class Recipe:
    """Optimiser and schedule: AdamW, peak ``lr``, warm-up share, and the number of epochs the schedule spans."""

    lr: float
    weight_decay: float
    warmup: float
    epochs: int
    steps_per_epoch: int


@dataclass
class TrainState:
    """A network in training: its spec, module, optimiser and the epochs it has had."""

    spec: NetSpec
    network: nn.Sequential
    optimizer: torch.optim.Optimizer
    epoch: int = 0


def device() -> torch.device:
    """The device networks train on: CUDA where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_optimizer(network: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW over all parameters."""
    return torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=weight_decay)


def start(spec: NetSpec, recipe: Recipe, seed: int) -> TrainState:
    """A fresh network of ``spec``, initialised from ``seed``."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build(spec).to(device())
    return TrainState(spec, network, make_optimizer(network, recipe.lr, recipe.weight_decay))


def restore(path: Path, recipe: Recipe) -> TrainState | None:
    """The state saved at ``path`` by ``fit``, or None where there is none to read."""
    saved = checkpoint.load(path)
    if saved is None:
        return None
    weights, moments, note = saved
    state = start(NetSpec.from_json(note["spec"]), recipe, seed=0)
    state.network.load_state_dict(weights)
    blank = state.optimizer.state_dict()
    state.optimizer.load_state_dict({**blank, "state": moments})
    state.epoch = note["epoch"]
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

    ``before_epoch`` may replace network and optimiser (pruning); ``after_epoch`` reports.

    Raises:
        DivergedError: the loss is not finite or has exploded.
    """
    while state.epoch < until:
        before_epoch(state)
        state.network.train()
        for step, batch in enumerate(batches(state.epoch)):
            progress = (state.epoch + (step + 0.5) / recipe.steps_per_epoch) / recipe.epochs
            for group in state.optimizer.param_groups:
                group["lr"] = recipe.lr * warmup_cosine(min(1.0, progress), recipe.warmup)
            value = loss(state.network(batch.x), batch)
            if not math.isfinite(value.item()) or value.item() > 1e4:
                raise DivergedError(f"the loss became {value.item():g} in epoch {state.epoch + 1}, step {step + 1}")
            state.optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
            state.optimizer.step()
        state.epoch += 1
        if save_to is not None:
            checkpoint.save(
                save_to, state.network, state.optimizer, {"spec": state.spec.to_json(), "epoch": state.epoch}
            )
        after_epoch(state)
    return state
