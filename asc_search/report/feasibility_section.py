"""Feasibility: what share of the draws was refused by its price, for which limit, over time."""

from __future__ import annotations

from collections import Counter
from math import ceil

from optuna.trial import FrozenTrial

from asc_search.report.page import Plot, Section, missing, paragraph
from asc_search.report.theme import BLUE, GREY, ORANGE, PURPLE, RED, axis_title, base_figure, legend_above
from asc_search.report.view import View

MOST_BINS = 20
FATES = {
    "fits": ("within the budget", BLUE),
    "macs": ("over in MACs", ORANGE),
    "weight_bytes": ("over in bytes", PURPLE),
    "both": ("over in both", RED),
    "shape": ("cannot be built", GREY),
}


def fate(trial: FrozenTrial) -> str:
    """``fits``, or the limit it is over: ``macs``, ``weight_bytes``, ``both``; ``shape`` where it cannot be built."""
    over = [name for name, value in trial.constraints.items() if value > 0]
    if "shape" in over:
        return "shape"
    return "fits" if not over else over[0] if len(over) == 1 else "both"


def feasibility_section(view: View) -> Section:
    """The section of a run."""
    title, drawn = "Feasibility", [trial for trial in view.trials if trial.constraints]
    if not drawn:
        return Section("feasibility", title, (missing("No figure yet: no candidate has been drawn."),))
    fates = [fate(trial) for trial in drawn]
    size = ceil(len(drawn) / MOST_BINS)
    bins = [Counter(fates[start : start + size]) for start in range(0, len(drawn), size)]
    widths = [one.total() for one in bins]
    middles = [index * size + (width + 1) / 2 for index, width in enumerate(widths)]
    fig = base_figure(
        320,
        barmode="stack",
        xaxis_title=axis_title("draws"),
        yaxis_title=axis_title("share (%)"),
        **legend_above(),
    )
    fig.update_yaxes(range=[0, 100])
    for key, (name, color) in FATES.items():
        if key in fates:
            fig.add_bar(
                x=middles, width=[0.9 * width for width in widths], y=[100 * one[key] / one.total() for one in bins],
                name=name, marker={"color": color, "opacity": 0.85},
                customdata=[one[key] for one in bins], hovertemplate="%{customdata} " + name + " (%{y:.0f} %)<extra></extra>",
            )  # fmt: skip
    counts = Counter(fates)
    refused = len(fates) - counts["fits"]
    reasons = ", ".join(f"{counts[key]:,} {name}" for key, (name, _) in FATES.items() if key != "fits" and counts[key])
    lead = paragraph(
        f"{refused:,} of {len(fates):,} draws ({100 * refused / len(fates):.0f} %) were refused by their price alone, without a "
        f"training{f': {reasons}' if reasons else ''}. A share that falls shows a sampler that learns the budget."
    )
    caption = f"Each bar is {size} draw{'' if size == 1 else 's'}, in their order."
    return Section(
        "feasibility", title, (lead, Plot("feasibility-plot", fig, "Share of draws refused, over time", caption))
    )
