"""Optimisers by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from asc_search.errors import AscSearchError

# AdamW decouples the weight decay from the gradient; the others add it to the gradient (L2), as the reports that use them.
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "amsgrad": lambda parameters, **options: torch.optim.Adam(parameters, amsgrad=True, **options),
    "radam": torch.optim.RAdam,
    "sgd": torch.optim.SGD,
}
_FUSED = ("adamw", "adam", "amsgrad", "sgd")


def make_optimizer(
    network: nn.Module, lr: float, weight_decay: float, name: str = "adamw", momentum: float = 0.9
) -> torch.optim.Optimizer:
    """The optimiser ``name`` over all parameters; ``momentum`` is SGD's (Nesterov's), the others keep torch's betas.

    Raises:
        AscSearchError: no optimiser of that name.
    """
    if name not in OPTIMIZERS:
        raise AscSearchError(f"training.optimizer: {name!r} is not known; use one of {', '.join(OPTIMIZERS)}")
    options: dict[str, object] = {"lr": lr, "weight_decay": weight_decay}
    if name == "sgd":
        options |= {"momentum": momentum, "nesterov": momentum > 0}
    if name in _FUSED:
        options["fused"] = True  # one kernel a step: calls are what a step of a tiny network costs, on a CPU too
    return OPTIMIZERS[name](network.parameters(), **options)
