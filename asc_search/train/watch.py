"""Looking out for divergence: losses that explode, and losses or weights that are not finite."""

from __future__ import annotations

import math

import torch
from torch import nn

from asc_search.errors import DivergedError
from asc_search.train.ema import Average

EXPLODED = 1e4  # nats; chance over ten classes is 2.3
LOOK_EVERY = 50  # steps between two looks at the losses on CUDA, where each look waits for the device


class Watch:
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
