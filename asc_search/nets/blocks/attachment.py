"""Attachments any block family may take: squeeze-excitation, efficient channel attention, global response norm.

A family applies the attachment to its sum, before the last activation, unless its source puts it elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from asc_search.nets.blocks.common import at_least
from asc_search.nets.blocks.registry import Option
from asc_search.nets.ledger import Ledger, Map
from asc_search.nets.spec import LayerSpec, Scalar

KINDS = ("none", "se", "eca", "grn")

OPTIONS = {
    "attachment": Option("str", "none", "gate on the channels: squeeze-excitation, ECA or GRN", choices=KINDS),
    "reduction": Option("int", 8, "squeeze-excitation: channels over those of its narrow layer", low=1, high=64),
}
# Not prunable exactly. ECA mixes neighbours: without a channel those beside it are neighbours of others. GRN divides by
# the mean over all channels, to which a silent one still adds, as the shift all share has it sound again.
FIXED = {"attachment": ("eca", "grn")}


class SqueezeExcitation(nn.Module):
    """Scales each channel by a sigmoid computed from all channels' means (Hu et al. 2018).

    (batch, channel, freq, time) -> the same. The two linear layers are 1x1 convolutions on a 1x1 map, which cost the
    same and survive pruning and quantisation tools.
    """

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, squeeze, 1)
        self.wide = nn.Conv2d(squeeze, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = torch.relu(self.narrow(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.wide(gate))


class EfficientChannelAttention(nn.Module):
    """Scales each channel by a sigmoid of its and its neighbours' means (Wang et al. 2020), kernel 3.

    (batch, channel, freq, time) -> the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = self.conv(x.mean((2, 3)).unsqueeze(1)).sigmoid()
        return x * gate.transpose(1, 2).unsqueeze(3)


class GlobalResponseNorm(nn.Module):
    """GRN with scalar gamma and beta (CP-Mobile 2023): y = gamma * x * n + beta + x, n = ||x_c|| / mean_c ||x_c||."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.beta = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        norm = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
        gate = self.gamma * (norm / (norm.mean(dim=1, keepdim=True) + 1e-6)) + 1
        return x * gate + self.beta  # the formula above, with two passes over the map


def plan(channels: int, options: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The explicit options of the attachment to a map of ``channels``: its kind, and the narrow width of an SE."""
    kind = options["attachment"]
    if kind == "se":
        return {"attachment": kind, "squeeze": at_least(1, channels // options["reduction"])}
    return {"attachment": kind}


def price(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    """``x`` after the layer's attachment. SE: P = M = 2 c s + c + s; ECA: P = 3, M = 3 c; GRN: P = 2, M = 0."""
    kind = layer.options["attachment"]
    if kind == "se":
        mean = ledger.mean("se.mean", x)
        narrow = ledger.conv("se.narrow", mean, layer.options["squeeze"], bias=True, norm=False)
        return ledger.scale("se", x, ledger.conv("se.wide", narrow, x.channels, bias=True, norm=False))
    if kind == "eca":
        return ledger.scale("eca", x, ledger.eca("eca.conv", ledger.mean("eca.mean", x)))
    return ledger.scalars("grn", x, 2) if kind == "grn" else x


def build(layer: LayerSpec, channels: int) -> nn.Module:
    """The module of the layer's attachment to a map of ``channels``."""
    kind = layer.options["attachment"]
    if kind == "se":
        return SqueezeExcitation(channels, int(layer.options["squeeze"]))
    return {"eca": EfficientChannelAttention, "grn": GlobalResponseNorm, "none": nn.Identity}[str(kind)]()


def shrink(layer: LayerSpec, keep: Callable[[int], int], widths: Sequence[str] = ()) -> LayerSpec:
    """A block with its output, its attachment and the options named in ``widths`` mapped through ``keep``."""
    inner = [key for key in (*widths, "squeeze") if key in layer.options]
    options = {**layer.options, **{key: keep(layer.options[key]) for key in inner}}
    return replace(layer, out=keep(layer.out), options=options)
