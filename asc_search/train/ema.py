"""Exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn


class Average:
    """A network's weights twice: as trained and as averaged. One set is in the network, the other lies ``aside``.

    average <- d * average + (1 - d) * trained, with d = min(``decay``, (1 + n) / (10 + n)) after n updates, so that a short
    training does not average its random start. BatchNorm's statistics are averaged too; counts are copied.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._inside = network.state_dict()  # the network's own tensors, not copies
        self.aside = {name: value.clone() for name, value in self._inside.items()}
        self._floats = [name for name, value in self.aside.items() if value.is_floating_point()]
        self._counts = [name for name, value in self.aside.items() if not value.is_floating_point()]

    def restore(self, aside: Mapping[str, torch.Tensor], updates: int) -> None:
        """Continue with the weights aside that were saved after ``updates`` updates."""
        for name, value in self.aside.items():
            value.copy_(aside[name])
        self.updates = updates

    def update(self) -> None:
        """Take the step just made into the average; the network holds the trained weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages, trained = ([part[name] for name in self._floats] for part in (self.aside, self._inside))
        torch._foreach_lerp_(averages, trained, 1 - decay)
        for name in self._counts:
            self.aside[name].copy_(self._inside[name])
        self.updates += 1

    def swap(self) -> None:
        """Exchange the weights in the network with those aside."""
        for name, inside in self._inside.items():
            held = inside.clone()
            inside.copy_(self.aside[name])
            self.aside[name].copy_(held)
