"""SSCP: CP with its 3x3 depthwise convolution split into parallel (3,1) and (1,3) branches, and the matching stem.

Source: Han et al. (SJTU-THU), DCASE 2024 Task 1 report, section 2.1; the parallel fusion is that of the team's 2025 package.
"""

from __future__ import annotations

import torch
from torch import nn

from asc_search.nets.blocks import inverted, stem
from asc_search.nets.blocks.common import conv_bn_layers
from asc_search.nets.blocks.registry import Family
from asc_search.nets.cost import Cost, Shape, conv_bn
from asc_search.nets.spec import LayerSpec

TALL, WIDE = (3, 1), (1, 3)


class ParallelSum(nn.Module):
    """The sum of two branches on the same input: (batch, channel, freq, time) -> the branches' common shape."""

    def __init__(self, first: list[nn.Module], second: list[nn.Module]) -> None:
        super().__init__()
        self.first = nn.Sequential(*first)
        self.second = nn.Sequential(*second)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x) + self.second(x)


def _branches(layer: LayerSpec, shape: Shape) -> tuple[Cost, Shape]:
    tall, out = conv_bn("depthwise 3x1", shape, shape[0], TALL, layer.stride, groups=shape[0])
    wide, _ = conv_bn("depthwise 1x3", shape, shape[0], WIDE, layer.stride, groups=shape[0])
    return tall + wide, out


def _price(layer: LayerSpec, shape: Shape) -> tuple[Cost, Shape]:
    """P = ci*e + 6e + e*co + 6e + 2co; M = ci*e*FT + (6e + e*co)F'T' + 6e + 2co."""
    return inverted.price_frame(layer, shape, _branches)


def _build(layer: LayerSpec, inp: int) -> nn.Module:
    hidden = int(layer.options["hidden"])
    middle = ParallelSum(
        conv_bn_layers(hidden, hidden, TALL, layer.stride, groups=hidden),
        conv_bn_layers(hidden, hidden, WIDE, layer.stride, groups=hidden),
    )
    return inverted.InvertedResidual(layer, inp, middle)


def _price_stem(layer: LayerSpec, shape: Shape) -> tuple[Cost, Shape]:
    """P = 2(3q*cin + 3qb + 2q + 2b): both orders of the two kernels, summed."""
    total, out = Cost(), shape
    for path, (one, two) in (("a", (TALL, WIDE)), ("b", (WIDE, TALL))):
        first, inner = conv_bn(f"{path}.conv1", shape, int(layer.options["inner"]), one, (2, 2))
        second, out = conv_bn(f"{path}.conv2", inner, layer.out, two, layer.stride)
        total = total + first + second
    return total, out


def _build_stem(layer: LayerSpec, inp: int) -> nn.Module:
    inner = int(layer.options["inner"])

    def path(one: tuple[int, int], two: tuple[int, int]) -> list[nn.Module]:
        return conv_bn_layers(inp, inner, one, (2, 2)) + conv_bn_layers(inner, layer.out, two, layer.stride)

    return ParallelSum(path(TALL, WIDE), path(WIDE, TALL))


FAMILIES = (
    Family(
        name="sscp_stem",
        role="stem",
        doc="two parallel paths of (3,1) and (1,3) convolutions in both orders, the first layer with stride 2x2",
        options={},
        plan=stem.plan("sscp_stem"),
        price=_price_stem,
        build=_build_stem,
        shrink=stem.shrink,
    ),
    Family(
        name="sscp",
        role="block",
        doc="inverted residual with parallel (3,1) and (1,3) depthwise convolutions (SSCP-Mobile)",
        options={"expansion": inverted.EXPANSION},
        plan=inverted.plan("sscp"),
        price=_price,
        build=_build,
        shrink=inverted.shrink,
    ),
)
