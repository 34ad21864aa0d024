"""Rungs: how candidates learn from one to the next, who was stopped, and whether early rungs order as later ones do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import isnan
from statistics import median

from optuna.trial import FrozenTrial

from asc_search.report.page import Plot, Section, folded, missing, paragraph, table, text
from asc_search.report.rank_correlation import kendall, spearman
from asc_search.report.theme import BLUE, CYCLE, GREY, axis_title, base_figure, legend_above
from asc_search.report.view import View
from asc_search.space.candidate import Candidate

LEAST_FOR_RANKS = 3  # of fewer networks an order says nothing
MOST_LISTED = 300
SYMBOLS = ("circle", "diamond", "square")
Series = tuple[str, dict[int, float]]  # what was measured, and accuracy by trial


def rungs_section(view: View) -> Section:
    """Learning at each rung and promotions."""
    title, trained = "Rungs and promotions", view.trained
    if not trained:
        return Section("rungs", title, (missing("No figure yet: no candidate has been trained."),))
    return Section(
        "rungs",
        title,
        (
            paragraph(_rule(view)),
            Plot(
                "rungs-plot",
                _learning(view, trained),
                "Validation accuracy of every candidate at the rungs it reached",
                "Each line is a candidate; triangles were stopped there.",
            ),
            _promotions(view, trained),
            folded(f"The {len(trained):,} candidates trained", _candidates(trained)),
        ),
    )


def _rule(view: View) -> str:
    rungs, share = view.space.search.rungs, view.space.search.reduction
    if len(rungs) == 1:
        return f"Every candidate is trained for {rungs[0]} epochs; there is no rung at which one could stop."
    told = ", ".join(map(str, rungs[:-1]))
    return (
        f"After {told} of {rungs[-1]} epochs a candidate goes on only if it is among the best 1 in {share} of all that have "
        f"reached that rung so far (ordered by non-dominated fronts, not by accuracy alone); the first to come always does."
    )


def _learning(view: View, trained: Sequence[FrozenTrial]):  # type: ignore[no-untyped-def]
    fig = base_figure(
        360, xaxis_title=axis_title("epochs"), yaxis_title=axis_title("validation accuracy (%)"), **legend_above()
    )
    fig.update_xaxes(tickvals=list(view.space.search.rungs), range=[0, 1.06 * view.space.search.rungs[-1]])
    for status, name, symbol, color in (
        ("stopped", "stopped", "triangle-down", GREY),
        ("finished", "finished", "circle", BLUE),
    ):
        x: list[float | None] = []
        y: list[float | None] = []
        hover: list[str] = []
        sizes: list[int] = []
        for trial in trained:
            rungs = trial.user_attrs["rungs"]
            if trial.user_attrs["status"] != status:
                continue
            for index, rung in enumerate(rungs):
                x.append(rung["epochs"])
                y.append(100 * rung["accuracy"])
                hover.append(f"trial {trial.number}, {rung['epochs']} epochs: {100 * rung['accuracy']:.2f} %")
                sizes.append(9 if index + 1 == len(rungs) else 4)
            x.append(None)
            y.append(None)
            hover.append("")
            sizes.append(1)
        if x:
            fig.add_scatter(
                x=x, y=y, name=name, mode="lines+markers", hovertext=hover, hovertemplate="%{hovertext}<extra></extra>",
                line={"color": color, "width": 1.25}, opacity=0.85, marker={"symbol": symbol, "size": sizes, "color": color},
            )  # fmt: skip
    return fig


def _promotions(view: View, trained: Sequence[FrozenTrial]) -> str:
    rows = []
    for index, epochs in enumerate(view.space.search.rungs):
        here = [
            trial.user_attrs["rungs"][index]["accuracy"] for trial in trained if len(trial.user_attrs["rungs"]) > index
        ]
        on = sum(len(trial.user_attrs["rungs"]) > index + 1 for trial in trained)
        last = index + 1 == len(view.space.search.rungs)
        moved = ["-", "-"] if last or not here else [f"{on:,}", f"{len(here) - on:,}"]
        figures = [f"{100 * value:.1f}" for value in (max(here), median(here))] if here else ["-", "-"]
        rows.append([str(epochs), f"{len(here):,}", *moved, *figures])
    return table(("epochs", "reached by", "went on", "stopped", "best %", "median %"), rows, numeric=range(6))


def _candidates(trained: Sequence[FrozenTrial]) -> str:
    rows = []
    for trial in trained[:MOST_LISTED]:
        attrs = trial.user_attrs
        reached = " / ".join(f"{100 * rung['accuracy']:.1f}" for rung in attrs["rungs"])
        rows.append(
            [
                f'<td class="n">{trial.number}</td>',
                text(attrs.get("status", "")),
                f'<td class="n">{reached}</td>',
                f"{attrs['macs'] / 1e6:.2f}",
                f"{attrs['weight_bytes']:,}",
                f'<td class="long">{text(Candidate.from_json(attrs["candidate"]).describe())}</td>',
            ]
        )
    more = paragraph(f"The first {MOST_LISTED} of {len(trained):,}.") if len(trained) > MOST_LISTED else ""
    heads = ("trial", "", "accuracy % at the rungs", "M MACs/s", "bytes", "candidate")
    return table(heads, rows, numeric=(0, 2, 3, 4)) + more


def series(view: View) -> list[Series]:
    """What orders candidates, one after the other: accuracy at each rung, and after retraining (mean over seeds)."""
    found: list[Series] = []
    for index, epochs in enumerate(view.space.search.rungs):
        reached = {
            trial.number: trial.user_attrs["rungs"][index]["accuracy"]
            for trial in view.trained
            if len(trial.user_attrs["rungs"]) > index
        }
        found.append((f"{epochs} epoch{'' if epochs == 1 else 's'}", reached))
    retrained = {
        one.row.trial: one.accuracy for one in view.networks if one.row.role == "finalist" and one.row.trial is not None
    }
    return [*found, ("retrained", retrained)]


def correlation_section(view: View) -> Section:
    """Whether an early rung orders candidates as a later one does."""
    title, rows = "Do early rungs tell?", []
    fig = base_figure(
        360,
        xaxis_title=axis_title("accuracy earlier (%)"),
        yaxis_title=axis_title("accuracy later (%)"),
        **legend_above(),
    )
    ordered = series(view)
    for (i, (first, early)), (j, (second, late)) in combinations(enumerate(ordered), 2):
        both = sorted(early.keys() & late.keys())
        if len(both) < LEAST_FOR_RANKS:
            continue
        x, y = [early[one] for one in both], [late[one] for one in both]
        tau, rho = (("-" if isnan(value) else f"{value:.2f}") for value in (kendall(x, y), spearman(x, y)))
        name = f"{first} \u2192 {second}"
        rows.append([text(name), str(len(both)), tau, rho])
        if j == i + 1:
            fig.add_scatter(
                x=[100 * value for value in x], y=[100 * value for value in y], name=name, mode="markers",
                hovertext=[f"trial {one}" for one in both],
                hovertemplate="%{hovertext}: %{x:.1f} \u2192 %{y:.1f} %<extra></extra>",
                marker={"size": 9, "color": CYCLE[i % len(CYCLE)], "opacity": 0.85, "symbol": SYMBOLS[i % len(SYMBOLS)]},
            )  # fmt: skip
    if not rows:
        why = f"No figure yet: no two rungs share {LEAST_FOR_RANKS} candidates."
        return Section("ranks", title, (missing(why),))
    lead = paragraph(
        "Rank correlation of validation accuracies of the same candidates: 1 where the earlier order is the later one, 0 where "
        "it says nothing. Only those that went on are in both, which makes it smaller than among all."
    )
    measured = table(("from \u2192 to", "candidates", "Kendall \u03c4", "Spearman \u03c1"), rows, numeric=(1, 2, 3))
    plots = [Plot("ranks-plot", fig, "Accuracy at a later rung against an earlier one")] if fig.data else []
    return Section("ranks", title, (lead, measured, *plots))
