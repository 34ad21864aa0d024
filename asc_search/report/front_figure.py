"""The front as a Plotly figure: validation accuracy against MACs per second, with the budget and all trials."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from asc_search.report.front_layers import Published, add_published, add_rows, add_trials
from asc_search.report.front_table import ordered
from asc_search.report.theme import RED, axis_title, base_figure
from asc_search.study.records import FinalistRow, TrialPoint, mean_std

STRIP, STRIP_GAP, TICK_ROW, MAIN = 54, 16, 16, 440  # heights in px
MARGIN_TOP, MARGIN_BOTTOM = 34, 46


def figure(
    rows: Sequence[FinalistRow],
    trials: Sequence[TrialPoint],
    published: Sequence[Published],
    budget_macs: int,
    budget_bytes: int,
) -> go.Figure:
    """The plot, three panels on one MACs axis: published designs as ticks, accuracies, trials without accuracy.

    Finalists carry their number in ``ordered(rows)``. Marker area is proportional to weight bytes.
    """
    shown = ordered(rows)
    limit = _right_end(shown, trials, published, budget_macs)
    ticks = TICK_ROW * len(published)
    panels = MAIN + STRIP + STRIP_GAP + (ticks + STRIP_GAP if ticks else 0)
    strip_top, main_bottom = STRIP / panels, (STRIP + STRIP_GAP) / panels
    main_top = main_bottom + MAIN / panels
    fig = base_figure(panels + MARGIN_TOP + MARGIN_BOTTOM)
    add_trials(fig, trials, budget_bytes)
    add_rows(fig, shown, budget_bytes)
    add_published(fig, published, limit)
    _add_budget(fig, budget_macs, limit, (main_bottom + main_top) / 2)
    _note_trials_beyond(fig, trials, limit, (strip_top + main_bottom) / 2)
    fig.update_layout(
        margin={"l": 62, "r": 14, "t": MARGIN_TOP, "b": MARGIN_BOTTOM},
        xaxis={
            "title": axis_title("million MACs per second of audio"),
            "range": [0, limit],
            "anchor": "y2",
            "zeroline": False,
        },
        yaxis={
            "title": axis_title("validation accuracy (%)"),
            "domain": [main_bottom, min(1.0, main_top)],
            "range": _accuracy_range(shown, trials),
            "zeroline": False,
        },
        yaxis2={
            "domain": [0, strip_top],
            "range": [0, 1],
            "tickvals": [0.5],
            "ticktext": ["no result"],
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        },
    )
    if ticks:
        fig.update_layout(
            yaxis3={
                "domain": [1 - ticks / panels, 1],
                "range": [-0.5, len(published) - 0.5],
                "tickvals": [(len(published) - 1) / 2],
                "ticktext": ["published"],
                "showgrid": False,
                "zeroline": False,
                "fixedrange": True,
            }
        )
    return fig


def _right_end(
    rows: Sequence[FinalistRow], trials: Sequence[TrialPoint], published: Sequence[Published], budget_macs: int
) -> float:
    """End of the MACs axis in millions: a fifth beyond the budget, or beyond all that has an accuracy or a tick."""
    needed = [
        *(row.macs for row in rows),
        *(macs for _, _, macs in published),
        *(trial.macs for trial in trials if trial.accuracy is not None),
    ]
    return max(1.2 * budget_macs, 1.05 * max(needed, default=0)) / 1e6


def _accuracy_range(rows: Sequence[FinalistRow], trials: Sequence[TrialPoint]) -> list[float]:
    values = [100 * trial.accuracy for trial in trials if trial.accuracy is not None]
    for row in rows:
        if row.validation:
            average, deviation = mean_std(row.validation)
            values += [100 * (average - deviation), 100 * (average + deviation)]
    low, high = min(values, default=0.0), max(values, default=100.0)
    pad = max(1.0, 0.08 * (high - low))
    return [max(0.0, low - pad), min(100.0, high + pad)]


def _add_budget(fig: go.Figure, budget_macs: int, limit: float, middle: float) -> None:
    edge = budget_macs / 1e6
    fig.add_shape(
        type="rect", xref="x", yref="paper", x0=edge, x1=limit, y0=0, y1=1, fillcolor=RED, opacity=0.09, line_width=0
    )
    fig.add_shape(type="line", xref="x", yref="paper", x0=edge, x1=edge, y0=0, y1=1, line={"color": RED, "width": 1.5})
    fig.add_annotation(
        text=f"over the limit of {edge:g} M MACs/s",
        xref="x",
        yref="paper",
        x=(edge + limit) / 2,
        y=middle,
        textangle=-90,
        showarrow=False,
        font={"size": 12},
    )


def _note_trials_beyond(fig: go.Figure, trials: Sequence[TrialPoint], limit: float, y: float) -> None:
    """How many trials lie right of the axis, above the end of the strip; the autoscale button shows them."""
    beyond = sum(trial.macs > limit * 1e6 for trial in trials)
    if beyond:
        fig.add_annotation(
            text=f"{beyond:,} more \u25b8",
            xref="paper",
            yref="paper",
            x=1,
            y=y,
            xanchor="right",
            yanchor="middle",
            showarrow=False,
            font={"size": 11},
        )
