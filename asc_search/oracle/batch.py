"""Pricing many points of a space at once, by the formulas that price one: the blocks' own, on arrays of widths.

Points are grouped by what their families branch on (family, switches, strides, place); within a group a layer is priced
for all points in one pass. No candidate, spec or module is made.

Of a point that is pruned to the budget, all is right but the price where it fits: that is of the uniform pruning, before
single widths get channels back (``to_budget``), so it is at most what is deployed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.nets.blocks import Family, Place, families, family
from asc_search.nets.blocks.registry import one_by_one
from asc_search.nets.cost import BYTES_PER_WEIGHT
from asc_search.nets.ledger import Map, Pair
from asc_search.nets.plan import stage_width
from asc_search.nets.spec import LayerSpec, NetSpec
from asc_search.oracle.array_ledger import ArrayLedger
from asc_search.oracle.budget import macs_per_second
from asc_search.oracle.kept import Kept, kept_of
from asc_search.oracle.to_budget import LAST
from asc_search.space.columns import Column, Columns
from asc_search.space.draw import STRIDE_PAIRS
from asc_search.space.schema import NO_PARENT
from asc_search.space.space import Space

MOST = 2**53  # MACs and params beyond are all the same: over every limit
# The fields of a front end on which the network's input depends.
SHAPES = ("kind", "rate_hz", "n_fft", "hop", "mels", "seconds", "channels", "pre_emphasis", "centre", "deltas")


@dataclass(frozen=True)
class Prices:
    """Of n points, each (n,): params, NeSsi MACs a window and a second, conv + linear MACs a window, bytes as stored.

    ``buildable`` is where there is such a network, ``fits`` where it is within the budget besides; other numbers have a
    meaning only where it is buildable.
    """

    params: np.ndarray
    macs: np.ndarray
    macs_per_second: np.ndarray
    conv_linear_macs: np.ndarray
    weight_bytes: np.ndarray
    buildable: np.ndarray
    fits: np.ndarray


class _Batch:
    """n networks under way: their last maps and what they cost so far."""

    def __init__(self, shape: tuple[np.ndarray, np.ndarray, np.ndarray], kept: Kept, taps: int) -> None:
        count = len(shape[0])
        # maps[0] is the last one, maps[1] the one before, ...: (channel, freq, time) x n each.
        self.maps = [np.stack(shape) for _ in range(taps)]
        self.made = np.zeros(count, np.int64)
        self.kept = kept
        self.planned = shape[0].copy()
        self.params, self.macs, self.conv_linear_macs = (np.zeros(count) for _ in range(3))
        self.runs, self.neighbours = np.ones(count, np.int64), np.ones(count, np.int64)
        self.valid = np.ones(count, bool)

    def add(self, kind: Family, rows: np.ndarray, out: np.ndarray, stride: Pair, place: Place, options: dict) -> None:
        """The next layer of the networks ``rows``, all of one kind; ``out`` (rows,) is its width before pruning."""
        self.put(kind, rows, out, kind.layer(self.planned[rows], out, stride, place, **options))

    def put(self, kind: Family, rows: np.ndarray, out: np.ndarray, layer: LayerSpec) -> None:
        """The next layer of the networks ``rows``, as planned; ``out`` (rows,) is its width before pruning."""
        ledger, kept = ArrayLedger(len(rows)), self.kept.rows(rows)
        runs, neighbours = kind.grain(layer)
        self.runs[rows] = np.lcm(self.runs[rows], runs)
        self.neighbours[rows] = np.lcm(self.neighbours[rows], np.asarray(neighbours).astype(np.int64))
        if kept.removes.any():
            if kind.prunable(layer):
                layer = kind.shrink(layer, lambda width: kept.of(width, ledger))
                if kind.role != "head":
                    odd = (out % kept.grain != 0) | (layer.out % kept.grain != 0)
                    ledger.require(~(kept.removes & odd), "channels are taken together")
            else:
                ledger.require(~kept.removes, "cannot be pruned")
        taps = kind.taps(layer)
        ledger.require((taps == 1) | (taps <= self.made[rows]), "reads blocks that are not there")
        reads = [Map(*self.maps[tap][:, rows]) for tap in reversed(range(taps))]
        made = kind.price(layer, ledger, *reads)
        for older in range(len(self.maps) - 1, 0, -1):
            self.maps[older][:, rows] = self.maps[older - 1][:, rows]
        for axis, size in enumerate(made.shape):
            self.maps[0][axis, rows] = size
        self.made[rows] += 1
        self.planned[rows] = out
        self.params[rows] += ledger.params
        self.macs[rows] += ledger.macs
        self.conv_linear_macs[rows] += ledger.conv_linear_macs
        self.valid[rows] &= ledger.valid


def price_columns(space: Space, columns: Columns, classes: int) -> Prices:
    """The price of every point of ``columns`` for ``classes`` classes, and whether it is within the space's budget."""
    parts = [np.flatnonzero(columns["network.pretrained"].among((parent,))) for parent in _parents(columns)]
    if len(parts) == 1:
        return _priced(space, columns, classes)
    prices = [_priced(space, {name: one.rows(rows) for name, one in columns.items()}, classes) for rows in parts]
    order = np.argsort(np.concatenate(parts))
    return Prices(*(np.concatenate([getattr(one, f.name) for one in prices])[order] for f in fields(Prices)))


def _parents(columns: Columns) -> list[str]:
    """As what the points' networks begin, each once."""
    begun = columns["network.pretrained"]
    return [begun.table[code] for code in np.unique(begun.values)]


def _begun(spec: NetSpec, kept: Kept) -> _Batch:
    """``spec`` with the channels ``kept`` says, once for each of its points."""
    count = len(kept.ratio)
    rows, sizes = np.arange(count), tuple(np.full(count, size, float) for size in spec.input)
    batch = _Batch(sizes, kept, 1)
    for layer in spec.layers:
        batch.put(family(layer.family), rows, np.full(count, layer.out), layer)
    return batch


def _priced(space: Space, columns: Columns, classes: int) -> Prices:
    """:func:`price_columns` of points whose networks begin alike."""
    kept = kept_of(columns)
    rows = np.flatnonzero(kept.to_budget)
    if (len(rows) or kept.removes.any()) and _takes_several(space, columns):
        whole_ones = replace(kept, ratio=np.zeros_like(kept.ratio), tables=tuple({} for _ in kept.tables))
        batch = _assembled(space, columns, classes, whole_ones)
        kept = replace(kept, grain=batch.runs * batch.neighbours)
    if len(rows):
        chosen = {name: column.rows(rows) for name, column in columns.items()}
        kept.step[rows] = _least_steps(space, chosen, classes, kept.rows(rows))
    return _price(space, columns, classes, kept)


def _takes_several(space: Space, columns: Columns) -> bool:
    """Whether pruning takes several channels together in any of the families there are; of a parent's none does."""
    if _parents(columns) != [NO_PARENT]:
        return False
    named = [("head", "network.head"), *(("block", f"network.stages.{at}.family") for at in range(len(space.stages)))]
    return any(families(role)[name].grain is not one_by_one for role, key in named for name in columns[key].table)


def _least_steps(space: Space, columns: Columns, classes: int, kept: Kept) -> np.ndarray:
    """``to_budget.least_step`` of every point of ``columns``, (n,)."""

    def fits(step: np.ndarray) -> np.ndarray:
        return _price(space, columns, classes, replace(kept, step=step)).fits

    low, high = np.zeros_like(kept.step), np.full_like(kept.step, LAST)
    high[fits(low)] = 0
    while (open_ := high - low > 1).any():
        middle = (low + high) // 2
        fit = fits(middle)
        low, high = np.where(open_ & ~fit, middle, low), np.where(open_ & fit, middle, high)
    return high


def _assembled(space: Space, columns: Columns, classes: int, kept: Kept) -> _Batch:
    """The networks of all points of ``columns``, which begin alike, with the channels ``kept`` says."""
    (parent,) = _parents(columns)
    if parent != NO_PARENT:
        return _begun(space.start(parent, space.outputs(classes))[1], kept)
    shape = _input_shapes(columns)
    count = len(shape[0])
    everyone = np.arange(count)
    base, multiplier = columns["network.base"].numbers(), columns["network.multiplier"].numbers()
    heads = families("head")
    taps = max(heads[name].most_taps for name in columns["network.head"].table)
    batch = _Batch(shape, kept, taps)
    with np.errstate(divide="ignore", invalid="ignore"):
        stem = _Layer(columns, "network.stem", "network.stem_", "stem", space.ends["stem"], "network.stem_stride")
        stem.add(batch, everyone, base, Place())
        for number, given in enumerate(space.stages):
            path = f"network.stages.{number}."
            block = _Layer(columns, f"{path}family", path, "block", given, f"{path}stride")
            width = columns[f"{path}width"]
            out = np.where(width.missing, stage_width(base, multiplier, number), width.numbers(0))
            depth = columns[f"{path}depth"].numbers()
            at_first = columns[f"{path}stride_at"].among(("first",))
            for index in range(int(depth.max())):
                for last in (False, True):
                    rows = np.flatnonzero((depth - 1 == index) if last else (depth - 1 > index))
                    strided = np.where(at_first[rows], index == 0, last)
                    for with_stride in (False, True):
                        block.add(batch, rows[strided == with_stride], out, Place(number, index, last), with_stride)
        head = _Layer(columns, "network.head", "network.head_", "head", space.ends["head"], None)
        head.add(batch, everyone, np.full(count, space.outputs(classes)), Place())
    return batch


def _price(space: Space, columns: Columns, classes: int, kept: Kept) -> Prices:
    """The price of every point of ``columns`` with the channels ``kept`` says."""
    batch = _assembled(space, columns, classes, kept)
    kinds = columns["weight_type"]
    size = np.array([BYTES_PER_WEIGHT[kind] for kind in kinds.table])[kinds.values]
    params, macs, conv_linear_macs = (_whole(one) for one in (batch.params, batch.macs, batch.conv_linear_macs))
    a_second = _per_second(macs, space.constants["frontend.seconds"])
    weight_bytes = params * size
    fits = batch.valid & (a_second <= space.budget.macs) & (weight_bytes <= space.budget.weight_bytes)
    return Prices(params, macs, a_second, conv_linear_macs, weight_bytes, batch.valid, fits)


def _whole(values: np.ndarray) -> np.ndarray:
    """Exact integers; what is beyond ``MOST`` is ``MOST``."""
    return np.minimum(values, MOST).astype(np.int64)


def _per_second(macs: np.ndarray, seconds: float) -> np.ndarray:
    """``budget.macs_per_second`` of many windows."""
    if seconds == 1:
        return macs
    distinct, inverse = np.unique(macs, return_inverse=True)
    return np.array([min(macs_per_second(int(one), seconds), MOST) for one in distinct], np.int64)[inverse]


def _input_shapes(columns: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input (channel, freq, time) of each point, (n,) each: what its front end says, asked once for each there is."""
    fields = [columns[f"frontend.{name}"] for name in SHAPES]
    rows = np.stack([field.values.astype(float) for field in fields], axis=1)
    distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
    shapes = []
    for row in distinct:
        values = {
            name: value if field.table is None else field.table[int(value)]
            for name, field, value in zip(SHAPES, fields, row, strict=True)
        }
        whole_numbers = {key: int(values[key]) for key in ("rate_hz", "n_fft", "hop", "mels", "channels")}
        shapes.append(FrontEnd(**{**values, **whole_numbers}).shape)
    # As floats, so that an absurd width overflows nothing: integers are exact up to 2^53, far above any limit.
    return tuple(np.array(sizes, float)[inverse.reshape(-1)] for sizes in zip(*shapes, strict=True))


class _Layer:
    """A layer of the space: which family, options and stride each point has there."""

    def __init__(
        self, columns: Columns, family: str, prefix: str, role: str, given: tuple[str, ...], stride: str | None
    ) -> None:
        self._family = columns[family]
        self._members = families(role)
        self._options: Mapping[str, Column] = {key: columns[prefix + key] for key in given}
        self._stride = columns[stride] if stride is not None else None

    def add(self, batch: _Batch, rows: np.ndarray, out: np.ndarray, place: Place, strided: bool = True) -> None:
        """Add this layer to the networks ``rows``; ``out`` (n,) is its width in all networks."""
        for code, name in enumerate(self._family.table):
            mine = rows[self._family.values[rows] == code]
            if not len(mine):
                continue
            kind = self._members[name]
            numbers = {key: self._numbers(kind, key, mine) for key in kind.options if self._is_number(kind, key)}
            for group, options, stride in self._groups(kind, mine, batch.planned[mine] == out[mine], numbers, strided):
                batch.add(kind, mine[group], out[mine[group]], stride, place, options)

    def _is_number(self, kind: Family, key: str) -> bool:
        option = kind.options[key]
        free = option.choices is None or not option.branches
        return option.kind in ("int", "float") and free and key in self._options

    def _numbers(self, kind: Family, key: str, rows: np.ndarray) -> np.ndarray:
        return self._options[key].rows(rows).numbers(kind.defaults[key])

    def _groups(
        self, kind: Family, rows: np.ndarray, same: np.ndarray, numbers: Mapping[str, np.ndarray], strided: bool
    ) -> Iterator[tuple[np.ndarray, dict, Pair]]:
        """Indices into ``rows`` that agree in all that ``kind`` branches on, with their options and stride."""
        key, parts = same.astype(np.int64), []
        for option in kind.options:
            if option in numbers:
                if kind.options[option].low == 0:
                    key = key * 2 + (numbers[option] == 0)
            elif option in self._options:
                column = self._options[option]
                parts.append((option, column))
                if kind.options[option].branches:
                    key = key * len(column.table) + column.values[rows]
        steps = self._stride if strided else None
        if steps is not None:
            key = key * len(steps.table) + steps.values[rows]
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        for index, group in enumerate(np.split(order, np.cumsum(np.bincount(inverse))[:-1])):
            example = rows[first[index]]
            options: dict[str, Any] = {name: values[group] for name, values in numbers.items()}
            for option, column in parts:
                value = column.table[column.values[example]]
                if value is not None:
                    options[option] = value
            stride = (1, 1) if steps is None else STRIDE_PAIRS[steps.table[steps.values[example]]]
            yield group, options, stride
