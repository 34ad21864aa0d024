"""Where a run comes from and how to repeat it: space, environment, commands."""

from __future__ import annotations

import shlex

from asc_search.report.page import Section, folded, paragraph, table, text
from asc_search.report.view import OWN_DATABASE, View


def provenance_section(view: View) -> Section:
    """The section of a run."""
    identity = view.run.identity or {}
    known = {
        "run": identity.get("run_id"),
        "space": identity.get("space"),
        "data": f"{identity.get('source', '')} ({str(identity.get('data', ''))[:12]})",
        "study": identity.get("storage"),
        "asc-search": identity.get("asc_search"),
        "Python": identity.get("python"),
        "machine": identity.get("machine"),
        **identity.get("versions", {}),
    }
    rows = [[text(name), f'<td class="long">{text(value)}</td>'] for name, value in known.items() if value]
    return Section(
        "provenance",
        "Environment, and how to repeat it",
        (
            paragraph("The commands, with the space below saved as space.yaml; a seed in it decides every draw."),
            f"<pre>{text(commands(view))}</pre>",
            folded("The space", f"<pre>{text(view.space.source_text)}</pre>"),
            table(("", "started with"), rows),
        ),
    )


def commands(view: View) -> str:
    """The commands that make the run again, and those that look at it."""
    identity, root = view.run.identity or {}, shlex.quote(view.name)
    storage = identity.get("storage", OWN_DATABASE)
    kept = "" if storage == OWN_DATABASE else f" --storage {shlex.quote(storage)}"
    source = shlex.quote(str(identity.get("source", view.space.data.source)))
    lines = [
        f"asc-search run space.yaml --data {source} --out {root}{kept}",
        f"asc-search report {root}{kept}",
        f"asc-search dashboard {root}{kept}",
    ]
    best = view.best
    if best is not None and best.row.trial is not None:
        lines.append(f"asc-search export {root} --format onnx --trial {best.row.trial} --out artefact")
    return "\n".join(lines)
