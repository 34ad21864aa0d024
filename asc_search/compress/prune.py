"""Structured pruning with torch-pruning: channels of least magnitude go, tensors become smaller."""

from __future__ import annotations

import torch
import torch_pruning
from torch import nn

from asc_search.errors import NetworkError
from asc_search.nets.network import build
from asc_search.nets.spec import NetSpec


def prune_to(network: nn.Sequential, source: NetSpec, target: NetSpec, ratio: float) -> nn.Sequential:
    """``network`` of ``source`` with the share ``ratio`` of every layer's channels removed, rebuilt from ``target``.

    Importance is the L2 magnitude of each group of coupled channels; the classifier keeps its classes. The result carries
    the surviving weights (SJTU-THU 2024, section 2.4, one shot).

    Raises:
        NetworkError: the pruned tensors are not those ``target`` says.
    """
    device = next(network.parameters()).device
    pruner = torch_pruning.pruner.BasePruner(
        network.eval(),
        torch.zeros(2, *source.input, device=device),
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        ignored_layers=_classifier(network),
        in_channel_groups={},  # the library's default is one dict shared by all pruners
        out_channel_groups={},
    )
    pruner.step()
    smaller = build(target).to(device)
    try:
        smaller.load_state_dict(network.state_dict())
    except RuntimeError as error:
        raise NetworkError(f"pruning at ratio {ratio:g} did not give the widths the price assumed: {error}") from error
    return smaller


def _classifier(network: nn.Sequential) -> list[nn.Module]:
    """The layer that gives the classes, and a norm after it: their outputs stay."""
    layers = [one for one in network[-1].modules() if isinstance(one, nn.Conv2d | nn.Linear | nn.BatchNorm2d)]
    last = max(index for index, one in enumerate(layers) if not isinstance(one, nn.BatchNorm2d))
    return layers[last:]
