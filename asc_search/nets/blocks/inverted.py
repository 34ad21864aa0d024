"""The inverted residual the mobile families share: expand 1x1, a spatial middle, project 1x1, shortcut, ReLU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import nn

from asc_search.nets.blocks import attachment
from asc_search.nets.blocks.common import conv_bn_layers, round_width, same_width
from asc_search.nets.blocks.registry import Option, Place
from asc_search.nets.ledger import Ledger, Map
from asc_search.nets.spec import LayerSpec, Scalar

OPTIONS = {
    "expansion": Option("float", 2.1, "expanded width over input width, rounded to a multiple of 8", low=1.0, high=8.0),
    **attachment.OPTIONS,
}


class InvertedResidual(nn.Module):
    """Expand, ``middle``, project, add the shortcut, attachment, ReLU.

    Input (batch, inp, freq, time) -> output (batch, out, freq', time'). The shortcut is the identity, or 3x3 average
    pooling with the block's stride.
    """

    def __init__(self, layer: LayerSpec, inp: int, middle: nn.Module) -> None:
        super().__init__()
        hidden = int(layer.options["hidden"])
        self.expand = nn.Sequential(*conv_bn_layers(inp, hidden))
        self.middle = middle
        self.project = nn.Sequential(*conv_bn_layers(hidden, layer.out, act="none"))
        self.shortcut: nn.Module | None = None
        if layer.options["shortcut"]:
            self.shortcut = nn.Identity() if layer.stride == (1, 1) else nn.AvgPool2d(3, layer.stride, padding=1)
        self.attachment = attachment.build(layer, layer.out)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.middle(self.expand(x)))
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        return self.act(self.attachment(y))


def plan(inp: int, out: int, options: Mapping[str, Scalar], place: Place) -> dict[str, Scalar]:
    """Explicit options: the expanded width ``hidden``, and a ``shortcut`` where the width stays."""
    return {
        "hidden": round_width(inp * options["expansion"]),
        "shortcut": same_width(inp, out),
        **attachment.plan(out, options),
    }


def price(layer: LayerSpec, ledger: Ledger, x: Map, middle: Callable[[LayerSpec, Ledger, Map], Map]) -> Map:
    """P = ci*e + e*co + 2e + 2co plus the middle's and the attachment's."""
    y = ledger.conv("expand", x, layer.options["hidden"])
    y = ledger.conv("project", middle(layer, ledger, y), layer.out)
    if layer.options["shortcut"]:
        short = x if layer.stride == (1, 1) else ledger.pool("shortcut", x, (3, 3), layer.stride, (1, 1))
        y = ledger.add("add", y, short)
    return attachment.price(layer, ledger, y)


shrink = partial(attachment.shrink, widths=("hidden",))
