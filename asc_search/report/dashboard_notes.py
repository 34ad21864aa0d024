"""What the dashboard says in words: a note on the study and one on each trial, as Markdown."""

from __future__ import annotations

import re

from optuna.trial import FrozenTrial

from asc_search.report.report import state
from asc_search.report.view import View
from asc_search.space.candidate import Candidate
from asc_search.space.space import Space

STATUS = {
    "rejected": "Refused by its price, not trained",
    "stopped": "Stopped at a rung",
    "finished": "Trained to the last rung",
    "failed": "Failed",
}


def plain(value: object) -> str:
    """``value`` as text in Markdown: nothing in it is markup, a table's cell stays one."""
    flat = " ".join(str(value).split())
    return re.sub(r"([\\\\`*_{}\[\]()<>#+!|~$&-])", r"\\\1", flat)


def trial_note(trial: FrozenTrial, space: Space) -> str:
    """The candidate in words, its cost, and why it was refused or stopped; empty where nothing was drawn yet."""
    attrs = trial.user_attrs
    if "digest" not in attrs:
        return ""
    status, rungs = attrs.get("status", ""), attrs.get("rungs", [])
    lines = [f"**{STATUS.get(status, 'In training')}**", ""]
    if status == "stopped" and rungs:
        done, share = rungs[-1]["epochs"], space.search.reduction
        lines += [f"After {done} epochs it was not among the best 1 in {share} of all that had reached that rung.", ""]
    if attrs.get("reason"):
        lines += [plain(attrs["reason"]), ""]
    rows = [("candidate", plain(Candidate.from_json(attrs["candidate"]).describe()))]
    if attrs.get("design"):
        rows.append(("published design", plain(attrs["design"])))
    rows += [
        ("MACs per second", _against(attrs["macs"], space.budget.macs)),
        ("bytes of weights", _against(attrs["weight_bytes"], space.budget.weight_bytes)),
        ("parameters", f"{attrs['params']:,}"),
    ]
    if teachers := attrs["candidate"]["distillation"]["teachers"]:
        rows.append(("teachers", plain(", ".join(teachers))))
    rows += [
        (
            f"{rung['epochs']} epoch{'' if rung['epochs'] == 1 else 's'}",
            f"{100 * rung['accuracy']:.1f} % on validation, log loss {rung['log_loss']:.2f}",
        )
        for rung in rungs
    ]
    return "\n".join([*lines, *_table(rows)])


def study_note(view: View) -> str:
    """What is searched, within which limits, how far it is, and its front so far."""
    space, identity = view.space, view.run.identity or {}
    lines = [
        f"## {plain(view.name)}",
        "",
        f"{plain(state(view)).capitalize()}. Data: {plain(identity.get('source', space.data.source))}. Limits: "
        f"{space.budget.macs:,} MACs per second of audio, {space.budget.weight_bytes:,} bytes of weights. "
        f"Rungs: {', '.join(map(str, space.search.rungs))} epochs, the best 1 in {space.search.reduction} go on.",
        "",
        "A candidate over a limit is refused by its price, shown as *pruned* and infeasible, and never among the best.",
        "",
    ]
    if view.networks:
        rows = [
            (
                plain(one.row.name),
                f"{100 * one.accuracy:.1f} %",
                f"{one.row.macs:,}",
                f"{one.row.weight_bytes:,}",
            )
            for one in sorted(view.networks, key=lambda one: -one.accuracy)
        ]
        lines += ["### Retrained", "", *_table(rows, ("network", "validation", "MACs/s", "bytes"))]
    return "\n".join(lines)


def _against(value: int, limit: int) -> str:
    return f"{value:,} ({abs(limit - value):,} {'left' if value <= limit else 'over'} of {limit:,})"


def _table(rows: list[tuple[str, ...]], heads: tuple[str, ...] = ("", "")) -> list[str]:
    return [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *(f"| {' | '.join(row)} |" for row in rows)]
