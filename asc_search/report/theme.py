"""What all figures share: tones that hold on white and near-black alike, and a layout without a ground of its own."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

# Tones that stand out on white and on near-black alike; shape tells layers apart too.
BLUE, ORANGE, GREEN, GREY, RED = "#3987e5", "#e8710a", "#1a9e77", "#8b909a", "#d64545"
PURPLE, SAND = "#9268d6", "#c79a1b"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SAND, RED, GREY)
# From nothing to blue: the page's own ground shows through, light or dark.
SHADES = [[0.0, "rgba(57,135,229,0)"], [1.0, "rgba(57,135,229,0.85)"]]


def base_figure(height: int, **layout: Any) -> go.Figure:
    """An empty figure ``height`` px high, transparent; ``layout`` is Plotly's, merged over what all figures share."""
    fig = go.Figure()
    fig.update_layout(
        template=None,
        height=height,
        margin={"l": 56, "r": 14, "t": 12, "b": 46},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 12, "color": GREY},
        hovermode="closest",
        hoverlabel={"align": "left"},
        showlegend=False,
        # A dragging finger must scroll the page; zooming is a button.
        dragmode=False,
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": BLUE},
    )
    grid = {"gridcolor": "rgba(139,144,154,0.25)", "zeroline": False, "automargin": True}
    fig.update_xaxes(**grid)
    fig.update_yaxes(**grid)
    fig.update_layout(**layout)
    return fig


def axis_title(text: str) -> dict[str, Any]:
    """An axis title near its axis."""
    return {"text": text, "standoff": 6}


def legend_above() -> dict[str, Any]:
    """Layout of a legend in a row above the plot."""
    return {
        "showlegend": True,
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.0,
            "xanchor": "left",
            "yanchor": "bottom",
            "itemsizing": "constant",
        },
    }
