"""What the best network costs, block by block and layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from asc_search.nets.cost import Cost, LayerCost
from asc_search.oracle.budget import macs_per_second, price_candidate
from asc_search.report.page import Plot, Section, folded, missing, paragraph, table, text
from asc_search.report.theme import BLUE, ORANGE, axis_title, base_figure, legend_above
from asc_search.report.view import View


def cost_section(view: View) -> Section:
    """The section of a run."""
    title, best = "Where the cost lies", view.best
    if best is None:
        return Section("cost", title, (missing("No figure yet: no network has been retrained."),))
    candidate = best.finalist.candidate
    cost = price_candidate(candidate)
    seconds = candidate.frontend.seconds
    shape = " x ".join(map(str, candidate.deployed.input))
    told = paragraph(
        f"{best.row.name} on {shape} (channels x mels x frames): {cost.params:,} parameters, "
        f"{macs_per_second(cost.macs, seconds):,} MACs per second of audio, at most "
        f"{cost.peak_activation_bytes('fp16'):,} bytes of activations in fp16, receptive field "
        f"{cost.receptive_field[0]} mel bins x {cost.receptive_field[1]} frames."
    )
    plot = Plot("cost-plot", _bars(cost), "Share of MACs and parameters by block")
    return Section("cost", title, (told, plot, folded(f"All {len(cost.layers)} operations", _layers(cost.layers))))


def blocks(layers: Sequence[LayerCost]) -> list[tuple[str, int, int]]:
    """Name, MACs and parameters of each block, in order: layers are called ``block.layer``."""
    found: dict[str, list[int]] = {}
    for layer in layers:
        key = ".".join(layer.name.split(".")[:2])
        total = found.setdefault(key, [0, 0])
        total[0] += layer.macs
        total[1] += layer.params
    return [(name, *total) for name, total in found.items()]


def _bars(cost: Cost) -> go.Figure:
    priced = blocks(cost.layers)[::-1]
    names = [text(name.replace(".", " ", 1)) for name, _, _ in priced]
    fig = base_figure(
        80 + 38 * len(priced), barmode="group", bargap=0.3, xaxis_title=axis_title("share (%)"), **legend_above()
    )
    fig.update_yaxes(showgrid=False, ticksuffix=" ")
    for title, index, total, color in (("parameters", 2, cost.params, ORANGE), ("MACs", 1, cost.macs, BLUE)):
        values = [one[index] for one in priced]
        fig.add_bar(
            y=names, x=[100 * value / max(1, total) for value in values], name=title, orientation="h", marker={"color": color},
            customdata=values, hovertemplate="%{y}: %{customdata:,} " + title + " (%{x:.1f} %)<extra></extra>",
        )  # fmt: skip
    fig.update_layout(legend_traceorder="reversed")
    return fig


def _layers(layers: Sequence[LayerCost]) -> str:
    rows = [
        [text(one.name), " x ".join(map(str, one.out)), f"{one.params:,}", f"{one.macs:,}", f"{one.conv_linear_macs:,}"]
        for one in layers
    ]
    heads = ("operation", "output", "parameters", "MACs (NeSsi)", "MACs (conv + linear)")
    return table(heads, rows, numeric=range(1, 5))
