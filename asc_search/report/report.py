"""The report of a run: the state it is in, the figures that matter, and all sections in order."""

from __future__ import annotations

from pathlib import Path

from optuna.trial import TrialState

from asc_search.report.compression_section import compression_section
from asc_search.report.confusion_section import confusion_section
from asc_search.report.cost_section import cost_section
from asc_search.report.device_section import device_section
from asc_search.report.feasibility_section import feasibility_section
from asc_search.report.front_section import front_section
from asc_search.report.front_table import percent
from asc_search.report.importance_section import importance_section
from asc_search.report.page import paragraph, text, write_page
from asc_search.report.progress_section import progress_section
from asc_search.report.provenance_section import provenance_section
from asc_search.report.rungs_section import correlation_section, rungs_section
from asc_search.report.teaching_section import teaching_section
from asc_search.report.view import View

REPORT = "report.html"

SECTIONS = (
    front_section,
    progress_section,
    rungs_section,
    correlation_section,
    importance_section,
    feasibility_section,
    teaching_section,
    confusion_section,
    device_section,
    cost_section,
    compression_section,
    provenance_section,
)


def write_report(view: View, path: Path) -> None:
    """Write the report of ``view`` to ``path`` in one step: one page that holds all it needs and loads nothing."""
    write_page(path, view.name, _head(view), [section(view) for section in SECTIONS])


def state(view: View) -> str:
    """How far the run is, in words."""
    done, wanted = len(view.trained), view.space.search.trials
    # A trial without a worker's name is that of the process that holds the folder, or was left behind by it.
    running = any(trial.state is TrialState.RUNNING and trial.user_attrs.get("worker") for trial in view.trials)
    if view.complete:
        return "finished"
    if not view.trials:
        where = "preparing data and teachers"
    elif view.networks or (done >= wanted and not running):
        where = "retraining the front"
    else:
        where = f"searching, {done:,} of {wanted:,} trained"
    return where if view.busy or running else f"interrupted: {where}"


def _head(view: View) -> str:
    kind = "state" if view.complete else "state partial"
    budget = view.space.budget
    source = (view.run.identity or {}).get("source", view.space.data.source)
    made = " (synthetic scenes: these figures say nothing about real rooms)" if source == "demo" else ""
    told = paragraph(
        f"A search for acoustic scene classifiers within {budget.macs:,} MACs per second of audio and "
        f"{budget.weight_bytes:,} bytes of weights, on {source}{made}."
    )
    partial = "" if view.complete else paragraph("This report is partial: it shows what there is so far.")
    return f'<span class="{kind}">{text(state(view))}</span>{told}{partial}<div class="facts">{"".join(_facts(view))}</div>'


def _facts(view: View) -> list[str]:
    best, budget = view.best, view.space.budget
    facts = []
    if best is not None:
        one = best.row
        facts += [
            _fact(f"{_mean(one.validation)} %", f"validation accuracy of {one.name}, the best finalist"),
            _fact(f"{_mean(one.test)} %", "its test accuracy") if one.test else "",
            _fact(f"{one.macs / 1e6:.2f} M", f"of {budget.macs / 1e6:g} M MACs per second", one.macs / budget.macs),
            _fact(
                f"{one.weight_bytes:,}",
                f"of {budget.weight_bytes:,} bytes ({one.weight_type})",
                one.weight_bytes / budget.weight_bytes,
            ),
        ]
    elif view.trained:
        top = max(trial.user_attrs["rungs"][-1]["accuracy"] for trial in view.trained)
        facts.append(_fact(f"{100 * top:.1f} %", "best validation accuracy in the search so far"))
    refused = sum(trial.state is TrialState.PRUNED for trial in view.trials)
    facts.append(_fact(f"{len(view.trained):,}", f"candidates trained, {refused:,} refused by their price"))
    return facts


def _mean(values: tuple[float, ...]) -> str:
    return percent(values).split("±")[0]


def _fact(value: str, what: str, share: float | None = None) -> str:
    meter = "" if share is None else f'<meter min="0" max="1" value="{min(1.0, share):.4f}">{100 * share:.0f} %</meter>'
    return f"<div><b>{text(value)}</b>{meter}<small>{text(what)}</small></div>"
