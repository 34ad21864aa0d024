"""Families on integer arrays of widths and sizes: elementwise what they give one by one. Batch pricing relies on it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from random_specs import FAMILIES, random_place, random_stride, random_value

from asc_search.errors import NetworkError
from asc_search.nets.blocks import Family
from asc_search.nets.cost import Shape
from asc_search.nets.ledger import Ledger, Map
from asc_search.nets.spec import LayerSpec, Scalar
from asc_search.oracle.array_ledger import ArrayLedger

COUNT = 60
ROUNDS = 24  # draws of all that is one value for a whole array


def options_of(rng: random.Random, kind: Family) -> dict[str, Any]:
    """Options of ``kind``: a number that nothing branches on is an array half of the time, zero in all places or in none."""
    options: dict[str, Any] = {}
    for key, option in kind.options.items():
        options[key] = random_value(rng, option)
        free = option.kind in ("int", "float") and (option.choices is None or not option.branches)
        if free and options[key] != 0 and rng.random() < 0.5:
            values: list[Scalar] = []
            while len(values) < COUNT:
                values += [value for value in (random_value(rng, option),) if value != 0]
            options[key] = np.array(values)
    return options


def element(value: Any, index: int) -> Scalar:
    """``value`` at ``index`` as the plain number it would be alone."""
    return value[index].item() if isinstance(value, np.ndarray) else value


def alone(kind: Family, layer: LayerSpec, shapes: list[Shape]) -> tuple[int, int, int, Shape] | None:
    """Params, MACs, weights' MACs and output shape of ``layer``, or None where it is refused."""
    ledger = Ledger((1, 1, 1))
    ledger.enter(0, kind.name)
    try:
        made = kind.price(layer, ledger, *(Map(*shape) for shape in shapes))
    except NetworkError:
        return None
    return ledger.params, ledger.macs, ledger.conv_linear_macs, made.shape


def keep(width: Any) -> Any:
    """Two thirds of a width, or of an array of them."""
    left = width * 2 // 3
    return np.maximum(1, left) if isinstance(width, np.ndarray) else max(1, left)


@pytest.mark.parametrize("kind", FAMILIES, ids=lambda kind: kind.name)
def test_arrays_are_planned_and_priced_as_each_element_is(kind: Family) -> None:
    rng = random.Random(kind.name)
    numbers = np.random.default_rng(0)
    valid = refused = 0
    for number in range(ROUNDS):
        # Equal widths and multiples of 8 half of the time: shortcuts, and structures that ask for them.
        unit = 1 if number % 2 else 8
        inp = unit * numbers.integers(1, 96 // unit, COUNT)
        if kind.role == "stem":
            inp = numbers.integers(1, 4, COUNT)
        out = inp if number % 4 < 2 else inp + unit * numbers.integers(1, 40 // unit, COUNT)
        sizes = numbers.integers(1, 70, COUNT), numbers.integers(1, 70, COUNT)
        if number % 3:
            sizes = 4 * sizes[0], sizes[1]
        stride = (1, 1) if kind.role == "head" else random_stride(rng)
        place, options = random_place(rng), options_of(rng, kind)
        layer = kind.layer(inp, out, stride, place, **options)
        shrunk = kind.prunable(layer) and number % 5 == 0
        together = kind.shrink(layer, keep) if shrunk else layer
        widths = [numbers.integers(1, 99, COUNT) for _ in range(kind.taps(layer) - 1)]
        widths.append(keep(inp) if shrunk and kind.role != "stem" else inp)
        ledger = ArrayLedger(COUNT)
        ledger.enter(0, kind.name)
        with np.errstate(divide="ignore", invalid="ignore"):
            made = kind.price(together, ledger, *(Map(width, *sizes) for width in widths))
        totals = np.broadcast_arrays(
            *(ledger.params, ledger.macs, ledger.conv_linear_macs, *made.shape), np.zeros(COUNT, np.int64)
        )
        for index in range(COUNT):
            own = {key: element(value, index) for key, value in options.items()}
            one = kind.layer(int(inp[index]), int(out[index]), stride, place, **own)
            planned = {key: element(value, index) for key, value in layer.options.items()}
            assert planned == dict(one.options), (kind.name, options)
            assert {key: type(value) for key, value in planned.items()} == {
                key: type(value) for key, value in one.options.items()
            }
            if shrunk:
                one = kind.shrink(one, keep)
            shapes = [(int(width[index]), int(sizes[0][index]), int(sizes[1][index])) for width in widths]
            expected = alone(kind, one, shapes)
            assert ledger.valid[index] == (expected is not None), (one, shapes)
            if expected is None:
                refused += 1
                continue
            valid += 1
            got = [int(total[index]) for total in totals]
            assert (got[0], got[1], got[2], tuple(got[3:6])) == expected, (one, shapes)
    assert valid >= 0.1 * COUNT * ROUNDS, (valid, refused)
