"""The command line: parse, call one function, print."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from asc_search import __version__, cli_scale
from asc_search.cli_bench import bench_app, use_threads
from asc_search.cli_export import export
from asc_search.cli_report import dashboard, report
from asc_search.cli_study import add_study_commands
from asc_search.errors import AscSearchError
from asc_search.progress import console

if TYPE_CHECKING:
    from asc_search.study.run_folder import RunFolder

app = typer.Typer(
    help="Search, distil, measure and pack low-complexity acoustic scene classifiers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

space_app = typer.Typer(help="Look at a search space without training.", no_args_is_help=True)
data_app = typer.Typer(help="Get and check data sets.", no_args_is_help=True)
app.add_typer(space_app, name="space")
app.add_typer(data_app, name="data")
app.add_typer(bench_app, name="bench")
app.command()(export)
app.command()(report)
app.command()(dashboard)
add_study_commands(app, data_app)
cli_scale.add_commands(app)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    space: Annotated[Path, typer.Argument(help="The YAML space, for example spaces/student.yaml.")],
    data: Annotated[
        str | None, typer.Option(help="Data instead of the space's: demo, folder:PATH or tau2022:PATH.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/NAME of the space by default.")] = None,
    storage: cli_scale.RUN_STORAGE = None,
    skip_bad_files: cli_scale.SKIP = False,
    allow_leaky_split: cli_scale.LEAKY = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores by default.")] = None,
    parallel: cli_scale.PARALLEL = None,
    warm_start: Annotated[
        Path | None, typer.Option(help="An earlier run, whose good candidates are tried first.")
    ] = None,
    workers: cli_scale.WORKERS = 1,
    gpus: cli_scale.GPUS = None,
    engine: cli_scale.ENGINE = "local",
    engine_option: cli_scale.ENGINE_OPTION = None,
    grace: cli_scale.GRACE = cli_scale.GRACE_S,
) -> None:
    """Search SPACE, retrain its front with full distillation, test it once, and pack a submission.

    The same command continues a run that was stopped.
    """
    from asc_search.data.source import absolute_source
    from asc_search.export.from_run import check_plan, export_run
    from asc_search.job import Wishes, run_job
    from asc_search.space.load import load
    from asc_search.study.run_folder import RunFolder, existing_run

    use_threads(threads)
    earlier = None if warm_start is None else existing_run(warm_start)
    loaded = load(space)
    loaded = replace(loaded, data=replace(loaded.data, source=absolute_source(data or loaded.data.source)))
    check_plan(loaded)
    folder = RunFolder(out or Path("runs") / space.stem)
    hands = cli_scale.hands_of(workers, gpus, engine, engine_option, grace)
    run_job(loaded, folder, Wishes(storage, skip_bad_files, allow_leaky_split, parallel, earlier, hands))
    if loaded.export is not None and loaded.data.source == "demo":
        export_run(folder, loaded.export.profile, loaded.export.label, folder.root / "submission.zip")
    _say_what_next(folder, storage)


def _say_what_next(folder: RunFolder, storage: str | None) -> None:
    from asc_search.study.create import shown_url

    elsewhere = f" --storage {shown_url(storage)}" if storage else ""
    told = f"""Look further:
  {folder.root / "report.html"} (open in a browser), {folder.root / "front.csv"}
  asc-search dashboard {folder.root}{elsewhere}
  asc-search export {folder.root} --profile dcase2024 --label Lastname_INST_task1_1 --out submission.zip"""
    console.print(told, markup=False, soft_wrap=True)


@app.command()
def predict(
    artefact: Annotated[Path, typer.Argument(help="A folder `asc-search export --format` wrote.")],
    files: Annotated[list[Path], typer.Argument(help="Audio files: wav, flac, ogg; any length, rate and channels.")],
    top: Annotated[int, typer.Option(min=1, help="How many scenes to name.")] = 3,
    int8: Annotated[bool, typer.Option("--int8", help="Use the int8 model.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, with the scores of each window.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV: a line a file and one a window.")] = False,
) -> None:
    """Classify audio files with an artefact alone: no run folder, and for ONNX no PyTorch.

    Files that cannot be read are named on stderr; then the exit status is 1, and all others are classified.
    """
    from asc_search.deploy.show import classify

    if as_json and as_csv:
        _fail("--json and --csv: choose one")
    if not classify(artefact, files, int8, "json" if as_json else "csv" if as_csv else "table", top):
        raise typer.Exit(1)


@app.command()
def complexity(
    name: Annotated[str, typer.Argument(help="A published design such as dcase2024-baseline, or a YAML space.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Vary the design (base=40) or pick the space's point (network.base=40)."),
    ] = None,
    input_: Annotated[
        str | None, typer.Option("--input", help="Input channels,mels,frames, for example 1,256,65.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.01, max=3600, help="Seconds of audio in the input, where that is not clear.")
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="List every layer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Price a network: parameters, MACs, bytes and peak memory against the limits, from closed forms."""
    from asc_search.oracle.quote import print_quote, quote

    quoted = quote(name, set_ or [], input_, seconds)
    if as_json:
        print(json.dumps(quoted.to_json(layers)))
    else:
        print_quote(quoted, layers)


@app.command()
def designs() -> None:
    """List the published designs and what they cost."""
    from asc_search.oracle.quote import print_designs

    print_designs()


@space_app.command()
def check(
    space: Annotated[Path, typer.Argument(help="The YAML space, for example spaces/student.yaml.")],
    draws: Annotated[int, typer.Option(min=100, max=5_000_000, help="Random points to price.")] = 50_000,
    classes: Annotated[int | None, typer.Option(min=2, help="Classes; those the space names, else 10.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say how much of SPACE fits its budget, what its points cost and what drives that; train nothing."""
    from asc_search.oracle import space_check
    from asc_search.oracle.feasibility import estimate
    from asc_search.oracle.quote import DCASE_CLASSES
    from asc_search.space.load import load

    loaded = load(space)
    found = estimate(loaded, classes or len(loaded.data.labels) or DCASE_CLASSES, draws, seed)
    if as_json:
        print(json.dumps(space_check.as_json(loaded, found)))
    else:
        space_check.print_check(loaded, found)
    space_check.refuse_hopeless(loaded, found)


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="tau2019, tau2020 or tau2022 (development sets).")],
    root: Annotated[Path, typer.Option(help="Folder to put the set into.")],
    keep_archives: Annotated[bool, typer.Option(help="Keep the zip files after unpacking.")] = False,
) -> None:
    """Download a data set with checksums and unpack it; the same command goes on where one was stopped."""
    from asc_search.data.fetch import fetch

    print(fetch(name, root, keep_archives=keep_archives))


@data_app.command("check")
def data_check(
    source: Annotated[str, typer.Argument(help="folder:PATH, tau2019:PATH, tau2020:PATH or tau2022:PATH.")],
    decode: Annotated[bool, typer.Option(help="Decode every file, not only its header.")] = False,
    lists: Annotated[Path | None, typer.Option(help="Folder of the official lists split5.csv, ...")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare a data set with its published counts and name missing and unreadable files."""
    from asc_search.data.check import check as check_source

    found = check_source(source, decode=decode, lists=lists)
    print(json.dumps(found.to_json()) if as_json else "\n".join(found.lines()))
    if not found.ok:
        raise typer.Exit(1)


_stop_requested = False


def _stop(*_signal: object) -> None:
    global _stop_requested
    _stop_requested = True
    logging.disable()  # a library that clears up behind the interruption may log what it met there
    raise KeyboardInterrupt


def _swallowed(unraisable: sys.UnraisableHookArgs) -> None:
    if not _stop_requested:
        sys.__unraisablehook__(unraisable)
    elif issubclass(unraisable.exc_type, KeyboardInterrupt):
        # It came while an object was finalised, where Python drops every exception: it has to come once more.
        threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()


def main() -> None:
    """Entry point: errors a person can act on are one message, an interruption says how to go on."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    sys.unraisablehook = _swallowed
    try:
        app()
    except BaseException as error:
        # Raised inside a library, the interruption may come out as an error of any kind.
        if _stop_requested:
            for one in (signal.SIGTERM, signal.SIGINT):  # a second Ctrl-C changes nothing any more
                signal.signal(one, signal.SIG_IGN)
            console.print("stopped; the same command continues where this one ended", markup=False)
            sys.exit(130)
        if isinstance(error, AscSearchError):
            _fail(str(error))
        if isinstance(error, OSError):
            _fail(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))
        raise


def _fail(message: str) -> NoReturn:
    console.print(f"error: {message}", style="red", markup=False, soft_wrap=True)
    sys.exit(1)
