"""Structured pruning: channels of least importance go, tensors become smaller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch_pruning import importance as measures
from torch_pruning.pruner import function as kinds

from asc_search.compress.channels import Axis, Channels, Space, follow
from asc_search.errors import NetworkError
from asc_search.nets.network import build
from asc_search.nets.spec import NetSpec


class _BatchNormScale(measures.BNScaleImportance):
    """Of a group without BatchNorm, which the library would leave as it is, the group norm."""

    def __call__(self, group: Any) -> torch.Tensor | None:
        scale = super().__call__(group)
        return measures.GroupMagnitudeImportance(p=2)(group) if scale is None else scale


_MEASURES: dict[str, Callable[[], measures.Importance]] = {  # what each is: space.pruning.Pruning
    "group_norm": lambda: measures.GroupMagnitudeImportance(p=2),
    "magnitude": lambda: measures.GroupMagnitudeImportance(p=1, group_reduction="first", normalizer=None),
    "bn_scale": _BatchNormScale,
    "taylor": measures.GroupTaylorImportance,
}
_KINDS = (  # of layers, and the library's names for their outputs and inputs
    (nn.Conv2d, kinds.prune_conv_out_channels, kinds.prune_conv_in_channels),
    (nn.Linear, kinds.prune_linear_out_channels, kinds.prune_linear_in_channels),
    (nn.BatchNorm2d, kinds.prune_batchnorm_out_channels, None),
)


@dataclass(frozen=True)
class _Member:
    """One axis as the library's importances read it: layer, side, and which of the ``root_idxs`` each of ``idxs`` is."""

    layer: nn.Module
    pruning_fn: Callable
    idxs: list[int]
    root_idxs: list[int]

    @property
    def dep(self) -> _Member:
        return self

    @property
    def target(self) -> _Member:
        return self

    @property
    def module(self) -> nn.Module:
        return self.layer

    @property
    def handler(self) -> Callable:
        return self.pruning_fn

    def __iter__(self) -> Any:
        return iter((self, self.idxs))


def prune_to(network: nn.Sequential, source: NetSpec, target: NetSpec, importance: str = "group_norm") -> nn.Sequential:
    """``network`` of ``source`` with as many channels of every layer removed as ``target`` has less, rebuilt from that.

    Those of the least ``importance`` (space.pruning.Pruning) go; ``taylor`` reads the gradients that ``network`` holds. The
    classifier keeps its classes, as ``target`` has them. The result carries the surviving weights (SJTU-THU 2024, section
    2.4); ``network`` itself stays as it is.

    Raises:
        NetworkError: the pruned tensors are not those ``target`` says, or a layer has no gradients.
    """
    layers = dict(network.named_modules())
    weighted = [one for one in layers.values() if isinstance(one, nn.Conv2d | nn.Linear)]
    if importance == "taylor" and any(one.weight.grad is None for one in weighted):
        raise NetworkError("pruning.importance taylor needs gradients in every layer; please report this")
    smaller = build(target).to(next(network.parameters()).device)
    wanted = {name: len(one.weight) for name, one in smaller.named_modules() if isinstance(one, nn.Conv2d | nn.Linear)}
    channels = follow(network, source.input)
    kept: set[int] = set()
    for space in channels.spaces():
        kept |= _survivors(channels, space, wanted, layers, _MEASURES[importance]())
    try:
        smaller.load_state_dict(_cut(network, smaller, channels, kept))
    except RuntimeError as error:
        raise NetworkError(f"pruning did not give the widths the price assumed: {error}") from error
    return smaller


def _survivors(
    channels: Channels, space: Space, wanted: dict[str, int], layers: dict[str, nn.Module], measure: measures.Importance
) -> set[int]:
    """The roots of the channels that stay of one ``space``, whose layers shall have the ``wanted`` outputs."""
    number = {root: index for index, root in enumerate(space.roots)}
    members = [_member(channels, axis, layers[axis.layer], number) for axis in space.axes]
    whole = [
        axis for axis, one in zip(space.axes, members, strict=True) if axis.made and len(one.idxs) == len(axis.labels)
    ]
    stay = {wanted[axis.layer] * len(number) / len(axis.labels) for axis in whole}
    if len(stay) != 1 or (count := stay.pop()) != int(count):
        names = ", ".join(axis.layer for axis in space.axes if axis.made)
        raise NetworkError(f"pruning did not give the widths the price assumed: {names} take channels together")
    if count == len(number):
        return set(number)
    scores = measure(members)[: len(number)]
    return {space.roots[index] for index in torch.argsort(scores)[len(number) - int(count) :].tolist()}


def _member(channels: Channels, axis: Axis, layer: nn.Module, number: dict[int, int]) -> _Member:
    fn = next(sides[0 if axis.out else 1] for kind, *sides in _KINDS if isinstance(layer, kind))
    if getattr(layer, "groups", 1) > 1:
        fn = kinds.prune_depthwise_conv_out_channels  # which the library's importances pass over
    places = [(at, number.get(channels.root(label))) for at, label in enumerate(axis.labels)]
    own = [(at, root) for at, root in places if root is not None]  # of a concatenation, those of this space
    return _Member(layer, fn, [at for at, _ in own], [root for _, root in own])


def _cut(network: nn.Module, smaller: nn.Module, channels: Channels, kept: set[int]) -> dict[str, torch.Tensor]:
    """The state_dict of ``network`` with the channels ``kept``; of norms that are never called, the first ones."""
    places = {
        (axis.layer, axis.out): [at for at, label in enumerate(axis.labels) if channels.root(label) in kept]
        for axis in channels.axes
    }
    state, sizes = {}, {name: value.shape for name, value in smaller.state_dict().items()}
    for name, value in network.state_dict().items():
        layer, _, part = name.rpartition(".")
        outputs, inputs = places.get((layer, True)), places.get((layer, False))
        if outputs is not None and value.dim() > 0:
            value = value[outputs]
        elif value.dim() == 1:
            value = value[: sizes[name][0]]
        state[name] = value[:, inputs] if inputs is not None and part == "weight" else value
    return state
