"""What `asc-search space check` says: how much of a space fits, what its points cost, and what drives that."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from asc_search.errors import InfeasibleSpaceError
from asc_search.oracle.feasibility import EDGES, LEAST_SHARE, QUANTILES, Feasibility
from asc_search.progress import results
from asc_search.space.draw import parameters
from asc_search.space.space import Space

BAR = 40  # characters of the longest bar
CONDITION = 120  # characters of a condition that are shown


def as_json(space: Space, found: Feasibility) -> dict[str, Any]:
    """The findings as one JSON object."""
    draws = found.draws_per_training
    return {
        "space": space.file,
        "parameters": [{"name": one.name, "range": one.range, "when": one.condition} for one in parameters(space)],
        "limits": asdict(space.budget),
        "draws": found.draws,
        "share": found.share,
        "interval": list(found.interval),
        "unbuildable": found.unbuildable / found.draws,
        "draws_per_training": draws if found.fits else None,
        "macs": _quantiles(found.macs, found.macs_counts),
        "weight_bytes": _quantiles(found.weight_bytes, found.weight_bytes_counts),
        "costliest": None if found.costliest is None else asdict(found.costliest),
        "enough": found.enough,
    }


def _quantiles(values: tuple[int, ...], counts: tuple[int, ...]) -> dict[str, Any]:
    at = {f"{quantile:g}": value for quantile, value in zip(QUANTILES, values, strict=False)}
    return {"quantiles": at, "histogram": {"edges_over_limit": list(EDGES), "draws": list(counts)}}


def print_check(space: Space, found: Feasibility) -> None:
    """Print what is searched, how the costs are spread against the limits, and the findings in words."""
    table = Table("parameter", "range", "only where", title=f"{space.file}: what is searched")
    for one in parameters(space):
        condition = one.condition if len(one.condition) <= CONDITION else f"{one.condition[:CONDITION]} ..."
        table.add_row(Text(one.name), Text(one.range), Text(condition))
    results.print(table)
    for name, counts in (("MACs per second", found.macs_counts), ("weight bytes", found.weight_bytes_counts)):
        results.print(_histogram(name, counts))
    results.print(found.advice(), markup=False)
    if found.fits:
        results.print(f"one training takes {found.draws_per_training:,.1f} random draws on average", markup=False)


def _histogram(name: str, counts: tuple[int, ...]) -> Text:
    """Bars of draws by cost over limit; what fits is green."""
    text = Text(f"{name}, times the limit\n")
    total, most = max(1, sum(counts)), max(1, *counts)
    lows = (0.0, *EDGES)
    for low, high, count in zip(lows, (*EDGES, None), counts, strict=True):
        span = f"{low:g} to {high:g}" if high is not None else f"over {low:g}"
        fits = high is not None and high <= 1
        text.append(f"{span:>14} ")
        text.append("█" * round(BAR * count / most) or "▏", style="green" if fits else "red")
        text.append(f" {count / total:.1%}\n")
    return text


def refuse_hopeless(space: Space, found: Feasibility) -> None:
    """Refuse a space that a search cannot do anything with.

    Raises:
        InfeasibleSpaceError: less than 0.1 % of it fits; the message says what costs most.
    """
    if not found.enough:
        raise InfeasibleSpaceError(
            f"{space.file}: less than {LEAST_SHARE:.1%} of the space is within the budget; a search would only refuse.\n"
            + found.advice()
        )
