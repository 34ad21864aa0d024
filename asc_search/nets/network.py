"""From NetSpec to module and to price: the walks over the layers of a spec."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import nn

from asc_search.errors import NetworkError
from asc_search.nets.blocks import Family, family
from asc_search.nets.cost import Cost, Shape
from asc_search.nets.ledger import Ledger, Map
from asc_search.nets.spec import LayerSpec, NetSpec


class Network(nn.Sequential):
    """The layers of a spec in order; the head reads the outputs of the last ``taps`` layers before it.

    (batch, channel, freq, time) -> logits (batch, classes).
    """

    def __init__(self, layers: list[nn.Module], taps: int = 1, pooled_width: int = 0) -> None:
        super().__init__(*layers)
        self.taps = taps
        self.pooled_width = pooled_width

    def trunk(self, x: torch.Tensor) -> list[torch.Tensor]:
        """What the head reads: the outputs of the last ``taps`` layers before it."""
        maps = [x]
        for layer in list(self)[:-1]:
            maps = [*maps[-(self.taps - 1) :], layer(maps[-1])] if self.taps > 1 else [layer(maps[-1])]
        return maps

    def pooled(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """The means over frequency and time of what the head reads: (batch, ``pooled_width``)."""
        return torch.cat([each.mean((2, 3)) for each in maps], dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self[-1](*self.trunk(x))


def walk(spec: NetSpec, ledger: Ledger) -> Iterator[tuple[Family, LayerSpec, list[Map]]]:
    """Run ``spec`` through ``ledger``; for each layer, once it is priced, its family, spec and the maps it reads.

    Raises:
        NetworkError: unknown family, or a layer that cannot be built; the message names it.
    """
    maps = [ledger.input]
    for index, layer in enumerate(spec.layers):
        kind = family(layer.family)
        ledger.enter(index, layer.family)
        if layer.out < 1 or min(layer.stride) < 1:
            raise NetworkError(
                f"layer {index} ({layer.family}): width {layer.out} and stride {layer.stride} must be 1 or more"
            )
        for key, value in layer.options.items():
            option = kind.options.get(key)
            what = option.problem(value) if option else "expected a number" if isinstance(value, str) else None
            if what:
                raise NetworkError(f"layer {index} ({layer.family}): {key}: {what}")
        try:
            taps = kind.taps(layer)
            ledger.require(
                taps < len(maps) or taps == 1,
                "reads the last {} layers; there are {}: use fewer scales or more blocks",
                taps,
                len(maps) - 1,
            )
            reads = maps[-taps:]
            maps.append(kind.price(layer, ledger, *reads))
        except KeyError as error:
            raise _missing(index, layer, error) from None
        yield kind, layer, reads


def _missing(index: int, layer: LayerSpec, error: KeyError) -> NetworkError:
    return NetworkError(
        f"layer {index} ({layer.family}): the option {error} is missing; Family.layer plans all of them"
    )


def price(spec: NetSpec) -> Cost:
    """The exact cost of ``spec`` for one input window, from closed forms; no module is built.

    Raises:
        NetworkError: a width or stride is below 1, a feature map becomes empty, or a width does not divide as its family
            needs; the message names the layer.
    """
    ledger = Ledger(spec.input)
    last = ledger.input
    for _, _, maps in walk(spec, ledger):
        last = maps[-1]
    return ledger.cost(last)


def build(spec: NetSpec) -> Network:
    """The module of ``spec``; Kaiming-normal convolutions.

    Raises:
        NetworkError: as :func:`price`.
    """
    modules: list[nn.Module] = []
    shapes: list[Shape] = []  # what the last layer reads
    for kind, layer, maps in walk(spec, Ledger(spec.input)):
        shapes = [one.shape for one in maps]
        try:
            modules.append(kind.build(layer, *shapes))
        except KeyError as error:
            raise _missing(len(modules), layer, error) from None
    network = Network(modules, len(shapes), sum(channels for channels, *_ in shapes))
    network.to(memory_format=torch.channels_last)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.in_channels == 1:
                # torch 2.13 on a CPU reads foreign memory for a channels-last kernel of one input channel whose output is
                # one frame wide.
                module.weight.data = module.weight.data.contiguous()
    return network


def grain(spec: NetSpec) -> int:
    """How many channels of a width pruning takes together: what widths must be multiples of, before and after.

    Runs that are taken together and neighbours that are multiply: a channel's neighbours have their likes in each run.
    """
    found = [family(layer.family).grain(layer) for layer in spec.layers]
    return math.lcm(*(runs for runs, _ in found)) * math.lcm(*(neighbours for _, neighbours in found))


def shrink(spec: NetSpec, keep: Callable[[int], int]) -> NetSpec:
    """``spec`` with every prunable width mapped through ``keep``; classes stay.

    Raises:
        NetworkError: a layer cannot be pruned, or its width is or would be no multiple of the network's ``grain``.
    """
    layers, together = [], grain(spec)
    for index, layer in enumerate(spec.layers):
        kind = family(layer.family)
        if what := kind.obstacle(layer):
            raise NetworkError(f"layer {index} ({layer.family}): {what}")
        layers.append(kind.shrink(layer, keep))
        if kind.role != "head" and (layer.out % together or layers[-1].out % together):
            raise NetworkError(
                f"layer {index} ({layer.family}): pruning takes {together} channels together here; widths must be "
                f"multiples of that, not {layer.out} and then {layers[-1].out}"
            )
    return replace(spec, layers=tuple(layers))
