"""SSCP: CP with its 3x3 depthwise convolution split into (3,1) and (1,3) convolutions, and the matching stem.

Source: Han et al. (SJTU-THU), DCASE 2024 Task 1 report, section 2.1. The report's "fusion" is, in the team's 2025 package,
two parallel branches that are summed; ``serial`` is the other reading, one after the other (over budget at base 32).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from asc_search.nets.blocks import attachment, inverted, stem
from asc_search.nets.blocks.common import conv_bn_layers
from asc_search.nets.blocks.registry import Family, Option, Place
from asc_search.nets.cost import Shape
from asc_search.nets.ledger import Ledger, Map
from asc_search.nets.spec import LayerSpec, Scalar

TALL, WIDE = (3, 1), (1, 3)
FUSION = {
    "fusion": Option(
        "str", "parallel", "the two kernels side by side, summed, or in series", choices=("parallel", "serial")
    )
}


class ParallelSum(nn.Module):
    """The sum of two branches on the same input: (batch, channel, freq, time) -> the branches' common shape."""

    def __init__(self, first: list[nn.Module], second: list[nn.Module]) -> None:
        super().__init__()
        self.first = nn.Sequential(*first)
        self.second = nn.Sequential(*second)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x) + self.second(x)


def separable(inp: int, out: int, stride: tuple[int, int], groups: int = 1) -> list[nn.Module]:
    """(3,1) then (1,3) convolution, each with its axis' stride, BatchNorm and ReLU."""
    return [
        *conv_bn_layers(inp, out, TALL, (stride[0], 1), groups),
        *conv_bn_layers(out, out, WIDE, (1, stride[1]), groups),
    ]


def _price_separable(name: str, ledger: Ledger, x: Map, out: int, stride: tuple[int, int], groups: int = 1) -> Map:
    y = ledger.conv(f"{name} 3x1", x, out, TALL, (stride[0], 1), groups=groups)
    return ledger.conv(f"{name} 1x3", y, out, WIDE, (1, stride[1]), groups=groups)


def _depthwise(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    if layer.options["fusion"] == "serial":
        return _price_separable("depthwise", ledger, x, x.channels, layer.stride, x.channels)
    tall = ledger.conv("depthwise 3x1", x, x.channels, TALL, layer.stride, groups=x.channels)
    wide = ledger.conv("depthwise 1x3", x, x.channels, WIDE, layer.stride, groups=x.channels)
    return ledger.add("fusion", tall, wide)


def _plan(inp: int, out: int, options: Mapping[str, Scalar], place: Place) -> dict[str, Scalar]:
    return {**inverted.plan(inp, out, options, place), "fusion": options["fusion"]}


def _price(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    """P = ci*e + 6e + e*co + 6e + 2co; M = ci*e*FT + (6e + e*co)F'T' + 6e + 2co."""
    return inverted.price(layer, ledger, x, _depthwise)


def _build(layer: LayerSpec, shape: Shape) -> nn.Module:
    hidden = int(layer.options["hidden"])
    if layer.options["fusion"] == "serial":
        middle = nn.Sequential(*separable(hidden, hidden, layer.stride, hidden))
        return inverted.InvertedResidual(layer, shape[0], middle)
    middle = ParallelSum(
        conv_bn_layers(hidden, hidden, TALL, layer.stride, groups=hidden),
        conv_bn_layers(hidden, hidden, WIDE, layer.stride, groups=hidden),
    )
    return inverted.InvertedResidual(layer, shape[0], middle)


def _plan_stem(inp: int, out: int, options: Mapping[str, Scalar], place: Place) -> dict[str, Scalar]:
    return {**stem.plan(inp, out, options, place), "fusion": options["fusion"]}


def _price_stem(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    """Parallel: P = 2(3q*cin + 3qb + 2q + 2b), both orders of the two kernels, summed."""
    inner = layer.options["inner"]
    if layer.options["fusion"] == "serial":
        y = _price_separable("conv1", ledger, x, inner, (2, 2))
        return _price_separable("conv2", ledger, y, layer.out, layer.stride)
    paths = []
    for path, (one, two) in (("a", (TALL, WIDE)), ("b", (WIDE, TALL))):
        y = ledger.conv(f"{path}.conv1", x, inner, one, (2, 2))
        paths.append(ledger.conv(f"{path}.conv2", y, layer.out, two, layer.stride))
    return ledger.add("fusion", *paths)


def _build_stem(layer: LayerSpec, shape: Shape) -> nn.Module:
    inp, inner = shape[0], int(layer.options["inner"])
    if layer.options["fusion"] == "serial":
        return nn.Sequential(*separable(inp, inner, (2, 2)), *separable(inner, layer.out, layer.stride))

    def path(one: tuple[int, int], two: tuple[int, int]) -> list[nn.Module]:
        return conv_bn_layers(inp, inner, one, (2, 2)) + conv_bn_layers(inner, layer.out, two, layer.stride)

    return ParallelSum(path(TALL, WIDE), path(WIDE, TALL))


FAMILIES = (
    Family(
        name="sscp_stem",
        role="stem",
        doc="two layers of (3,1) and (1,3) convolutions, the first layer with stride 2x2, the second with the stem's",
        options=FUSION,
        plan=_plan_stem,
        price=_price_stem,
        build=_build_stem,
        shrink=stem.shrink,
    ),
    Family(
        name="sscp",
        role="block",
        doc="inverted residual with (3,1) and (1,3) depthwise convolutions (SSCP-Mobile)",
        options={**inverted.OPTIONS, **FUSION},
        plan=_plan,
        price=_price,
        build=_build,
        shrink=inverted.shrink,
        fixed=attachment.FIXED,
    ),
)
