"""Structured pruning with torch-pruning: channels of least importance go, tensors become smaller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch_pruning
from torch import nn
from torch_pruning import importance as measures

from asc_search.errors import NetworkError
from asc_search.nets.network import build
from asc_search.nets.spec import NetSpec


class _BatchNormScale(measures.BNScaleImportance):
    """Of a group without BatchNorm, which the library would leave as it is, the group norm."""

    def __call__(self, group: Any) -> torch.Tensor | None:
        scale = super().__call__(group)
        return measures.GroupMagnitudeImportance(p=2)(group) if scale is None else scale


_MEASURES: dict[str, Callable[[], measures.Importance]] = {  # what each is: space.pruning.Pruning
    "group_norm": lambda: measures.GroupMagnitudeImportance(p=2),
    "magnitude": lambda: measures.GroupMagnitudeImportance(p=1, group_reduction="first", normalizer=None),
    "bn_scale": _BatchNormScale,
    "taylor": measures.GroupTaylorImportance,
}


def prune_to(network: nn.Sequential, source: NetSpec, target: NetSpec, importance: str = "group_norm") -> nn.Sequential:
    """``network`` of ``source`` with as many channels of every layer removed as ``target`` has less, rebuilt from that.

    Those of the least ``importance`` (space.pruning.Pruning) go; ``taylor`` reads the gradients that ``network`` holds. The
    classifier keeps its classes. The result carries the surviving weights (SJTU-THU 2024, section 2.4).

    Raises:
        NetworkError: the pruned tensors are not those ``target`` says, or a layer has no gradients.
    """
    device = next(network.parameters()).device
    smaller = build(target).to(device)
    layers = {name: one for name, one in network.named_modules() if isinstance(one, nn.Conv2d | nn.Linear)}
    if importance == "taylor" and any(one.weight.grad is None for one in layers.values()):
        raise NetworkError("pruning.importance taylor needs gradients in every layer; please report this")
    widths = {name: one.weight.shape[0] for name, one in smaller.named_modules() if name in layers}
    # Half a channel more is kept than said, as the library cuts what floats make of it to a whole number.
    ratios = {one: 1 - (widths[name] + 0.5) / one.weight.shape[0] for name, one in layers.items() if name in widths}
    pruner = torch_pruning.pruner.BasePruner(
        network.eval(),
        torch.zeros(2, *source.input, device=device),
        importance=_MEASURES[importance](),
        pruning_ratio=0.0,
        pruning_ratio_dict=ratios,
        ignored_layers=_classifier(network),
        in_channel_groups={},  # the library's default is one dict shared by all pruners
        out_channel_groups={},
    )
    pruner.step()
    try:
        smaller.load_state_dict(network.state_dict())
    except RuntimeError as error:
        raise NetworkError(f"pruning did not give the widths the price assumed: {error}") from error
    return smaller


def _classifier(network: nn.Sequential) -> list[nn.Module]:
    """The layer that gives the classes, and a norm after it: their outputs stay."""
    layers = [one for one in network[-1].modules() if isinstance(one, nn.Conv2d | nn.Linear | nn.BatchNorm2d)]
    last = max(index for index, one in enumerate(layers) if not isinstance(one, nn.BatchNorm2d))
    return layers[last:]
