"""The front: accuracy against MACs with the budget, the legend, and the table of results."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from functools import cache

from asc_search.nets.network import price
from asc_search.nets.systems import SYSTEMS, WINDOW_SECONDS
from asc_search.oracle.budget import judge, macs_per_second
from asc_search.report.front_figure import figure
from asc_search.report.front_layers import PUBLISHED_LAYER, ROW_LAYERS, TRIAL_LAYERS, Published
from asc_search.report.front_table import NONE, ordered, percent
from asc_search.report.page import Plot, Section, missing, paragraph, table
from asc_search.report.view import View
from asc_search.space.space import Budget
from asc_search.study.records import FinalistRow, TrialPoint, mean_std

PLOT_NOTE = (
    "Bars: standard deviation over seeds. Area of a mark: weight bytes (trials on a smaller scale). Line: finalists "
    "that no other finalist beats in both MACs and validation accuracy; numbers are those of the table. "
    "Trials were trained for fewer epochs than finalists."
)
SPLIT_NOTE = (
    "Networks were selected, and are ordered here, by accuracy on the validation split alone. The test split took no "
    "part in the selection and was evaluated after it. Accuracies are macro averages over classes in percent, "
    "mean \u00b1 standard deviation over seeds."
)

GLYPHS = {
    "circle": "\u25cf",
    "diamond": "\u25c6",
    "square": "\u25a0",
    "triangle-down": "\u25bc",
    "triangle-up": "\u25b2",
    "circle-open": "\u25cb",
    "x-thin-open": "\u2715",
    "line-ns-open": "\u2503",
}


@cache
def published_within(budget: Budget) -> list[Published]:
    """The published designs that keep the limits as they are: name, parameters, MACs per second of audio."""
    found = []
    for name, design in SYSTEMS.items():
        cost, seconds = price(design()), WINDOW_SECONDS.get(name, 1.0)
        if judge(cost, "fp16", seconds, budget).fits:
            found.append((name, cost.params, macs_per_second(cost.macs, seconds)))
    return found


def front_section(view: View) -> Section:
    """The section of a run."""
    return section_of(view.rows, view.points, published_within(view.space.budget), view.space.budget)


def section_of(
    rows: Sequence[FinalistRow], trials: Sequence[TrialPoint], published: Sequence[Published], budget: Budget
) -> Section:
    """The section from its parts; all MACs, those of ``published`` designs too, are per second of audio."""
    fig = figure(rows, trials, published, budget.macs, budget.weight_bytes)
    plot = Plot(
        "front-plot", fig, "Validation accuracy against MACs of all networks", _legend([one.name for one in fig.data])
    )
    shown = ordered(rows)
    results = [paragraph(SPLIT_NOTE), _table(shown, budget.macs, budget.weight_bytes), _descriptions(shown)]
    if not rows:
        results = [missing("No table of results yet: no network has been retrained.")]
    lead = paragraph(_summary(rows, trials, budget.macs, budget.weight_bytes))
    return Section("front", "The front", (lead, plot, paragraph(PLOT_NOTE), "<h3>Results</h3>", *results))


def _legend(names: Sequence[str]) -> str:
    """A button for each layer drawn; ``names`` are those of the traces, in order."""
    layers = [
        *ROW_LAYERS.values(),
        (PUBLISHED_LAYER, "line-ns-open", ROW_LAYERS["reference"][2]),
        *TRIAL_LAYERS.values(),
    ]
    traces = {name: [index for index, own in enumerate(names) if own == name] for name in names}
    buttons = [
        f'<button type="button" aria-pressed="true" data-of="front-plot" data-traces="{traces[name]}">'
        f'<span style="color:{color}">{GLYPHS[symbol]}</span> {name}</button>'
        for name, symbol, color in layers
        if name in names
    ]
    return f'<div class="legend">{"".join(buttons)}</div>'


def _summary(rows: Sequence[FinalistRow], trials: Sequence[TrialPoint], budget_macs: int, budget_bytes: int) -> str:
    finalists = sum(row.role == "finalist" for row in rows)
    counts = Counter(trial.state for trial in trials)
    words = {"finished": "finished", "stopped": "stopped early", "rejected": "rejected by cost", "failed": "failed"}
    states = ", ".join(f"{counts[state]:,} {word}" for state, word in words.items() if counts[state])
    searched = f" from {len(trials):,} trials ({states})" if trials else ""
    return (
        f"{finalists} finalist{'' if finalists == 1 else 's'}{searched}. "
        f"Limits: {budget_macs:,} MACs per second of audio and {budget_bytes:,} bytes of weights."
    )


def _table(rows: Sequence[FinalistRow], budget_macs: int, budget_bytes: int) -> str:
    accuracies = ("validation acc. %", "test acc. %", "unseen devices, test acc. %")
    heads = ("name", "params", "MACs/s", "bytes", *accuracies, "test log loss", "seeds x epochs")
    cells = [_cells(number, row, budget_macs, budget_bytes) for number, row in enumerate(rows, 1)]
    return table(heads, cells, numeric=range(1, len(heads)))


def _cells(number: int, row: FinalistRow, budget_macs: int, budget_bytes: int) -> list[str]:
    def limited(value: int, limit: int, note: str) -> str:
        margin = f"{limit - value:,} left" if value <= limit else f"{value - limit:,} over"
        mark = "" if value <= limit else " over"
        return f'<td class="n{mark}">{value:,}<small>{html.escape(note)}{margin}</small></td>'

    log_loss = f"{mean_std(row.test_log_loss)[0]:.3f}" if row.test_log_loss else NONE
    return [
        f'<td class="name">{_numbered(number, row)}<small>{html.escape(row.role)}</small></td>',
        f"{row.params:,}",
        limited(row.macs, budget_macs, ""),
        limited(row.weight_bytes, budget_bytes, f"{row.weight_type}, "),
        *(percent(values, 2).replace("±", " ± ") for values in (row.validation, row.test, row.unseen_test)),
        log_loss,
        f"{len(row.validation)} x {row.epochs}",
    ]


def _numbered(number: int, row: FinalistRow) -> str:
    return f"{f'{number}. ' if row.role == 'finalist' else ''}{html.escape(row.name)}"


def _descriptions(rows: Sequence[FinalistRow]) -> str:
    """What each network is, in words, under the table: too long for a column."""
    told = [
        f"<dt>{_numbered(number, row)}</dt><dd>{html.escape(row.description)}"
        f"{html.escape('; taught by ' + ', '.join(row.teachers)) if row.teachers else ''}</dd>"
        for number, row in enumerate(rows, 1)
    ]
    return f"<dl>{''.join(told)}</dl>"
