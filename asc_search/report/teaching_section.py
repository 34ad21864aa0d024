"""Who teaches best: accuracy by teacher and by size of the subset, each teacher's importance, agreement, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

import plotly.graph_objects as go
from optuna.trial import FrozenTrial

from asc_search.report.page import Plot, Section, missing, paragraph, table, text
from asc_search.report.teachers import KeptTeacher, agreement, kept_teachers
from asc_search.report.theme import BLUE, GREY, ORANGE, axis_title, base_figure
from asc_search.report.view import View

PARAMETER = "distillation.teachers"
Group = tuple[str, list[tuple[int, float]]]  # its name; (trial, accuracy in percent) of its members


def teaching_section(view: View) -> Section:
    """The section of a run."""
    title, names = "Who teaches best", tuple(view.space.pool)
    if not names:
        return Section("teaching", title, (missing("This space has no teachers."),))
    parts: list[str | Plot] = [
        paragraph(
            "Accuracies are those at the first rung, which every candidate reaches. Candidates differ in much besides their "
            "teachers, so a difference of means is a hint; more trainings make it firmer."
        )
    ]
    taught = [trial for trial in view.trained if "candidate" in trial.user_attrs]
    if taught:
        groups = _by_teacher(taught, names) + _by_size(taught)
        parts.append(
            Plot(
                "teaching-plot",
                _strips(groups),
                "Accuracy of the candidates with and without each teacher, and by number of teachers",
                "A point is a candidate; the orange stroke is the mean of its row.",
            )
        )
    else:
        parts.append(missing("No figure yet: no candidate has been trained."))
    kept = kept_teachers(view.run.root, names)
    parts += [_table(kept, taught, names, _bits(view.importances, names)), *_agreement(kept)]
    return Section("teaching", title, tuple(parts))


def _teachers(trial: FrozenTrial) -> tuple[str, ...]:
    return tuple(trial.user_attrs["candidate"]["distillation"]["teachers"])


def _accuracy(trial: FrozenTrial) -> tuple[int, float]:
    return trial.number, 100 * trial.user_attrs["rungs"][0]["accuracy"]


def _by_teacher(trained: Sequence[FrozenTrial], names: Sequence[str]) -> list[Group]:
    groups: list[Group] = []
    for name in names:
        groups.append((f"with {name}", [_accuracy(trial) for trial in trained if name in _teachers(trial)]))
        groups.append((f"without {name}", [_accuracy(trial) for trial in trained if name not in _teachers(trial)]))
    return groups


def _by_size(trained: Sequence[FrozenTrial]) -> list[Group]:
    sizes = sorted({len(_teachers(trial)) for trial in trained})
    return [
        (
            f"{size or 'no'} teacher{'' if size == 1 else 's'}",
            [_accuracy(t) for t in trained if len(_teachers(t)) == size],
        )
        for size in sizes
    ]


def _strips(groups: Sequence[Group]) -> go.Figure:
    """A row of points for each group that has any, its mean as a stroke."""
    shown = [group for group in groups if group[1]][::-1]
    labels = [f"{text(name)} ({len(members)})" for name, members in shown]
    fig = base_figure(70 + 34 * len(shown), xaxis_title=axis_title("accuracy at the first rung (%)"))
    fig.update_yaxes(
        tickvals=list(range(len(shown))),
        ticktext=labels,
        range=[-0.6, len(shown) - 0.4],
        showgrid=False,
        ticksuffix=" ",
    )
    for row, (name, members) in enumerate(shown):
        # The golden ratio spreads neighbouring trials over the row, the same way every time.
        height = [row - 0.18 + 0.36 * (number * 0.6180339887 % 1.0) for number, _ in members]
        color = GREY if name.startswith("without") else BLUE
        fig.add_scatter(
            x=[accuracy for _, accuracy in members], y=height, mode="markers",
            marker={"size": 7, "color": color, "opacity": 0.75},
            hovertext=[f"trial {number}: {accuracy:.1f} %" for number, accuracy in members],
            hovertemplate="%{hovertext}<extra></extra>",
        )  # fmt: skip
        middle = mean(accuracy for _, accuracy in members)
        fig.add_scatter(
            x=[middle, middle], y=[row - 0.32, row + 0.32], mode="lines", line={"color": ORANGE, "width": 3},
            hovertemplate=f"mean {middle:.2f} %<extra></extra>",
        )  # fmt: skip
    return fig


def _bits(found: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """Importance of each teacher over the subset's bits; empty where the subset is not searched or too little is known."""
    bits = {name: found.get(f"{PARAMETER}[{name}]", 0.0) for name in names}
    return bits if sum(bits.values()) else {}


def _table(
    kept: Sequence[KeptTeacher], trained: Sequence[FrozenTrial], names: Sequence[str], bits: Mapping[str, float]
) -> str:
    if not kept and not trained:
        return missing("No table of teachers yet: none has been taught.")
    by_name = {one.name: one.validation for one in kept}
    rows = []
    for name in names:
        metrics = by_name.get(name)
        calibration = None if metrics is None else metrics.calibration_error
        with_it = [_accuracy(trial)[1] for trial in trained if name in _teachers(trial)]
        without = [_accuracy(trial)[1] for trial in trained if name not in _teachers(trial)]
        gain = f"{mean(with_it) - mean(without):+.1f}" if with_it and without else "-"
        rows.append(
            [
                f'<td class="name">{text(name)}</td>',
                "-" if metrics is None else f"{100 * metrics.accuracy:.1f}",
                "-" if metrics is None else f"{metrics.log_loss:.2f}",
                "-" if calibration is None else f"{100 * calibration:.1f}",
                f"{len(with_it):,}",
                f"{mean(with_it):.1f}" if with_it else "-",
                gain,
                f"{100 * bits[name]:.1f}" if bits else "-",
            ]
        )
    heads = (
        "teacher", "own accuracy %", "log loss", "calibration error %", "candidates", "their mean %", "against without",
        "importance %",
    )  # fmt: skip
    told = (
        "Own accuracy, log loss and expected calibration error (15 bins) on the validation clips; importance of the subset's "
        "bits among all parameters by PED-ANOVA."
    )
    return table(heads, rows, numeric=range(1, 8), caption=told)


def _agreement(kept: list[KeptTeacher]) -> list[str]:
    if len(kept) < 2:
        return [missing("Agreement between teachers: needs two that have been taught.")]
    shared = agreement(kept)
    if shared is None:
        return [missing("Agreement between teachers: their files do not speak of the same windows.")]
    rows = [
        [f'<td class="name">{text(one.name)}</td>']
        + [f'<td class="tint" style="--a:{0.6 * value:.3f}">{100 * value:.0f}</td>' for value in values]
        for one, values in zip(kept, shared, strict=True)
    ]
    told = "Share of the training windows, mixtures included, in which two teachers name the same class (%)."
    return [table(("", *(text(one.name) for one in kept)), rows, numeric=range(1, len(kept) + 1), caption=told)]
