"""Hypervolume over trainings: how the front grew while the search ran."""

from __future__ import annotations

from math import prod

from asc_search.report.page import Plot, Section, missing, paragraph
from asc_search.report.theme import BLUE, ORANGE, axis_title, base_figure, legend_above
from asc_search.report.view import View
from asc_search.study.pareto import Point, dominates, hypervolume
from asc_search.study.pool import as_point
from asc_search.study.search import reference_point

AXES = {"accuracy": "error", "macs": "MACs : limit", "weight_bytes": "bytes : limit", "params": "parameters : limit"}


def growth(points: list[Point], reference: Point) -> list[float]:
    """Share of the box below ``reference`` that the first 1, 2, ... of ``points`` dominate."""
    front: list[Point] = []
    grown: list[float] = []
    for point in points:
        if grown and any(other == point or dominates(other, point) for other in front):
            grown.append(grown[-1])
            continue
        front = [*(other for other in front if not dominates(point, other)), point]
        grown.append(hypervolume(front, reference) / prod(reference))
    return grown


def progress_section(view: View) -> Section:
    """The section of a run."""
    title, trained = "Progress of the search", view.trained
    if not trained:
        return Section("progress", title, (missing("No figure yet: no candidate has been trained."),))
    reference = reference_point(view.space)
    points = [as_point(view.space, trial.user_attrs["rungs"][-1]["accuracy"], trial.user_attrs) for trial in trained]
    volumes = growth(points, reference)
    best, epochs, spent = [], [], 0
    for trial, point in zip(trained, points, strict=True):
        best.append(max(100 * (1 - point[0]), best[-1] if best else 0.0))
        spent += trial.user_attrs["rungs"][-1]["epochs"]
        epochs.append(spent)
    x = list(range(1, len(trained) + 1))
    known = [[trial.number, spent_so_far] for trial, spent_so_far in zip(trained, epochs, strict=True)]
    shown = "lines+markers" if len(x) <= 60 else "lines"
    fig = base_figure(
        340,
        xaxis_title=axis_title("trainings"),
        yaxis_title=axis_title("hypervolume (% of the box)"),
        yaxis2={
            "title": axis_title("best accuracy (%)"),
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
            "tickmode": "auto",
            "nticks": 6,
        },
        **legend_above(),
    )
    fig.update_xaxes(rangemode="tozero")
    fig.add_scatter(
        x=x, y=[round(100 * value, 3) for value in volumes], name="hypervolume", mode=shown, customdata=known,
        hovertemplate="trial %{customdata[0]}: %{customdata[1]} epochs spent so far<br>hypervolume %{y:.2f} %<extra></extra>",
        line={"color": BLUE, "width": 2, "shape": "hv"},
    )  # fmt: skip
    fig.add_scatter(
        x=x, y=[round(value, 3) for value in best], name="best accuracy", mode="lines", yaxis="y2", hoverinfo="skip",
        line={"color": ORANGE, "width": 1.5, "dash": "dot", "shape": "hv"},
    )  # fmt: skip
    names = " and ".join(AXES.get(one, one) for one in view.space.objectives)
    corner = ", ".join(f"{value:g}" for value in reference)
    lead = paragraph(
        f"What the candidates trained so far dominate together, as a share of the box of {names} below ({corner}); "
        "accuracies are those on the validation split at the rung a candidate reached. "
        f"{len(trained):,} trainings, {spent:,} epochs in all."
    )
    return Section(
        "progress", title, (lead, Plot("progress-plot", fig, "Hypervolume and best accuracy over trainings"))
    )
