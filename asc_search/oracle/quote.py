"""A design's price against the limits, as `asc-search complexity` gives it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from asc_search.errors import AscSearchError
from asc_search.nets.cost import BYTES_PER_WEIGHT, Shape
from asc_search.nets.network import price
from asc_search.nets.systems import system
from asc_search.oracle.budget import Budget, judge
from asc_search.progress import results


def quote(name: str, changes: Sequence[str], shape: str | None) -> dict[str, Any]:
    """Price the design ``name`` with ``changes`` (``key=value``) on ``shape`` (``channels,mels,frames``), one window a second.

    Raises:
        NetworkError: unknown design, or it cannot be built on this input.
        AscSearchError: a change or the shape cannot be read.
    """
    design = system(name)
    spec = design(**_arguments(name, design, changes))
    if shape is not None:
        spec = spec.with_input(_shape(shape))
    cost = price(spec)
    weight_bytes = {kind: cost.weight_bytes(kind) for kind in BYTES_PER_WEIGHT}
    return {
        "params": cost.params,
        "macs": cost.macs,
        "conv_linear_macs": cost.conv_linear_macs,
        "weight_bytes": weight_bytes,
        "fits": {kind: judge(cost, kind, 1.0, Budget()).fits for kind in weight_bytes},
        "input": list(spec.input),
    }


def print_quote(name: str, priced: dict[str, Any]) -> None:
    """Print a price as a table with the margins to the limits."""
    budget = Budget()
    table = Table("", "value", "limit", "margin", title=f"{name} on {' x '.join(map(str, priced['input']))}")
    table.add_row("parameters", f"{priced['params']:,}", "", "")
    table.add_row("MACs (NeSsi)", *_against(priced["macs"], budget.macs))
    table.add_row("MACs (conv + linear)", f"{priced['conv_linear_macs']:,}", "", "")
    for kind, size in priced["weight_bytes"].items():
        table.add_row(f"bytes as {kind}", *_against(size, budget.weight_bytes))
    results.print(table)


def _against(value: int, limit: int) -> tuple[str, str, str]:
    return f"{value:,}", f"{limit:,}", f"{limit - value:,}" if value <= limit else f"{value - limit:,} over"


def _arguments(name: str, design: Any, changes: Sequence[str]) -> dict[str, Any]:
    allowed = inspect.signature(design).parameters
    arguments: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or key not in allowed:
            known = ", ".join(allowed) or "nothing: its widths are fixed"
            raise AscSearchError(f"--set {change}: {name} can be varied in {known} (key=value)")
        kind = type(allowed[key].default)
        try:
            arguments[key] = kind(text)
        except ValueError:
            raise AscSearchError(f"--set {change}: {key} is a number of kind {kind.__name__}") from None
        if not 0 < arguments[key] < 1e6:
            raise AscSearchError(f"--set {change}: {key} must be above 0 and below a million")
    return arguments


def _shape(text: str) -> Shape:
    try:
        channels, freq, time = (int(part) for part in text.split(","))
    except ValueError:
        raise AscSearchError(f"--input {text}: expected channels,mels,frames, for example 1,256,65") from None
    if min(channels, freq, time) < 1:
        raise AscSearchError(f"--input {text}: every number must be at least 1")
    return channels, freq, time
