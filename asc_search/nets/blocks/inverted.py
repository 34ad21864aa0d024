"""The inverted residual both mobile families share: expand 1x1, a spatial middle, project 1x1, shortcut, ReLU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import nn

from asc_search.nets.blocks.common import conv_bn_layers, round_width, shortcut
from asc_search.nets.blocks.registry import Option
from asc_search.nets.cost import Cost, Shape, conv_bn
from asc_search.nets.spec import LayerSpec, Scalar

EXPANSION = Option("float", 2.1, "expanded width over input width, rounded to a multiple of 8", low=1.0, high=8.0)


class InvertedResidual(nn.Module):
    """Expand, ``middle``, project, add the shortcut, optional ``norm``, ReLU.

    Input (batch, inp, freq, time) -> output (batch, out, freq', time').
    """

    def __init__(self, layer: LayerSpec, inp: int, middle: nn.Module, norm: nn.Module | None = None) -> None:
        super().__init__()
        hidden = int(layer.options["hidden"])
        self.expand = nn.Sequential(*conv_bn_layers(inp, hidden, (1, 1)))
        self.middle = middle
        self.project = nn.Sequential(*conv_bn_layers(hidden, layer.out, (1, 1), act=False))
        self.shortcut = shortcut(inp, layer.out, layer.stride)
        self.norm = norm
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.middle(self.expand(x)))
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        return self.act(y if self.norm is None else self.norm(y))


def plan(name: str) -> Callable[[int, int, tuple[int, int], Mapping[str, Scalar]], LayerSpec]:
    """Planner of an inverted-residual family: the expansion ratio becomes the explicit width ``hidden``."""

    def planned(inp: int, out: int, stride: tuple[int, int], options: Mapping[str, Scalar]) -> LayerSpec:
        kept = {key: value for key, value in options.items() if key != "expansion"}
        return LayerSpec(name, out, stride, {**kept, "hidden": round_width(inp * float(options["expansion"]))})

    return planned


def price_frame(
    layer: LayerSpec, shape: Shape, middle: Callable[[LayerSpec, Shape], tuple[Cost, Shape]]
) -> tuple[Cost, Shape]:
    """Price of expand + ``middle`` + project; P = ci*e + e*co + 2e + 2co plus the middle's."""
    expand, inner = conv_bn("expand", shape, int(layer.options["hidden"]), (1, 1))
    spatial, inner = middle(layer, inner)
    project, out = conv_bn("project", inner, layer.out, (1, 1))
    return expand + spatial + project, out


def shrink(layer: LayerSpec, keep: Callable[[int], int]) -> LayerSpec:
    """The block with every width mapped through ``keep``."""
    options = {**layer.options, "hidden": keep(int(layer.options["hidden"]))}
    return replace(layer, out=keep(layer.out), options=options)
