"""The front as one self-contained web page: the plot, what was selected on which split, and the results."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from asc_search.files import write_atomically
from asc_search.report.front_figure import figure
from asc_search.report.front_layers import PUBLISHED_LAYER, ROW_LAYERS, TRIAL_LAYERS, Published
from asc_search.report.front_table import NONE, ordered, percent
from asc_search.study.records import FinalistRow, TrialPoint, mean_std

# Nothing may be loaded: the page is read offline, and a name in it must not reach the network either.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; form-action 'none'"
)
PLOT_CONFIG = {
    "responsive": True,
    "displaylogo": False,
    # The first of these would offer to send the results to a web service.
    "modeBarButtonsToRemove": ["sendChartToCloud", "select2d", "lasso2d"],
    "plotlyServerURL": "",
}

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

# The legend is part of the page, not of the plot, so that it wraps at any width; its buttons hide and show layers.
SCRIPT = """
for (const button of document.querySelectorAll("[data-traces]")) {
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", shown);
    Plotly.restyle("front", { visible: shown }, JSON.parse(button.dataset.traces));
  });
}
"""

STYLE = """
:root { color-scheme: light dark; --ground: #fcfcfb; --ink: #1d1f23; --soft: #5a5f68; --line: #dddfe3; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #16181c; --ink: #e8e9ec; --soft: #a3a8b2; --line: #33373e; --bad: #ff8a80; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem clamp(.75rem, 3vw, 2rem); max-width: 80rem; background: var(--ground);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 .25rem; font-size: 1.35rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 1.75rem 0 .5rem; font-size: 1.05rem; }
p { margin: .25rem 0 .75rem; color: var(--soft); max-width: 75ch; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
.n { text-align: right; }
td.n { white-space: nowrap; }
td.name { min-width: 8rem; max-width: 16rem; overflow-wrap: anywhere; font-weight: 600; }
td.long { min-width: 14rem; overflow-wrap: anywhere; }
tr.first td { border-top: 2px solid var(--soft); }
small { display: block; color: var(--soft); font-weight: 400; }
.over { color: var(--bad); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem .5rem; margin: .25rem 0 .75rem; }
.legend button { font: inherit; font-size: .8125rem; color: var(--ink); background: none; border: 0;
  border-radius: .25rem; padding: .2rem .4rem; cursor: pointer; }
.legend button:hover { background: var(--line); }
.legend button[aria-pressed=false] { opacity: .4; text-decoration: line-through; }
.legend span { display: inline-block; width: 1.2em; text-align: center; }
/* Plotly writes colours into style attributes; the page's own win, so the plot follows the colour scheme. */
.xtick text, .ytick text, .y2tick text, .y3tick text, .xtitle, .ytitle, .legendtext, .annotation-text
  { fill: var(--soft) !important; }
.textpoint text { fill: var(--ink) !important; }
.gridlayer path { stroke: var(--line) !important; }
.scatterlayer .point[style*="rgb(255, 255, 255)"] { stroke: var(--ground) !important; }
.hoverlayer .hovertext path { fill: var(--ground) !important; stroke: var(--soft) !important; }
.hoverlayer .hovertext text { fill: var(--ink) !important; }
"""


def write_front_html(
    rows: Sequence[FinalistRow],
    trials: Sequence[TrialPoint],
    published: Sequence[Published],
    budget_macs: int,
    budget_bytes: int,
    title: str,
    path: Path,
) -> None:
    """Write the page to ``path`` in one step; it holds all it needs and loads nothing.

    All MACs, those of ``published`` designs (name, params, macs) too, are per second of audio.
    """
    fig = figure(rows, trials, published, budget_macs, budget_bytes)
    plot = fig.to_html(
        full_html=False,
        include_plotlyjs=True,
        div_id="front",
        config=PLOT_CONFIG,
    )
    name = html.escape(title)
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{name}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{name}</h1>
<p>{html.escape(_summary(rows, trials, budget_macs, budget_bytes))}</p>
{plot}
{_legend([trace.name for trace in fig.data])}
<p>{PLOT_NOTE}</p>
<h2>Results</h2>
<p>{SPLIT_NOTE}</p>
<div class="scroll">
{_table(ordered(rows), budget_macs, budget_bytes)}
</div>
<script>{SCRIPT}</script>
</body>
</html>
"""
    write_atomically(Path(path), lambda aside: aside.write_text(page, encoding="utf-8"))


def _legend(names: Sequence[str]) -> str:
    """A button for each layer drawn; ``names`` are those of the traces, in order."""
    layers = [
        *ROW_LAYERS.values(),
        (PUBLISHED_LAYER, "line-ns-open", ROW_LAYERS["reference"][2]),
        *TRIAL_LAYERS.values(),
    ]
    buttons = [
        f'<button type="button" aria-pressed="true" data-traces="{[i for i, own in enumerate(names) if own == name]}">'
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
    numeric = ("#", "", "params", "MACs/s", "bytes", *accuracies, "test log loss", "seeds", "epochs")
    heads = [f'<th scope="col" class="n">{head}</th>' for head in numeric]
    heads[1] = '<th scope="col">name</th>'
    cells = "".join([*heads, '<th scope="col">teachers, description</th>'])
    body, previous = [], None
    for number, row in enumerate(rows, 1):
        first = previous is not None and row.role != previous
        previous = row.role
        body.append(f"<tr{' class=first' if first else ''}>{_cells(number, row, budget_macs, budget_bytes)}</tr>")
    return f"<table>\n<thead><tr>{cells}</tr></thead>\n<tbody>\n" + "\n".join(body) + "\n</tbody>\n</table>"


def _cells(number: int, row: FinalistRow, budget_macs: int, budget_bytes: int) -> str:
    def limited(value: int, limit: int, note: str) -> str:
        margin = f"{limit - value:,} left" if value <= limit else f"{value - limit:,} over"
        mark = "" if value <= limit else " over"
        return f'<td class="n{mark}">{value:,}<small>{html.escape(note)}{margin}</small></td>'

    log_loss = f"{mean_std(row.test_log_loss)[0]:.3f}" if row.test_log_loss else NONE
    return "".join(
        (
            f'<td class="n">{number if row.role == "finalist" else ""}</td>',
            f'<td class="name">{html.escape(row.name)}<small>{html.escape(row.role)}</small></td>',
            f'<td class="n">{row.params:,}</td>',
            limited(row.macs, budget_macs, ""),
            limited(row.weight_bytes, budget_bytes, f"{row.weight_type}, "),
            *(
                f'<td class="n">{percent(values, 2).replace("±", " ± ")}</td>'
                for values in (row.validation, row.test, row.unseen_test)
            ),
            f'<td class="n">{log_loss}</td>',
            f'<td class="n">{len(row.validation)}</td>',
            f'<td class="n">{row.epochs}</td>',
            f'<td class="long">{html.escape(", ".join(row.teachers) or "no teacher")}'
            f"<small>{html.escape(row.description)}</small></td>",
        )
    )
