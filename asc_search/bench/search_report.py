"""What `asc-search bench search` found, as a table and as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from rich.table import Table

from asc_search.files import write_atomically
from asc_search.progress import results

COLOURS = ("#d62728", "#7f7f7f", "#17becf", "#1f77b4", "#2ca02c", "#9467bd")


def print_strategies(found: dict[str, Any]) -> None:
    """Print, for every table, each strategy's hypervolume at the end and its epochs to that of Optuna's default."""
    for name, one in found["ran"]["tables"].items():
        table = Table(
            "strategy", "hypervolume (quartiles)", "epochs to Optuna's default", title=f"{name}, {one['epochs']} epochs"
        )
        for strategy, (low, middle, high) in one["final"].items():
            needed = one["epochs_to_default"][strategy]
            shown = f"{needed:,.0f}" if needed <= one["epochs"] else "not reached"
            table.add_row(strategy, f"{middle:.4g} ({low:.4g} to {high:.4g})", shown)
        results.print(table)


def write_figure(found: dict[str, Any], path: Path) -> None:
    """Write the hypervolumes over the epochs, median and quartiles, one panel a table, as one HTML file."""
    tables = found["ran"]["tables"]
    figure = make_subplots(rows=1, cols=len(tables), subplot_titles=list(tables))
    for column, one in enumerate(tables.values(), 1):
        for colour, (name, curve) in zip(COLOURS, one["curves"].items(), strict=False):
            low, middle, high = zip(*curve, strict=True)
            shared = {"legendgroup": name, "showlegend": False}
            band = go.Scatter(
                x=[*one["marks"], *reversed(one["marks"])], y=[*high, *reversed(low)], fill="toself", opacity=0.15,
                line={"width": 0}, fillcolor=colour, hoverinfo="skip", **shared,
            )  # fmt: skip
            line = go.Scatter(
                x=one["marks"], y=middle, name=name, line={"color": colour}, **(shared | {"showlegend": column == 1})
            )
            figure.add_trace(band, row=1, col=column)
            figure.add_trace(line, row=1, col=column)
        figure.update_xaxes(title_text="training epochs", row=1, col=column)
    figure.update_yaxes(title_text="hypervolume", col=1)
    figure.update_layout(title=f"Hypervolume against epochs, median and quartiles of {found['ran']['seeds']} seeds")
    write_atomically(path, lambda aside: figure.write_html(aside, include_plotlyjs=True))
