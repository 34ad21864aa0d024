"""The layers of the front's plot: networks, trials and published designs as Plotly traces with their hover texts."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Sequence

import plotly.graph_objects as go

from asc_search.report.front_table import NONE, percent
from asc_search.report.theme import BLUE, GREEN, GREY, ORANGE, PURPLE, RED
from asc_search.study.records import FinalistRow, TrialPoint, mean_std

Published = tuple[str, int, int]  # (name, params, macs per second)

ROW_LAYERS = {
    "finalist": ("finalists", "circle", BLUE),
    "reference": ("published designs, same recipe", "diamond", ORANGE),
    "undistilled": ("finalists trained without teachers", "square", GREEN),
    "dense": ("pruned finalists' widths from scratch", "triangle-up", PURPLE),
}
PUBLISHED_LAYER = "published designs, cost only"
TRIAL_LAYERS = {
    "finished": ("trials finished", "circle", GREY),
    "stopped": ("trials stopped early", "triangle-down", GREY),
    "rejected": ("trials rejected by cost", "circle-open", RED),
    "failed": ("trials without a result", "x-thin-open", RED),
}
DIAMETER_AT_LIMIT, TRIAL_DIAMETER_AT_LIMIT = 18.0, 11.0
# Plotly draws a size as a circle's diameter, a square's side, 1.3 half diagonals, 2/3 of a height: these make equal areas.
EQUAL_AREA = {"circle": 1.0, "diamond": 0.96, "square": 0.89, "triangle-up": 1.35}
LABEL_LENGTH = 24


def non_dominated(rows: Sequence[FinalistRow]) -> list[FinalistRow]:
    """The rows no other row beats in both MACs and mean validation accuracy, by rising MACs."""
    front: list[FinalistRow] = []
    for row in sorted((row for row in rows if row.validation), key=lambda row: (row.macs, -_accuracy(row))):
        if not front or _accuracy(row) > _accuracy(front[-1]):
            front.append(row)
    return front


def _accuracy(row: FinalistRow) -> float:
    return mean_std(row.validation)[0]


def _diameter(weight_bytes: int, budget_bytes: int, at_limit: float) -> float:
    return min(1.6, max(0.4, math.sqrt(weight_bytes / budget_bytes))) * at_limit


def _text(value: str, width: int = 58, lines: int = 6) -> str:
    """User text for a hover label: escaped, wrapped, and cut after ``lines`` lines."""
    wrapped = textwrap.wrap(value, width, max_lines=lines, placeholder=" ...")
    return "<br>".join(html.escape(line, quote=False) for line in wrapped)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _row_hover(row: FinalistRow, number: int | None) -> str:
    lines = [
        f"<b>{f'{number}. ' if number else ''}{_text(row.name)}</b>",
        f"validation {percent(row.validation, 2).replace('±', ' ± ')} % ({_count(len(row.validation), 'seed')})",
        f"{row.params:,} parameters, {row.macs:,} MACs/s",
        f"{row.weight_bytes:,} bytes ({_text(row.weight_type)})",
        f"teachers: {_text(', '.join(row.teachers) or NONE)}",
        _text(row.description),
    ]
    return "<br>".join(line for line in lines if line)


def _trial_hover(trial: TrialPoint) -> str:
    accuracy = (
        "" if trial.accuracy is None else f"validation {100 * trial.accuracy:.2f} % ({_count(trial.epochs, 'epoch')})"
    )
    lines = [
        f"<b>trial {trial.number}</b> ({_text(trial.state)})",
        accuracy,
        f"{trial.params:,} parameters, {trial.macs:,} MACs/s",
        f"{trial.weight_bytes:,} bytes",
        _text(trial.reason),
    ]
    return "<br>".join(line for line in lines if line)


def _scatter(name: str, **options: object) -> go.Scatter:
    hover = {"hovertemplate": "%{hovertext}<extra></extra>"} if "hovertext" in options else {"hoverinfo": "skip"}
    return go.Scatter(name=name, **{"mode": "markers", **hover, **options})


def add_rows(fig: go.Figure, rows: Sequence[FinalistRow], budget_bytes: int) -> None:
    front = non_dominated([row for row in rows if row.role == "finalist"])
    if len(front) > 1:
        fig.add_trace(
            _scatter(
                ROW_LAYERS["finalist"][0],
                x=[row.macs / 1e6 for row in front],
                y=[100 * _accuracy(row) for row in front],
                mode="lines",
                line={"shape": "hv", "color": BLUE, "width": 2},
            )
        )
    for role in ("dense", "undistilled", "reference", "finalist"):
        name, symbol, color = ROW_LAYERS[role]
        members = [(number, row) for number, row in enumerate(rows, 1) if row.role == role and row.validation]
        if not members:
            continue
        numbered = role == "finalist"
        fig.add_trace(
            _scatter(
                name,
                x=[row.macs / 1e6 for _, row in members],
                y=[100 * _accuracy(row) for _, row in members],
                error_y={
                    "array": [100 * mean_std(row.validation)[1] for _, row in members],
                    "thickness": 1.5,
                    "width": 4,
                    "color": color,
                },
                mode="markers+text" if numbered else "markers",
                text=[str(number) for number, _ in members] if numbered else None,
                # Up and to the left of a point on the front there is no other finalist.
                textposition="top left",
                textfont={"size": 13},
                cliponaxis=False,
                hovertext=[_row_hover(row, number if numbered else None) for number, row in members],
                marker={
                    "symbol": symbol,
                    "color": color,
                    "opacity": 1,
                    "size": [
                        EQUAL_AREA[symbol] * _diameter(row.weight_bytes, budget_bytes, DIAMETER_AT_LIMIT)
                        for _, row in members
                    ],
                    "line": {"width": 1.5, "color": "#ffffff"},
                },
            )
        )


def _layer_of(trial: TrialPoint) -> str:
    if trial.state == "rejected" or (trial.accuracy is not None and trial.state in ("finished", "stopped")):
        return trial.state
    return "failed"


def add_trials(fig: go.Figure, trials: Sequence[TrialPoint], budget_bytes: int) -> None:
    for layer in ("stopped", "finished", "rejected", "failed"):
        name, symbol, color = TRIAL_LAYERS[layer]
        chosen = [trial for trial in trials if _layer_of(trial) == layer]
        if not chosen:
            continue
        trained = layer in ("finished", "stopped")
        fig.add_trace(
            _scatter(
                name,
                x=[trial.macs / 1e6 for trial in chosen],
                # The golden ratio spreads neighbouring trial numbers evenly over the strip, the same way every time.
                y=[
                    100 * trial.accuracy if trained else 0.12 + 0.76 * (trial.number * 0.6180339887 % 1.0)
                    for trial in chosen
                ],
                yaxis="y" if trained else "y2",
                hovertext=[_trial_hover(trial) for trial in chosen],
                marker={
                    "symbol": symbol,
                    "color": color,
                    "opacity": 0.6 if trained else 0.8,
                    "size": [_diameter(trial.weight_bytes, budget_bytes, TRIAL_DIAMETER_AT_LIMIT) for trial in chosen],
                },
            )
        )


def add_published(fig: go.Figure, published: Sequence[Published], limit: float) -> None:
    """One tick and label a row, cheapest at the bottom, so labels never meet; the label is on the roomier side."""
    if not published:
        return
    designs = sorted(published, key=lambda design: design[2])
    x = [macs / 1e6 for _, _, macs in designs]
    fig.add_trace(
        _scatter(
            PUBLISHED_LAYER,
            x=x,
            y=list(range(len(designs))),
            yaxis="y3",
            mode="markers+text",
            text=[
                html.escape(textwrap.shorten(name, LABEL_LENGTH, placeholder="...") or name[:LABEL_LENGTH], quote=False)
                for name, _, _ in designs
            ],
            textposition=["middle left" if value > limit / 2 else "middle right" for value in x],
            textfont={"size": 11},
            hovertext=[
                f"<b>{_text(name)}</b><br>{params:,} parameters, {macs:,} MACs/s" for name, params, macs in designs
            ],
            marker={"symbol": "line-ns-open", "size": 12, "color": ORANGE, "line": {"width": 2, "color": ORANGE}},
        )
    )
