"""Weight types: what a network's weights become when stored."""

from __future__ import annotations

import copy

import torch
from torch import nn

STORED = {"fp32": torch.float32, "fp16": torch.float16}


def stored_state(network: nn.Module, weight_type: str) -> dict[str, torch.Tensor]:
    """The state_dict with floating tensors in ``weight_type`` (``fp32`` or ``fp16``), on the CPU, contiguous."""
    kind = STORED[weight_type]
    return {
        name: (value.to(kind) if value.is_floating_point() else value).cpu().contiguous()
        for name, value in network.state_dict().items()
    }


def as_stored(network: nn.Module, weight_type: str) -> nn.Module:
    """A copy whose weights have been through ``weight_type`` and back, so that its accuracy is the stored one's.

    ``int8`` changes nothing: a network is float until its graph is quantised, and then as it is stored.
    """
    if weight_type not in STORED:
        return network
    twin = copy.deepcopy(network)
    twin.load_state_dict(stored_state(network, weight_type))
    return twin
