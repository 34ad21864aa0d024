"""The one registry of layer families. A new family is one file and one line in ``families``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from asc_search.errors import NetworkError
from asc_search.nets.blocks.common import is_array
from asc_search.nets.ledger import Map
from asc_search.nets.spec import LayerSpec, Scalar


@dataclass(frozen=True)
class Option:
    """One thing a space may vary in a family: its kind, what is allowed, the default and what it means.

    ``branches``: ``plan``, ``price`` or ``shrink`` may do different things for different values. Numbers without
    ``choices`` never do that, except that 0 may stand for "without"; others say so with False, to be priced in arrays.
    """

    kind: Literal["int", "float", "bool", "str"]
    default: Scalar
    doc: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Scalar, ...] | None = None
    branches: bool = True

    def problem(self, value: object) -> str | None:
        """Why ``value`` is not allowed, or None."""
        kinds = {"int": int, "float": (int, float), "bool": bool, "str": str}
        if not isinstance(value, kinds[self.kind]) or (isinstance(value, bool) and self.kind != "bool"):
            return f"expected {self.kind}, got {value!r}"
        if self.choices is not None and value not in self.choices:
            return f"{value!r} is not one of {', '.join(map(repr, self.choices))}"
        if self.kind in ("int", "float"):
            low = -math.inf if self.low is None else self.low
            high = math.inf if self.high is None else self.high
            if not low <= value <= high or math.isinf(value):
                return f"{value!r} is outside {low:g} to {high:g}"
        return None


@dataclass(frozen=True)
class Place:
    """Where in the network a block stands: its stage, its index there, and whether it is the stage's last."""

    stage: int = 0
    block: int = 0
    last: bool = True


def one_input(layer: LayerSpec) -> int:
    """The layer reads the map before it, and no other."""
    return 1


def one_by_one(layer: LayerSpec) -> tuple[int, int]:
    """The layer's channels can be pruned one by one."""
    return 1, 1


def as_drawn(inp: int, out: int, options: Mapping[str, Scalar], place: Place) -> dict[str, Scalar]:
    """The plan of a layer whose drawn options are explicit already."""
    return dict(options)


@dataclass(frozen=True)
class Family:
    """A layer family: what a space may vary, and its spec, price, module and pruned form side by side.

    * ``plan(inp, out, options, place)`` turns drawn options (ratios, switches) into the explicit options of a LayerSpec.
    * ``price(layer, ledger, *maps)`` runs the maps the layer reads through the ledger and returns its output map.
    * ``build(layer, *shapes)`` gives the module, called with the same maps; parameters and MACs equal the price.
    * ``shrink(layer, keep)`` maps every width through ``keep`` (None: the family cannot be pruned).
    * ``grain(layer)`` tells which channels pruning takes together: those in the same places of so many runs of equal
      width, and so many neighbours.

    ``fixed`` names option values with which its widths cannot be pruned. ``taps(layer)`` tells how many of the last maps
    a head reads, at most ``most_taps``. In ``plan``, ``price`` and ``shrink`` widths, and numbers that nothing branches
    on, may be integer or float arrays; whatever is branched on (other options, strides, inp == out, place) is one value
    for a whole array.
    """

    name: str
    role: Literal["stem", "block", "head"]
    doc: str
    options: Mapping[str, Option]
    plan: Callable[[int, int, Mapping[str, Scalar], Place], dict[str, Scalar]]
    price: Callable[..., Map]
    build: Callable[..., nn.Module]
    shrink: Callable[[LayerSpec, Callable[[int], int]], LayerSpec] | None = None
    grain: Callable[[LayerSpec], tuple[int, int]] = one_by_one
    fixed: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    taps: Callable[[LayerSpec], int] = one_input
    most_taps: int = 1
    defaults: Mapping[str, Scalar] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "defaults", {name: option.default for name, option in self.options.items()})

    def layer(
        self, inp: int, out: int, stride: tuple[int, int] = (1, 1), place: Place = Place(), **options: Scalar
    ) -> LayerSpec:
        """The LayerSpec of this family for drawn ``options``; those not named are at their defaults.

        Raises:
            NetworkError: a value that its option does not allow.
        """
        for key, value in options.items():
            if key in self.options and not is_array(value) and (what := self.options[key].problem(value)):
                raise NetworkError(f"{self.name}: {key}: {what}")
        return LayerSpec(self.name, out, stride, self.plan(inp, out, {**self.defaults, **options}, place))

    def obstacle(self, layer: LayerSpec) -> str | None:
        """Why the widths of ``layer`` cannot be pruned with an output equal to that of zeroed channels, or None."""
        if self.shrink is None:
            return "this family cannot be pruned"
        held = [key for key, values in self.fixed.items() if layer.options.get(key) in values]
        return f"with {held[0]} {layer.options[held[0]]} it cannot be pruned" if held else None

    def prunable(self, layer: LayerSpec) -> bool:
        """Whether the widths of ``layer`` can be pruned."""
        return self.obstacle(layer) is None


_FAMILIES: dict[str, Family] = {}


def register(*families: Family) -> None:
    """Add families under their names; a name stands once."""
    for family in families:
        if family.name in _FAMILIES:
            raise ValueError(f"layer family {family.name!r} is registered twice")
        _FAMILIES[family.name] = family


def family(name: str) -> Family:
    """The family called ``name``.

    Raises:
        NetworkError: no such family; the message lists those there are.
    """
    try:
        return _FAMILIES[name]
    except KeyError:
        raise NetworkError(f"unknown layer family {name!r}; known: {', '.join(sorted(_FAMILIES))}") from None


def families(role: str) -> dict[str, Family]:
    """All families of one role (``stem``, ``block`` or ``head``) by name."""
    return {name: family for name, family in _FAMILIES.items() if family.role == role}
