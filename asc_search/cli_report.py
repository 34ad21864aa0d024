"""The commands that look at a run: `asc-search report` and `asc-search dashboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asc_search.progress import console

RUN = Annotated[Path, typer.Argument(help="A run folder; it may still be running.")]
STORAGE = Annotated[
    str | None,
    typer.Option(
        help="SQLAlchemy URL of the study, where the run was started with --storage.",
        envvar="ASC_SEARCH_STORAGE",
        show_envvar=True,
    ),
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


def dashboard(
    run: RUN,
    storage: STORAGE = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for one that is free.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on; this machine alone by default.")] = "127.0.0.1",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in a browser.")] = True,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow a --host that others can reach; there is no login.")
    ] = False,
) -> None:
    """Look at the study of RUN in a browser while it runs: optuna-dashboard, with what is over the budget shown as such.

    Every trial has a note (the candidate in words, its cost, why it was refused or stopped), pictures and its checkpoint.
    """
    from asc_search.report.serve import serve_dashboard
    from asc_search.study.run_folder import existing_run

    serve_dashboard(existing_run(run), storage, host, port, browser, allow_remote)
