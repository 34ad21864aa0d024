"""The one registry of layer families. A new family is one file and one line in ``families``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from asc_search.errors import NetworkError
from asc_search.nets.cost import Cost, Shape
from asc_search.nets.spec import LayerSpec, Scalar


@dataclass(frozen=True)
class Option:
    """One thing a space may vary in a family: its kind, what is allowed, the default and what it means."""

    kind: Literal["int", "float", "bool", "str"]
    default: Scalar
    doc: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Scalar, ...] | None = None

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
class Family:
    """A layer family: what a space may vary, and its spec, price, module and pruned form side by side.

    * ``plan(in_channels, out, stride, options)`` turns drawn options (ratios) into a LayerSpec with explicit widths.
    * ``price(layer, shape)`` gives the closed-form Cost and the output shape (channel, freq, time).
    * ``build(layer, in_channels)`` gives the module; parameters and MACs equal the price.
    * ``shrink(layer, keep)`` maps every width through ``keep`` (None: the family cannot be pruned).
    """

    name: str
    role: Literal["stem", "block", "head"]
    doc: str
    options: Mapping[str, Option]
    plan: Callable[[int, int, tuple[int, int], Mapping[str, Scalar]], LayerSpec]
    price: Callable[[LayerSpec, Shape], tuple[Cost, Shape]]
    build: Callable[[LayerSpec, int], nn.Module]
    shrink: Callable[[LayerSpec, Callable[[int], int]], LayerSpec] | None = None
    defaults: Mapping[str, Scalar] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "defaults", {name: option.default for name, option in self.options.items()})


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
