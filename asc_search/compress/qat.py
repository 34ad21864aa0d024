"""Quantisation-aware training: a float network goes on training with fake quantisation, by the one loop and its teachers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from asc_search.compress.pt2e import converted, extra_int8, prepared_for_training, set_training
from asc_search.space.candidate import Candidate
from asc_search.space.weight_type import Int8
from asc_search.train.candidate import Material, train_candidate
from asc_search.train.fit import TrainState

FINAL_LR = 0.1


class FakeQuantised(nn.Module):
    """A network with fake quantisation that trains as any module does: (batch, channel, freq, time) -> logits.

    Once ``frozen``, the ranges of activations and the statistics of BatchNorms stay as they are while weights still learn.
    """

    def __init__(self, prepared: fx.GraphModule) -> None:
        super().__init__()
        self.prepared = prepared
        self.frozen = False

    def freeze(self) -> None:
        """Fix ranges and statistics from now on."""
        self.frozen = True
        self.prepared.apply(extra_int8("torchao.quantization.pt2e").disable_observer)

    def train(self, mode: bool = True) -> FakeQuantised:
        """An exported graph has its modes in its operations."""
        self.training = mode
        set_training(self.prepared, mode and not self.frozen)
        return self

    def load_state_dict(self, state_dict: Mapping[str, torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """As any module's; torchao's observers would put a least scale of their own in place of the stored one."""
        loaded = super().load_state_dict(state_dict, *args, **kwargs)
        for name, value in self.named_buffers():
            if name.endswith(".eps"):
                value.copy_(state_dict[name])
        return loaded

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.prepared(x)


def train_quantised(
    candidate: Candidate,
    network: nn.Module,
    material: Material,
    calibration: np.ndarray,
    plan: Int8,
    checkpoint: Path,
    seed: int,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> fx.GraphModule:
    """The int8 network that the trained float ``network`` of ``candidate`` becomes by quantisation-aware training.

    Resumes from ``checkpoint``. It learns from the same teachers' logits; not from embeddings nor beside peers, whose layers
    and networks were thrown away.

    Raises:
        DivergedError: the training diverged.
        MissingExtraError: the extra ``int8`` is not installed.
    """
    fixed_from = plan.epochs - round(plan.frozen * plan.epochs)

    def freeze(state: TrainState) -> None:
        if state.epoch >= fixed_from and not state.network.frozen:
            state.network.freeze()

    state = train_candidate(
        recipe_of(candidate, plan),
        material,
        checkpoint,
        seed=seed,
        epochs=plan.epochs,
        before_epoch=freeze,
        after_epoch=lambda state: on_epoch(state.epoch),
        network=FakeQuantised(prepared_for_training(network, calibration)),
    )
    return converted(state.network.cpu().prepared)


def recipe_of(candidate: Candidate, plan: Int8) -> Candidate:
    """``candidate`` as it is trained with fake quantisation: lower, falling rate, float32, no average of weights."""
    training = replace(
        candidate.training,
        lr=candidate.training.lr * plan.lr,
        schedule="linear",
        warmup=0.0,
        hold=0.0,
        fall=1 - plan.frozen,
        final_lr=FINAL_LR,
        ema_decay=0.0,
        precision="fp32",
    )
    return replace(candidate, training=training, distillation=replace(candidate.distillation, features=0.0, peers=()))
