"""Domains: what one parameter of a space may be, as values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from asc_search.nets.spec import Scalar

Value = Scalar | tuple[str, ...] | None


@dataclass(frozen=True)
class Constant:
    """Always ``value``: nothing is searched."""

    value: Value

    kind = "constant"

    @property
    def text(self) -> str:
        return ", ".join(self.value) if isinstance(self.value, tuple) else str(self.value)

    @property
    def corners(self) -> tuple[Value, ...]:
        """The values whose being allowed means that all are."""
        return (self.value,)

    def contains(self, value: object) -> bool:
        return same(value, self.value)


@dataclass(frozen=True)
class Choice:
    """One of ``values``, without order."""

    values: tuple[Scalar, ...]

    kind = "choice"

    @property
    def text(self) -> str:
        return " | ".join(map(str, self.values))

    @property
    def corners(self) -> tuple[Scalar, ...]:
        return self.values

    def contains(self, value: object) -> bool:
        return any(same(value, choice) for choice in self.values)

    def nearest(self, value: Scalar) -> Scalar:
        """The choice closest to ``value``; the first where closeness has no meaning."""
        if self.contains(value):
            return value
        if all(map(_number, (*self.values, value))):
            return min(self.values, key=lambda choice: abs(choice - value))
        return self.values[0]

    def middle(self) -> Scalar:
        return self.values[0]


@dataclass(frozen=True)
class IntRange:
    """A whole number from ``low`` to ``high``, both included, in steps of ``step``; ``log``: drawn by magnitude."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    kind = "int"

    @property
    def text(self) -> str:
        return f"{self.low} to {self.high}" + (f", step {self.step}" if self.step != 1 else "") + _log(self.log)

    @property
    def corners(self) -> tuple[int, ...]:
        return (self.low, self.high)

    def contains(self, value: object) -> bool:
        return _number(value) and self.low <= value <= self.high and (value - self.low) % self.step == 0

    def nearest(self, value: Scalar) -> int:
        inside = min(max(value, self.low), self.high)
        return self.low + round((inside - self.low) / self.step) * self.step

    def middle(self) -> int:
        return self.nearest(_centre(self.low, self.high, self.log))


@dataclass(frozen=True)
class FloatRange:
    """A real number from ``low`` to ``high``, both included; on a grid where ``step`` is given; ``log`` as for int."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    kind = "float"

    @property
    def text(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (f", step {self.step:g}" if self.step else "") + _log(self.log)

    @property
    def corners(self) -> tuple[float, ...]:
        return (self.low, self.high)

    def contains(self, value: object) -> bool:
        if not _number(value) or not self.low <= value <= self.high:
            return False
        return self.step is None or divides(self.step, value - self.low)

    def nearest(self, value: Scalar) -> float:
        inside = float(min(max(value, self.low), self.high))
        if self.step is None or self.contains(inside):
            return inside
        steps = round((inside - self.low) / self.step)
        return float(Decimal(str(self.low)) + steps * Decimal(str(self.step)))

    def middle(self) -> float:
        return self.nearest(_centre(self.low, self.high, self.log))


@dataclass(frozen=True)
class Subset:
    """Any set of at least ``least`` of ``members``; each member is drawn as one integer 0 or 1."""

    members: tuple[str, ...]
    least: int = 1

    kind = "subset"

    @property
    def text(self) -> str:
        return f"at least {self.least} of {', '.join(self.members)}"

    @property
    def corners(self) -> tuple[str, ...]:
        return self.members

    def contains(self, value: object) -> bool:
        """Whether a set drawn here can hold the member ``value``."""
        return value in self.members


Domain = Constant | Choice | IntRange | FloatRange | Subset


def same(one: object, other: object) -> bool:
    """Equality that tells True from 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def equal(one: object, other: object) -> bool:
    """Whether two values of a parameter are the same one, numbers to within 1e-8 (a step may miss its last bit)."""
    if isinstance(one, float) or isinstance(other, float):
        return _number(one) and _number(other) and math.isclose(one, other, rel_tol=0, abs_tol=1e-8)
    return same(one, other)


def divides(step: float, span: float) -> bool:
    """Whether ``span`` is a whole number of ``step`` (to 1e-8, the tolerance optuna has)."""
    return math.isclose(span / step, round(span / step), rel_tol=0, abs_tol=1e-8)


def distinct(values: Sequence[object]) -> bool:
    """Whether no value stands twice."""
    return not any(same(one, other) for index, one in enumerate(values) for other in values[:index])


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _centre(low: float, high: float, log: bool) -> float:
    return math.sqrt(low * high) if log else (low + high) / 2


def _log(log: bool) -> str:
    return ", log" if log else ""
