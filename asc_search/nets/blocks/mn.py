"""MN: the inverted residual of MobileNetV3, and its stem.

Sources: Howard et al., "Searching for MobileNetV3" (2019), section 5; Schmid et al., "Efficient Large-Scale Audio Tagging"
(2023), EfficientAT: squeeze-excitation with a plain sigmoid, BatchNorm eps 0.001. Its momentum of 0.01 is for trainings of
hundreds of thousands of steps: after a few hundred, as in a search, running statistics would be those of a network long gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from asc_search.nets.blocks import attachment, inverted, stem
from asc_search.nets.blocks.common import conv_bn_layers, round_width, same_width
from asc_search.nets.blocks.registry import Family, Option, Place, as_drawn
from asc_search.nets.cost import Shape
from asc_search.nets.ledger import Ledger, Map
from asc_search.nets.spec import LayerSpec, Scalar

EPS = 0.001
_conv = partial(conv_bn_layers, norm=partial(nn.BatchNorm2d, eps=EPS))

OPTIONS = {
    "expand": Option("bool", True, "1x1 expansion first; without it the expanded width is the input's"),
    "expansion": Option("float", 4.0, "expanded width over input width, rounded to a multiple of 8", low=1.0, high=8.0),
    "kernel": Option("int", 3, "kernel of the depthwise convolution", choices=(3, 5), branches=False),
    "act": Option(
        "str", "hard_swish", "activation of the expanded maps", choices=("relu", "hard_swish"), branches=False
    ),
    **attachment.OPTIONS,
    "attachment": replace(attachment.OPTIONS["attachment"], default="se"),
    "reduction": replace(attachment.OPTIONS["reduction"], default=4),
}


class MobileNetBlock(nn.Module):
    """Expand (if wanted), depthwise, attachment, linear projection, identity shortcut (if wanted).

    Input (batch, inp, freq, time) -> output (batch, out, freq', time').
    """

    def __init__(self, layer: LayerSpec, inp: int) -> None:
        super().__init__()
        hidden, kernel, act = int(layer.options["hidden"]), int(layer.options["kernel"]), str(layer.options["act"])
        self.expand = nn.Sequential(*_conv(inp, hidden, act=act)) if layer.options["expand"] else nn.Identity()
        self.depthwise = nn.Sequential(*_conv(hidden, hidden, (kernel, kernel), layer.stride, hidden, act))
        self.attachment = attachment.build(layer, hidden)
        self.project = nn.Sequential(*_conv(hidden, layer.out, act="none"))
        self.shortcut = _has_shortcut(layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.attachment(self.depthwise(self.expand(x))))
        return x + y if self.shortcut else y


def _has_shortcut(layer: LayerSpec) -> bool:
    return bool(layer.options["shortcut"]) and layer.stride == (1, 1)


def _plan(inp: int, out: int, options: Mapping[str, Scalar], place: Place) -> dict[str, Scalar]:
    """Explicit options: the widths ``hidden`` and (of an SE) ``squeeze``; ``shortcut`` holds where there is no stride."""
    expand = options["expand"]
    hidden = round_width(inp * options["expansion"]) if expand else inp
    gate = attachment.plan(hidden, options)
    if "squeeze" in gate:
        gate["squeeze"] = round_width(hidden / options["reduction"])
    return {
        "expand": expand,
        "hidden": hidden,
        "kernel": options["kernel"],
        "act": options["act"],
        "shortcut": same_width(inp, out),
        **gate,
    }


def _price(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    """P = (ci*e + 2e) + k*k*e + 2e + e*co + 2co plus the attachment's, the bracket only with an expansion."""
    hidden, kernel = layer.options["hidden"], layer.options["kernel"]
    if layer.options["expand"]:
        y = ledger.conv("expand", x, hidden)
    else:
        what = "without an expansion hidden must be the input's {}, not {}"
        ledger.require(x.channels == hidden, what, x.channels, hidden)
        y = x
    y = ledger.conv("depthwise", y, hidden, (kernel, kernel), layer.stride, groups=hidden)
    y = ledger.conv("project", attachment.price(layer, ledger, y), layer.out)
    return ledger.add("add", y, x) if _has_shortcut(layer) else y


def _build(layer: LayerSpec, shape: Shape) -> nn.Module:
    return MobileNetBlock(layer, shape[0])


def _price_stem(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    return ledger.conv("conv", x, layer.out, (3, 3), layer.stride)


def _build_stem(layer: LayerSpec, shape: Shape) -> nn.Module:
    return nn.Sequential(*_conv(shape[0], layer.out, (3, 3), layer.stride, act="hard_swish"))


FAMILIES = (
    Family(
        name="mn_stem",
        role="stem",
        doc="one 3x3 convolution with the stem's stride, hard-swish (MobileNetV3)",
        options={},
        plan=as_drawn,
        price=_price_stem,
        build=_build_stem,
        shrink=stem.shrink_width,
    ),
    Family(
        name="mn",
        role="block",
        doc="inverted residual with a gate on its expanded map and a linear end (MobileNetV3)",
        options=OPTIONS,
        plan=_plan,
        price=_price,
        build=_build,
        shrink=inverted.shrink,
        fixed=attachment.FIXED,
    ),
)
