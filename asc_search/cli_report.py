"""The commands that look at a run: `asc-search report` and `asc-search dashboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asc_search.progress import console

RUN = Annotated[Path, typer.Argument(help="A run folder; it may still be running.")]
STORAGE = Annotated[
    str | None, typer.Option(help="SQLAlchemy URL of the study, where the run was started with --storage.")
]


def report(
    run: RUN,
    out: Annotated[Path | None, typer.Option(help="The page to write; report.html in the run by default.")] = None,
    storage: STORAGE = None,
) -> None:
    """Write one self-contained page about RUN as far as it got: front, rungs, teachers, devices, cost, and more."""
    from asc_search.report.report import REPORT, write_report
    from asc_search.report.view import load_view
    from asc_search.study.run_folder import existing_run

    path = out or run / REPORT
    write_report(load_view(existing_run(run), storage), path)
    console.print(f"{path} (open in a browser)", markup=False, soft_wrap=True)
