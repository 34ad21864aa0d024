"""The commands of many workers (worker, status, doctor), and options of `run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asc_search.cli_bench import use_threads
from asc_search.errors import AscSearchError

if TYPE_CHECKING:
    from asc_search.scale.engines import Hands

STORAGE = "ASC_SEARCH_STORAGE"
GRACE_S = 600  # as in study.create, which takes long to import
RUN_STORAGE = Annotated[
    str | None,
    typer.Option(help="SQLAlchemy URL of the study's database instead of a file.", envvar=STORAGE, show_envvar=True),
]
SKIP = Annotated[bool, typer.Option(help="Leave out unreadable files and list them in the run folder.")]
LEAKY = Annotated[bool, typer.Option(help="Allow a validation split where neither location nor source id is known.")]
PARALLEL = Annotated[
    int | None, typer.Option(min=1, help="Networks retrained at a time; by default one a CPU thread, one on CUDA.")
]
WORKERS = Annotated[int, typer.Option(min=1, help="Processes (slurm: jobs, ray: tasks) that search side by side.")]
GPUS = Annotated[str | None, typer.Option(help="GPUs, for example 0,1: at least one worker each.")]
ENGINE = Annotated[str, typer.Option(help="What starts the workers: local, slurm or ray.")]
ENGINE_OPTION = Annotated[
    list[str] | None,
    typer.Option(help="slurm: a submitit parameter (slurm_partition=gpu); ray: address=auto, num_gpus=1. Repeatable."),
]
GRACE = Annotated[
    int, typer.Option(min=2, help="Seconds without a sign of life after which another host's worker loses its trial.")
]
URL = Annotated[
    str | None,
    typer.Option("--storage", help="The study's database; by default what the run says.", envvar=STORAGE),
]
RUN = Annotated[Path, typer.Argument(help="A run folder.")]


def hands_of(workers: int, gpus: str | None, engine: str, options: list[str] | None, grace: int) -> Hands:
    """The options of `run` as a value."""
    from asc_search.scale.engines import ENGINES, Hands

    if engine not in ENGINES:
        raise AscSearchError(f"--engine {engine}: not known; there are {', '.join(ENGINES)}")
    pairs = [option.partition("=") for option in options or []]
    if wrong := [key for key, equals, _ in pairs if not equals]:
        raise AscSearchError(f"--engine-option {wrong[0]}: expected KEY=VALUE")
    seen = tuple(part.strip() for part in gpus.split(",") if part.strip()) if gpus else ()
    return Hands(max(workers, len(seen)), engine, seen, {key: value for key, _, value in pairs}, grace)


def worker(
    study_or_run: Annotated[str, typer.Argument(help="A run folder, or the name of a study in --storage.")],
    storage: URL = None,
    out: Annotated[
        Path | None, typer.Option(help="With a study's name: the folder for its data here; runs/NAME by default.")
    ] = None,
    grace: GRACE = GRACE_S,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores by default.")] = None,
) -> None:
    """Join the search of a run, on this or any other host, until its budget of trainings is spent.

    Start and stop any number at any time; what one leaves unfinished another takes up at its last epoch.
    """
    from asc_search.scale.local import follow_parent
    from asc_search.scale.worker import fetch_run, work
    from asc_search.study.run_folder import RunFolder

    follow_parent()
    use_threads(threads)
    run = RunFolder(Path(study_or_run))
    if run.identity is None and not run.root.is_dir():
        if storage is None:
            raise AscSearchError(f"{study_or_run}: no such run folder; for a study's name give --storage, too")
        run = RunFolder(out or Path("runs") / study_or_run)
        if run.identity is None:
            fetch_run(run, storage, study_or_run, grace)
    work(run, storage, grace)


def status(
    run: RUN,
    storage: URL = None,
    once: Annotated[bool, typer.Option("--once", help="Print it once; otherwise it is kept up to date.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the search of a run: workers, running trials, front so far, rate, share refused."""
    from asc_search.scale.status import look, show
    from asc_search.study.run_folder import existing_run

    if as_json:
        print(json.dumps(look(existing_run(run), storage).to_json()))
    else:
        show(existing_run(run), storage, once)


def doctor(
    run: RUN,
    storage: URL = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended.")] = False,
    grace: GRACE = GRACE_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look for what is wrong with a run: stale trials, missing files, clocks, versions; exit status 1 if anything is."""
    from asc_search.scale.doctor import examine, tell
    from asc_search.study.run_folder import existing_run

    findings = examine(existing_run(run), storage, fix, grace)
    if as_json:
        print(json.dumps([finding.to_json() for finding in findings]))
    else:
        tell(findings)
    if any(not finding.mended for finding in findings):
        raise typer.Exit(1)


def add_commands(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for command in (worker, status, doctor):
        app.command()(command)
