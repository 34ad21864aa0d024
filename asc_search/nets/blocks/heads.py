"""Heads: from the last feature map (batch, channel, freq, time) to logits (batch, classes)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from asc_search.nets.blocks.common import conv_bn_layers
from asc_search.nets.blocks.registry import Family
from asc_search.nets.cost import Cost, Shape, conv_bn
from asc_search.nets.spec import LayerSpec, Scalar


def _plan(inp: int, out: int, stride: tuple[int, int], options: Mapping[str, Scalar]) -> LayerSpec:
    return LayerSpec("conv_head", out)


def _price(layer: LayerSpec, shape: Shape) -> tuple[Cost, Shape]:
    cost, out = conv_bn("classifier", shape, layer.out, (1, 1))
    return cost, (out[0], 1, 1)


def _build(layer: LayerSpec, inp: int) -> nn.Module:
    return nn.Sequential(*conv_bn_layers(inp, layer.out, (1, 1), act=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _keep_classes(layer: LayerSpec, keep: Callable[[int], int]) -> LayerSpec:
    return layer


FAMILIES = (
    Family(
        name="conv_head",
        role="head",
        doc="1x1 convolution to the classes, BatchNorm, mean over frequency and time",
        options={},
        plan=_plan,
        price=_price,
        build=_build,
        shrink=_keep_classes,
    ),
)
