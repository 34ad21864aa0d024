"""The importance of the parameters as a figure."""

from __future__ import annotations

from asc_search.report.importance import LEAST_TRAINED
from asc_search.report.page import Plot, Section, missing, paragraph
from asc_search.report.theme import BLUE, axis_title, base_figure
from asc_search.report.view import View

MOST_SHOWN = 15


def importance_section(view: View) -> Section:
    """The section of a run."""
    title, trained = "What decides the accuracy", view.trained
    found = view.importances
    if not found:
        why = f"No figure yet: {len(trained)} candidates are trained, importances need {LEAST_TRAINED}."
        return Section("importance", title, (missing(why),))
    shown = list(found.items())[:MOST_SHOWN][::-1]
    fig = base_figure(60 + 24 * len(shown), xaxis_title=axis_title("importance (%)"), bargap=0.35)
    fig.add_bar(
        x=[100 * value for _, value in shown], y=[short(name) for name, _ in shown], orientation="h", marker={"color": BLUE},
        hovertext=[name for name, _ in shown], hovertemplate="%{hovertext}: %{x:.1f} %<extra></extra>",
    )  # fmt: skip
    fig.update_yaxes(showgrid=False, ticksuffix=" ")
    lead = paragraph(
        f"Share of each parameter in being among the best at the first rung, by PED-ANOVA over the {len(trained):,} candidates "
        f"trained (conditional parameters included). "
        + ("With so few candidates it is a hint, not a finding." if len(trained) < 50 else "")
    )
    caption = f"The first {len(shown)} of {len(found)} parameters." if len(found) > len(shown) else ""
    return Section("importance", title, (lead, Plot("importance-plot", fig, "Importance of the parameters", caption)))


def short(name: str) -> str:
    """A parameter's path without what is clear: ``network.stages.0.family`` as ``stage 1 family``."""
    words = name.removeprefix("network.").split(".")
    if words[0] == "stages":
        return f"stage {int(words[1]) + 1} {' '.join(words[2:])}"
    return " ".join(words[-1:] if words[0] in ("training", "frontend", "distillation") else words)
