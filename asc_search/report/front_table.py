"""The front as a table in the terminal, and the order and number formats every front report shares."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from asc_search.study.records import FinalistRow, mean_std

ROLES = ("finalist", "reference", "undistilled", "dense")
NONE = "-"


def ordered(rows: Sequence[FinalistRow]) -> list[FinalistRow]:
    """Finalists, then references, then undistilled and dense twins; best validation accuracy first within each.

    The test split has no part in the order.
    """

    def key(row: FinalistRow) -> tuple[int, float, int, str]:
        role = ROLES.index(row.role) if row.role in ROLES else len(ROLES)
        return role, -mean_std(row.validation)[0] if row.validation else 0.0, row.macs, row.name

    return sorted(rows, key=key)


def percent(values: Sequence[float], digits: int = 1) -> str:
    """Mean of fractions in percent, with the standard deviation where there are several; ``-`` where there is none."""
    if not values:
        return NONE
    average, deviation = mean_std(tuple(values))
    spread = f"±{100 * deviation:.{digits}f}" if len(values) > 1 else ""
    return f"{100 * average:.{digits}f}{spread}"


def front_table(rows: Sequence[FinalistRow], budget_macs: int, budget_bytes: int) -> Table:
    """A table of ``rows`` that fits 100 columns, under one heading for each role.

    MACs are millions per second of audio, with what is left of the limit; what is over a limit is red.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    # Fixed: rich shortens every free column alike, and the names are worth more than the teachers.
    longest = max((len(row.name) for row in rows), default=0)
    table.add_column("role, name", width=min(max(longest + 1, 11), 20), overflow="fold")
    table.add_column("params", justify="right", no_wrap=True)
    table.add_column("MACs M\n(left)", justify="right", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("type", no_wrap=True)
    table.add_column("valid.\nacc. %", justify="right", no_wrap=True)
    table.add_column("test\nacc. %", justify="right", no_wrap=True)
    table.add_column("unseen\ntest %", justify="right", no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    table.add_column("teachers", overflow="fold")
    previous = None
    for row in ordered(rows):
        if row.role != previous:
            table.add_row(f"[dim]{escape(row.role)}[/dim]")
        previous = row.role
        table.add_row(
            Padding(escape(row.name), (0, 0, 0, 1)),
            f"{row.params:,}",
            _red(f"{row.macs / 1e6:.2f} ({(budget_macs - row.macs) / 1e6:.2f})", row.macs > budget_macs),
            _red(f"{row.weight_bytes:,}", row.weight_bytes > budget_bytes),
            escape(row.weight_type),
            percent(row.validation),
            percent(row.test),
            percent(row.unseen_test).split("±")[0],
            str(len(row.validation)),
            escape(", ".join(row.teachers) or NONE),
        )
    return table


def _red(text: str, over: bool) -> str:
    return f"[red]{text}[/red]" if over else text
