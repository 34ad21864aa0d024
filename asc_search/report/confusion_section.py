"""The confusion matrix of the best finalist."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from asc_search.report.page import Plot, Section, missing, paragraph, text
from asc_search.report.theme import SHADES, axis_title, base_figure
from asc_search.report.view import View
from asc_search.train.metrics import Metrics

MOST_NUMBERED = 15  # classes up to which every cell carries its number
PAIRS = 5


def summed(metrics: Sequence[Metrics]) -> tuple[list[str], np.ndarray]:
    """Class names, and the clips by true (row) and predicted (column) class, summed over ``metrics``."""
    return list(metrics[0].class_wise), np.sum([np.asarray(one.confusion) for one in metrics], axis=0)


def shares(counts: np.ndarray) -> np.ndarray:
    """Rows of ``counts`` in percent of the row; 0 where a class has no clip."""
    return 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))


def confusion_section(view: View) -> Section:
    """The section of a run."""
    title, best = "Confusion", view.best
    if best is None:
        return Section("confusion", title, (missing("No figure yet: no network has been retrained."),))
    split, metrics = ("test", best.test) if best.test else ("validation", best.validation)
    classes, counts = summed(metrics)
    told = paragraph(
        f"{best.row.name}, the finalist best on validation, on the {split} split, {len(metrics)} "
        f"seed{'' if len(metrics) == 1 else 's'} together: of the clips of a scene (row) the share heard as each (column), "
        "in percent."
    )
    told_plot = f"Confusion matrix of {best.row.name} on the {split} split"
    plot = Plot("confusion-plot", heatmap(classes, counts), told_plot, square=True)
    return Section("confusion", title, (told, plot, _pairs(classes, counts)))


def heatmap(classes: Sequence[str], counts: np.ndarray) -> go.Figure:
    """The matrix as a figure; the first class on top."""
    share, names = shares(counts), [text(textwrap.shorten(one, 22, placeholder="...") or one[:22]) for one in classes]
    side = min(30, max(9, 340 / len(classes)))
    longest = max(map(len, names))
    fig = base_figure(
        int(side * len(classes) + 7 * longest + 60),
        xaxis_title=axis_title("heard as"),
        yaxis_title=axis_title("is"),
    )
    places = list(range(len(classes)))
    hover = [
        [
            f"{text(is_)} heard as {text(heard)}: {counts[i, j]:,} clips ({share[i, j]:.1f} %)"
            for j, heard in enumerate(classes)
        ]
        for i, is_ in enumerate(classes)
    ]
    numbered = len(classes) <= MOST_NUMBERED
    fig.add_heatmap(
        x=places, y=places, z=share.round(2).tolist(), hovertext=hover, hovertemplate="%{hovertext}<extra></extra>",
        colorscale=SHADES, zmin=0, zmax=100, showscale=not numbered, xgap=1, ygap=1,
        colorbar={"thickness": 10, "ticksuffix": " %"},
        text=[[f"{value:.0f}" if value >= 0.5 else "" for value in row] for row in share] if numbered else None,
        texttemplate="%{text}" if numbered else None,
    )  # fmt: skip
    # Numbers as places, names as their labels: equal shortened names stay apart.
    fig.update_xaxes(tickvals=places, ticktext=names, tickangle=-90, showgrid=False, ticks="")
    fig.update_yaxes(tickvals=places, ticktext=names, autorange="reversed", showgrid=False, ticks="", ticksuffix=" ")
    return fig


def _pairs(classes: Sequence[str], counts: np.ndarray) -> str:
    """The pairs most often taken for each other, either way."""
    both = counts + counts.T
    pairs = sorted(
        ((int(both[i, j]), i, j) for i in range(len(classes)) for j in range(i) if both[i, j]),
        key=lambda one: (-one[0], one[1:]),
    )[:PAIRS]
    if not pairs:
        return paragraph("No clip was taken for another scene.")
    told = "; ".join(f"{classes[j]} and {classes[i]} ({clips:,} clips)" for clips, i, j in pairs)
    return paragraph(f"Most confused: {told}.")
