"""What the rules of 2022 fix: every parameter an int8."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from asc_search.train.model_file import Model

LARGEST = 127


def rounded(value: torch.Tensor) -> torch.Tensor:
    """``value`` as int8 times a scale, float32: a scale an output channel for weights, one for a vector."""
    value = value.float()
    over = tuple(range(1, value.dim())) if value.dim() > 1 else (0,)
    scale = value.abs().amax(over, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / LARGEST
    return (value / scale).round() * scale


def in_int8(model: Model) -> Model:
    """``model`` with every parameter rounded to int8; statistics, which fold into scales, stay as they are.

    Its candidate says ``fp32``, the type the rounded values are computed in. One that is int8 already stays as it is.
    """
    if model.candidate.weight_type == "int8":
        return model
    network = copy.deepcopy(model.network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(rounded(parameter))
    return replace(model, candidate=replace(model.candidate, weight_type="fp32"), network=network)
