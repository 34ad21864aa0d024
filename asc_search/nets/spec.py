"""NetSpec: a network as a value. Explicit widths everywhere, so a pruned network is one too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from asc_search.nets.cost import Shape

Scalar = bool | int | float | str


@dataclass(frozen=True)
class LayerSpec:
    """One member of the network: a registered family, its output width, its stride (freq, time) and explicit options."""

    family: str
    out: int
    stride: tuple[int, int] = (1, 1)
    options: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(sorted(self.options.items()))))

    def __hash__(self) -> int:
        return hash((self.family, self.out, self.stride, tuple(self.options.items())))

    def __reduce__(self) -> tuple[Any, ...]:
        return LayerSpec, (self.family, self.out, self.stride, dict(self.options))

    def to_json(self) -> dict[str, Any]:
        return {"family": self.family, "out": self.out, "stride": list(self.stride), "options": dict(self.options)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> LayerSpec:
        return LayerSpec(data["family"], data["out"], tuple(data["stride"]), data["options"])


@dataclass(frozen=True)
class NetSpec:
    """A whole network: input shape (channel, freq, time), number of classes, and its layers from stem to head."""

    input: Shape
    classes: int
    layers: tuple[LayerSpec, ...]

    def with_input(self, shape: Shape) -> NetSpec:
        """The same network on another input (channel, freq, time)."""
        return replace(self, input=shape)

    def with_classes(self, classes: int) -> NetSpec:
        """The same network for another number of classes."""
        return replace(self, classes=classes, layers=(*self.layers[:-1], replace(self.layers[-1], out=classes)))

    def to_json(self) -> dict[str, Any]:
        return {
            "input": list(self.input),
            "classes": self.classes,
            "layers": [layer.to_json() for layer in self.layers],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> NetSpec:
        channels, freq, time = data["input"]
        return NetSpec((channels, freq, time), data["classes"], tuple(map(LayerSpec.from_json, data["layers"])))
