"""The price of one network against the limits, as `asc-search complexity` gives it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from asc_search.errors import AscSearchError
from asc_search.nets.cost import BYTES_PER_WEIGHT, Cost, Shape
from asc_search.nets.network import price
from asc_search.nets.spec import NetSpec, Scalar
from asc_search.nets.systems import SYSTEMS, WINDOW_SECONDS, system
from asc_search.oracle.budget import judge, macs_per_second
from asc_search.oracle.to_budget import fitted
from asc_search.progress import results
from asc_search.space.domains import Choice, Constant, FloatRange, IntRange
from asc_search.space.draw import DECIDE, parameters
from asc_search.space.load import load
from asc_search.space.presets import expressed
from asc_search.space.space import Budget, Space
from asc_search.space.tree import near

DCASE_CLASSES = 10
LARGEST_INPUT = 10**8


@dataclass(frozen=True)
class Quote:
    """A priced network: what it is called, its spec and cost, seconds of audio in a window, the limits, values taken."""

    name: str
    spec: NetSpec
    cost: Cost
    seconds: float
    budget: Budget
    taken: dict[str, Scalar]

    def to_json(self, layers: bool) -> dict[str, Any]:
        cost = self.cost
        found = {
            "name": self.name,
            "params": cost.params,
            "macs": cost.macs,
            "macs_per_second": macs_per_second(cost.macs, self.seconds),
            "conv_linear_macs": cost.conv_linear_macs,
            "weight_bytes": {kind: cost.weight_bytes(kind) for kind in BYTES_PER_WEIGHT},
            "int8_parts": asdict(cost.int8_parts),
            "peak_activation_bytes": cost.peak_activation_bytes("fp32"),
            "receptive_field": list(cost.receptive_field),
            "fits": {kind: judge(cost, kind, self.seconds, self.budget).fits for kind in BYTES_PER_WEIGHT},
            "limits": asdict(self.budget),
            "input": list(self.spec.input),
        }
        if self.taken:
            found["parameters"] = self.taken
        if layers:
            keys = ("name", "out", "params", "macs", "conv_linear_macs")
            found["layers"] = [{key: getattr(row, key) for key in keys} for row in cost.layers]
        return found


def quote(name: str, changes: Sequence[str], shape: str | None, window_s: float | None = None) -> Quote:
    """Price the design ``name``, or one point of the space in the file ``name``, with ``changes`` (``key=value``).

    ``shape`` is ``channels,mels,frames`` instead of the network's own input, and ``window_s`` the seconds of audio in it:
    unless told, those of its own input, and one second for another shape.

    Raises:
        NetworkError: unknown design, or it cannot be built on this input.
        AscSearchError: a change or the shape cannot be read.
        SpaceError: the file is no space.
    """
    if name.endswith((".yaml", ".yml")) or Path(name).is_file():
        space = load(name)
        chosen = _chosen(space, changes)
        classes = len(space.data.labels) or DCASE_CLASSES
        candidate, values = expressed(space, chosen, classes)
        for key in chosen.keys() - values.keys():
            when = next(one.condition for one in parameters(space) if one.name == key)
            raise AscSearchError(f"--set {key}={chosen[key]}: it exists only where {when}; --set that, too")
        taken = {key: value for key, value in values.items() if key.startswith(DECIDE)}
        spec, seconds, budget = fitted(candidate, space.budget).deployed, candidate.frontend.seconds, space.budget
    else:
        design = system(name)
        spec = design(**_arguments(name, design, changes))
        seconds, budget, taken = WINDOW_SECONDS.get(name, 1.0), Budget(), {}
    if shape is not None:
        spec, seconds = spec.with_input(_shape(shape)), 1.0
    return Quote(name, spec, price(spec), window_s or seconds, budget, taken)


def print_quote(quoted: Quote, layers: bool) -> None:
    """Print a price as a table with the margins to the limits, and the layers if wanted."""
    cost, budget = quoted.cost, quoted.budget
    shape = " x ".join(map(str, quoted.spec.input))
    table = Table("", "value", "limit", "margin", title=f"{quoted.name} on {shape} (channels x mels x frames)")
    table.add_row("parameters", f"{cost.params:,}", "", "")
    table.add_row("MACs (NeSsi) a window", f"{cost.macs:,}", "", "")
    table.add_row("MACs a second", *_against(macs_per_second(cost.macs, quoted.seconds), budget.macs))
    table.add_row("MACs (conv + linear)", f"{cost.conv_linear_macs:,}", "", "")
    for kind in BYTES_PER_WEIGHT:
        table.add_row(f"bytes as {kind}", *_against(cost.weight_bytes(kind), budget.weight_bytes))
    parts = cost.int8_parts
    told = f"{parts.biases:,} biases (int32), {parts.scales:,} scales (fp32)"
    table.add_row(
        "bytes besides, in an int8 file", told + (f", {parts.others:,} others (fp32)" * bool(parts.others)), "", ""
    )
    peaks = ", ".join(f"{cost.peak_activation_bytes(kind):,} {kind}" for kind in BYTES_PER_WEIGHT)
    table.add_row("peak activation bytes", peaks, "", "")
    table.add_row("receptive field", "{} mel bins x {} frames".format(*cost.receptive_field), "", "")
    results.print(table)
    if layers:
        results.print(_layer_table(cost))
    if quoted.taken:
        results.print("this point of the space; change it with --set name=value:", markup=False)
        for key, value in quoted.taken.items():
            results.print(f"  {key}={value}", markup=False)


def print_designs() -> None:
    """Print the published designs with their prices on their own input."""
    table = Table("design", "input", "parameters", "MACs (NeSsi)", "varied by", title="published designs")
    for column in table.columns[2:4]:
        column.justify = "right"
    for name, design in SYSTEMS.items():
        spec = design()
        cost = price(spec)
        varied = ", ".join(inspect.signature(design).parameters)
        table.add_row(name, " x ".join(map(str, spec.input)), f"{cost.params:,}", f"{cost.macs:,}", varied)
    results.print(table)


def _layer_table(cost: Cost) -> Table:
    table = Table("layer", "output", "params", "MACs (NeSsi)", "MACs (conv + linear)")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in cost.layers:
        sizes = " x ".join(map(str, row.out))
        table.add_row(row.name, sizes, f"{row.params:,}", f"{row.macs:,}", f"{row.conv_linear_macs:,}")
    return table


def _against(value: int, limit: int) -> tuple[str, str, str]:
    return f"{value:,}", f"{limit:,}", f"{limit - value:,}" if value <= limit else f"{value - limit:,} over"


def _split(change: str) -> tuple[str, str]:
    key, equals, text = change.partition("=")
    if not equals:
        raise AscSearchError(f"--set {change}: expected name=value")
    return key.strip(), text.strip()


def _chosen(space: Space, changes: Sequence[str]) -> dict[str, Scalar]:
    """The drawn values that ``changes`` ask for."""
    known = {
        one.name: one.domain for one in parameters(space) if isinstance(one.domain, Choice | IntRange | FloatRange)
    }
    fixed = {one.name: one.domain.value for one in space.parameters if isinstance(one.domain, Constant)}
    chosen = {}
    for change in changes:
        key, text = _split(change)
        if key in chosen:
            raise AscSearchError(f"--set {change}: {key} is set twice")
        if key in fixed:
            raise AscSearchError(f"--set {change}: {key} is fixed at {fixed[key]} in {space.file}; change it there")
        if key not in known:
            names = ", ".join(known) or "nothing: the space is one point"
            raise AscSearchError(f"--set {change}: no such parameter{near(key, known)}; {space.file} draws {names}")
        value = next((value for value in _readings(text) if known[key].contains(value)), None)
        if value is None:
            raise AscSearchError(f"--set {change}: {key} is {known[key].text} in {space.file}")
        chosen[key] = value
    return chosen


def _readings(text: str) -> list[Scalar]:
    """What ``text`` may mean: a switch, a number, itself."""
    readings: list[Scalar] = [text]
    for kind in (int, float):
        try:
            readings.insert(0, kind(text))
        except ValueError:
            continue
    if text.lower() in ("true", "false"):
        readings.insert(0, text.lower() == "true")
    return readings


def _tuple(text: str) -> tuple[int, ...] | None:
    """Whole numbers between commas, brackets or not."""
    try:
        return tuple(int(part) for part in text.strip("()[] ").split(","))
    except ValueError:
        return None


def _arguments(name: str, design: Callable[..., NetSpec], changes: Sequence[str]) -> dict[str, Any]:
    """The arguments of ``design`` that ``changes`` set."""
    allowed = inspect.signature(design).parameters
    arguments: dict[str, Any] = {}
    for change in changes:
        key, text = _split(change)
        if key not in allowed:
            known = ", ".join(allowed) or "nothing: its widths are fixed"
            raise AscSearchError(f"--set {change}: {name} can be varied in {known} (key=value)")
        kind = type(allowed[key].default)
        value = next((value for value in _readings(text) if type(value) is kind), None)
        if value is None and kind is float:
            value = next((float(value) for value in _readings(text) if type(value) is int), None)
        if kind is tuple:
            value = _tuple(text)
            if value is not None and (len(value) != len(allowed[key].default) or min(value) < 1):
                value = None
        if value is None:
            default = allowed[key].default
            raise AscSearchError(f"--set {change}: {key} is of kind {kind.__name__}, for example {default}")
        if (kind is int and not 0 <= value < 10**6) or (kind is float and not 0 < value < 1e6):
            raise AscSearchError(
                f"--set {change}: {key} must be {'above' if kind is float else 'at least'} 0 and below a million"
            )
        arguments[key] = value
    return arguments


def _shape(text: str) -> Shape:
    try:
        channels, freq, time = (int(part) for part in text.split(","))
    except ValueError:
        raise AscSearchError(f"--input {text}: expected channels,mels,frames, for example 1,256,65") from None
    if not 1 <= min(channels, freq, time) <= max(channels, freq, time) <= LARGEST_INPUT:
        raise AscSearchError(f"--input {text}: every number must be at least 1 and at most {LARGEST_INPUT:,}")
    return channels, freq, time
