"""The commands about studies of named rows, and the data made for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asc_search.cli_bench import use_threads


def add_study_commands(app: typer.Typer, data_app: typer.Typer) -> None:
    """Put the commands of this module where they belong."""
    app.command()(study)
    data_app.command()(mobile)


def study(
    file: Annotated[Path, typer.Argument(help="The YAML study, for example studies/gzhu_2023.yaml.")],
    data: Annotated[str | None, typer.Option(help="Data instead of the study's: demo, folder:PATH, ...")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/NAME of the study by default.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores by default.")] = None,
    parallel: Annotated[int | None, typer.Option(min=1, help="Trainings at a time; by default one a thread.")] = None,
) -> None:
    """Train the named rows of FILE from every seed, and write their table beside the published figures.

    The same command continues a study that was stopped.
    """
    from asc_search.data.source import absolute_source
    from asc_search.progress import console, results
    from asc_search.report.rows_table import markdown, write_rows
    from asc_search.space.rows import load_study
    from asc_search.study.named_rows import run_study
    from asc_search.study.run_folder import RunFolder

    use_threads(threads)
    loaded = load_study(file)
    loaded = loaded.on(absolute_source(data or loaded.rows[0].space.data.source))
    run = RunFolder(out or Path("runs") / file.stem)
    rows = run_study(loaded, run, parallel)
    written = write_rows(rows, loaded.directions, loaded.source, run.root)
    results.print(markdown(rows, loaded.directions, loaded.source), markup=False, soft_wrap=True)
    console.print(f"written: {', '.join(map(str, written))}", markup=False, soft_wrap=True)


def mobile(
    source: Annotated[str, typer.Argument(help="Recordings with folds: folder:PATH.")],
    irs: Annotated[Path, typer.Option(help="Folder of impulse responses of microphones (wav).")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    test_fold: Annotated[list[str], typer.Option(help="Fold whose clips are for the test.")],
    label: Annotated[list[str] | None, typer.Option(help="Class to take; all without any.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which responses are devices, and who hears what.")] = 0,
    parallel: Annotated[
        bool,
        typer.Option("--parallel", help="Training clips of s1 to s3 are there on a, too: for spectrum correction."),
    ] = False,
) -> None:
    """Write SOURCE as if seven devices had recorded it: a, s1 to s3, and s4 to s6 in the test alone."""
    from asc_search.progress import console
    from asc_search.study.mobile_set import make_mobile

    made = make_mobile(source, irs, out, test_fold, seed, label or (), parallel)
    console.print(
        f"{made}: use it as folder:{made}; data.responses: responses takes its other responses",
        markup=False,
        soft_wrap=True,
    )
