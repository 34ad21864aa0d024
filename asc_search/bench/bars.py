"""What a benchmark says: where it ran, and its bars with their goals."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from asc_search import __version__
from asc_search.progress import results


@dataclass(frozen=True)
class Bar:
    """One measured figure, its goal and whether it holds."""

    name: str
    value: float
    goal: float
    holds: bool


def at_least(name: str, value: float, goal: float) -> Bar:
    """A bar that holds from ``goal`` up."""
    return Bar(name, value, goal, value >= goal)


def at_most(name: str, value: float, goal: float) -> Bar:
    """A bar that holds up to ``goal``."""
    return Bar(name, value, goal, value <= goal)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "asc_search": __version__,
        "system": sys.platform,
    }


def report(name: str, ran: dict[str, Any], bars: list[Bar]) -> dict[str, Any]:
    """The object `asc-search bench NAME --json` prints."""
    return {"bench": name, "ran": ran, "machine": machine(), "bars": [asdict(bar) for bar in bars]}


def print_report(found: dict[str, Any]) -> None:
    """Print a report as a table."""
    table = Table("bar", "value", "goal", "holds", title=f"bench {found['bench']}")
    for bar in found["bars"]:
        table.add_row(bar["name"], f"{bar['value']:,.4g}", f"{bar['goal']:,g}", "yes" if bar["holds"] else "no")
    results.print(table)
    told = [*found["ran"].items(), *((key, value) for key, value in found["machine"].items() if value is not None)]
    for key, value in told:
        results.print(f"  {key}: {value}", markup=False)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
