"""Many points of a space at once: one column a parameter, drawn as a random sampler would draw them one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asc_search.nets.spec import Scalar
from asc_search.space.domains import Choice, Constant, FloatRange, IntRange, Subset, Value, equal, same
from asc_search.space.space import Parameter, Space


@dataclass(frozen=True)
class Column:
    """The values of one parameter in each of n points.

    Without a ``table``, ``values`` (n,) are the numbers themselves, with one they are indices into it; a set has one
    column of 0 and 1 for each of its members (n, members), which the table names. ``drawn`` (n,) is where the parameter
    was drawn; elsewhere it is at its default, or has no value (``missing``).
    """

    values: np.ndarray
    table: tuple[Value, ...] | None
    drawn: np.ndarray
    missing: np.ndarray

    def among(self, allowed: Sequence[Value]) -> np.ndarray:
        """Where the value is one of ``allowed``, or the set holds one of them: (n,) of bool."""
        if self.values.ndim == 2:
            return self.values[:, [member in allowed for member in self.table]].any(axis=1)
        if self.table is None:
            numbers = [value for value in allowed if value is not None]
            near = [np.isclose(self.values, value, rtol=0, atol=1e-8) for value in numbers]
            return np.where(self.missing, None in allowed, np.any(near, axis=0) if near else False)
        codes = [code for code, value in enumerate(self.table) if any(equal(value, one) for one in allowed)]
        return np.isin(self.values, codes)

    def rows(self, chosen: np.ndarray) -> Column:
        """The column of the points ``chosen``: (n,) of bool, or their indices."""
        return Column(self.values[chosen], self.table, self.drawn[chosen], self.missing[chosen])

    def numbers(self, default: float | None = None) -> np.ndarray:
        """The numbers (n,), with ``default`` where there is no value."""
        if self.table is None:
            return self.values if default is None else np.where(self.missing, default, self.values)
        return np.array([default if value is None else value for value in self.table])[self.values]


Columns = Mapping[str, Column]
Known = tuple[np.ndarray, np.ndarray]  # where a value is known, (n,) of bool, and the values as in a Column


def draw_columns(
    space: Space, rng: np.random.Generator, count: int, known: Mapping[str, Known] | None = None
) -> dict[str, Column]:
    """``count`` points of ``space``, uniformly drawn (in the logarithm where ``log``); parameters keep their order.

    Where a parameter exists and ``known`` has it, it is not drawn but as known.
    """
    everywhere, nowhere = np.ones(count, bool), np.zeros(count, bool)
    columns = {
        name: Column(*_constant(value, count), drawn=nowhere, missing=np.full(count, value is None))
        for name, value in space.constants.items()
    }
    for parameter in space.varying:
        drawn = everywhere
        for name, allowed in parameter.when:
            drawn = drawn & columns[name].among(allowed)
        column = _drawn(parameter, rng, drawn)
        if known and parameter.name in known:
            where, values = known[parameter.name]
            taken = where & drawn
            column.values[taken] = values[taken]
        columns[parameter.name] = column
    return columns


def known_columns(space: Space, records: Sequence[Mapping[str, Scalar]]) -> dict[str, Known]:
    """What ``records`` (n, each as ``recorded`` gives them) say, for ``draw_columns`` of n points."""
    found: dict[str, Known] = {}
    for parameter in space.varying:
        name, domain = parameter.name, parameter.domain
        if isinstance(domain, Constant):
            continue
        if isinstance(domain, Subset):
            names = [f"{name}[{member}]" for member in domain.members]
            where = np.array([names[0] in record for record in records], bool)
            values = np.array([[record.get(one, 0) for one in names] for record in records], np.int64)
            found[name] = (where, values.reshape(len(records), len(names)))
            continue
        given = [record.get(name) for record in records]
        if isinstance(domain, Choice):
            codes = {(value, type(value) is bool): code for code, value in enumerate(domain.values)}
            values = np.array([codes.get((value, type(value) is bool), -1) for value in given], np.int64)
            found[name] = (values >= 0, values)
        else:
            kind = np.int64 if isinstance(domain, IntRange) else float
            inside = np.array([value is not None and domain.low <= value <= domain.high for value in given], bool)
            found[name] = (inside, np.array([0 if value is None else value for value in given], kind))
    return found


def recorded(space: Space, columns: Columns, index: int) -> dict[str, Scalar]:
    """What was drawn for point ``index``, as an optuna trial would record it; of a set, the members it ended with."""
    params: dict[str, Scalar] = {}
    for parameter in space.varying:
        column = columns[parameter.name]
        if isinstance(parameter.domain, Constant) or not column.drawn[index]:
            continue
        if column.values.ndim == 2:
            for member, chosen in zip(column.table, column.values[index], strict=True):
                params[f"{parameter.name}[{member}]"] = int(chosen)
        else:
            value = column.values[index].item()
            params[parameter.name] = value if column.table is None else column.table[value]
    return params


def _constant(value: Value, count: int) -> tuple[np.ndarray, tuple[Any, ...]]:
    if isinstance(value, tuple):
        return np.ones((count, len(value)), np.int64), value
    return np.zeros(count, np.int64), (value,)


def _drawn(parameter: Parameter, rng: np.random.Generator, drawn: np.ndarray) -> Column:
    """The column of a parameter that exists where ``drawn``."""
    count, default, domain = len(drawn), parameter.default, parameter.domain
    missing = ~drawn if default is None else np.zeros(count, bool)
    match domain:
        case Subset():
            return Column(_members(domain, rng, drawn), domain.members, drawn, missing)
        case Constant(value) if isinstance(value, tuple):
            return Column(np.repeat(drawn[:, None], len(value), axis=1).astype(np.int64), value, drawn, missing)
        case Choice() | Constant():
            values = domain.values if isinstance(domain, Choice) else (domain.value,)
            rest = next((code for code, value in enumerate(values) if same(value, default)), len(values))
            table = values if rest < len(values) or drawn.all() else (*values, default)
            return Column(np.where(drawn, rng.integers(len(values), size=count), rest), table, drawn, missing)
        case IntRange(low, high, step, log):
            if log:
                numbers = np.exp(rng.uniform(np.log(low - 0.5), np.log(high + 0.5), count))
                numbers = np.clip(np.rint(numbers), low, high).astype(np.int64)
            else:
                numbers = low + step * rng.integers((high - low) // step + 1, size=count)
        case FloatRange(low, high, step, log):
            if log:
                numbers = np.exp(rng.uniform(np.log(low), np.log(high), count))
            elif step is None:
                numbers = rng.uniform(low, high, count)
            else:
                numbers = low + step * rng.integers(round((high - low) / step) + 1, size=count)
            numbers = np.clip(numbers, low, high)
    return Column(np.where(drawn, numbers, 0 if default is None else default), None, drawn, missing)


def _members(domain: Subset, rng: np.random.Generator, drawn: np.ndarray) -> np.ndarray:
    """Members drawn by a coin each, (n, members); the first spare ones make up for too few."""
    chosen = rng.integers(2, size=(len(drawn), len(domain.members)))
    lacking = np.maximum(0, domain.least - chosen.sum(axis=1, keepdims=True))
    spare = (1 - chosen).cumsum(axis=1)
    return np.where((chosen == 0) & (spare <= lacking), 1, chosen) * drawn[:, None]
