"""How a finalist whose weights are int8 is quantised."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Int8:
    """Static quantisation first; where that loses more than ``tolerance`` points of validation accuracy, training.

    Quantisation-aware training goes on from the float network for ``epochs`` at ``lr`` times the training's learning rate,
    falling linearly to a tenth; for the last share ``frozen`` of the epochs the ranges of activations and the statistics of
    BatchNorms are fixed (CP-JKU 2023: 20 epochs, 0.056, a fifth).
    """

    tolerance: float = 1.0
    epochs: int = 10
    lr: float = 0.05
    frozen: float = 0.2
