"""From NetSpec to module and to price: the two walks over the layers of a spec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from asc_search.errors import NetworkError
from asc_search.nets.blocks import family
from asc_search.nets.cost import Cost
from asc_search.nets.spec import NetSpec


def price(spec: NetSpec) -> Cost:
    """The exact cost of ``spec`` for one input window, from closed forms; no module is built.

    Raises:
        NetworkError: a width or stride is below 1, or a feature map becomes empty; the message names the layer.
    """
    total, shape = Cost(), spec.input
    for index, layer in enumerate(spec.layers):
        if layer.out < 1 or min(layer.stride) < 1:
            raise NetworkError(
                f"layer {index} ({layer.family}): width {layer.out} and stride {layer.stride} must be 1 or more"
            )
        cost, shape = family(layer.family).price(layer, shape)
        if min(shape) < 1:
            raise NetworkError(
                f"layer {index} ({layer.family}): its output map is {shape[1]}x{shape[2]} (freq x time); "
                f"use a larger input than {spec.input[1]}x{spec.input[2]} or fewer strides"
            )
        named = tuple(replace(row, name=f"{index}.{layer.family}.{row.name}") for row in cost.layers)
        total = total + replace(cost, layers=named)
    return total


def build(spec: NetSpec) -> nn.Sequential:
    """The module of ``spec``: (batch, channel, freq, time) -> logits (batch, classes); Kaiming-normal convolutions.

    Raises:
        NetworkError: unknown family.
    """
    modules, channels = [], spec.input[0]
    for layer in spec.layers:
        modules.append(family(layer.family).build(layer, channels))
        channels = layer.out
    network = nn.Sequential(*modules)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return network.to(memory_format=torch.channels_last)


def shrink(spec: NetSpec, keep: Callable[[int], int]) -> NetSpec:
    """``spec`` with every prunable width mapped through ``keep``; classes stay.

    Raises:
        NetworkError: a layer's family cannot be pruned.
    """
    layers = []
    for index, layer in enumerate(spec.layers):
        shrink_layer = family(layer.family).shrink
        if shrink_layer is None:
            raise NetworkError(f"layer {index} ({layer.family}): this family cannot be pruned")
        layers.append(shrink_layer(layer, keep))
    return replace(spec, layers=tuple(layers))
