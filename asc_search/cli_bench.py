"""The commands of `asc-search bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

bench_app = typer.Typer(help="Measure asc-search on this machine.", no_args_is_help=True)


@bench_app.command()
def oracle(
    space: Annotated[Path | None, typer.Option(help="Space to draw from; all layer families by default.")] = None,
    checked: Annotated[int, typer.Option(min=0, help="Candidates besides whose module is built and counted.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Candidates drawn and priced a second on one core, against building and counting them; and differences."""
    from asc_search.bench.oracle import bench_oracle

    _tell(bench_oracle(space, checked), as_json)


@bench_app.command()
def train(
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Clips a second from audio files to weight updates, against the plain PyTorch way; and what bounds it."""
    from asc_search.bench.train import bench_train

    use_threads(threads)
    _tell(bench_train(), as_json)


@bench_app.command()
def deploy(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """The exported int8 model against the network in eager PyTorch: latency on one thread, top class, accuracy."""
    from asc_search.bench.deploy import bench_deploy

    _tell(bench_deploy(), as_json)


@bench_app.command()
def distill(
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """What cached distillation costs a training, against running the teacher on every batch."""
    from asc_search.bench.distill import bench_distill

    use_threads(threads)
    _tell(bench_distill(), as_json)


@bench_app.command()
def scale(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Eight workers against one on simulated trainings of two seconds on PostgreSQL; overhead of a trial at 1,000 rows."""
    from asc_search.bench.scale import bench_scale

    _tell(bench_scale(), as_json)


@bench_app.command()
def accuracy(
    source: Annotated[str, typer.Argument(help="Recordings to learn and to be tested on: folder:PATH, tau2022:PATH.")],
    work: Annotated[Path, typer.Option(help="Folder for windows and results; goes on where it was stopped.")],
    test_folds: Annotated[
        list[str] | None, typer.Option("--test-fold", help="Folds to test on, where the source has them.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each training.")] = 30,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings each way.")] = 3,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Accuracy of the fast pipeline beside the plain PyTorch way: same network, recipe and epochs."""
    from asc_search.bench.accuracy import bench_accuracy

    use_threads(threads)
    _tell(bench_accuracy(source, work, test_folds or [], epochs, seeds), as_json)


@bench_app.command()
def search(
    space: Annotated[
        Path, typer.Option(help="Space whose draws are timed; its recorded trainings lie beside it.")
    ] = Path("studies/benchmarks/student_small.yaml"),
    seeds: Annotated[int, typer.Option(min=1, help="Games of each strategy on each table.")] = 20,
    work: Annotated[Path, typer.Option(help="Folder for finished games; goes on where it was stopped.")] = Path(
        "runs/bench_search"
    ),
    tables: Annotated[
        list[str] | None, typer.Option("--table", help="Only tables with this in their name, such as cifar100.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="HTML file for the curves.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Strategies of a search compared on NAS-Bench-201 and recorded trainings; what a draw takes. Nothing is trained."""
    from asc_search.bench.search import bench_search
    from asc_search.bench.search_report import print_strategies, write_figure

    found = bench_search(space, seeds, work, tables or ())
    if figure is not None:
        write_figure(found, figure)
    if not as_json:
        print_strategies(found)
    _tell(found, as_json)


@bench_app.command()
def record(
    space: Annotated[Path, typer.Argument(help="Space whose candidates are trained.")],
    out: Annotated[Path, typer.Option(help="CSV file of the results; goes on where it was stopped.")],
    work: Annotated[Path, typer.Option(help="Folder for windows and the training under way.")],
    data: Annotated[str | None, typer.Option(help="Data instead of the space's: folder:PATH.")] = None,
    candidates: Annotated[int, typer.Option(min=1, help="Rows that the file shall have.")] = 300,
    classes: Annotated[int | None, typer.Option(min=2, help="Of the data's classes, so many; all by default.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="No training is begun later.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores by default.")] = None,
) -> None:
    """Train random candidates of SPACE that fit its budget to every rung and write down what they reach."""
    from dataclasses import replace

    from asc_search.bench.record import record as record_table
    from asc_search.data.source import absolute_source
    from asc_search.space.load import load

    use_threads(threads)
    loaded = load(space)
    loaded = replace(loaded, data=replace(loaded.data, source=absolute_source(data or loaded.data.source)))
    print(f"{record_table(loaded, work, out, candidates, classes, minutes)} candidates in {out}")


def _tell(found: dict[str, Any], as_json: bool) -> None:
    """Print what a benchmark found."""
    from asc_search.bench.bars import print_report

    if as_json:
        print(json.dumps(found))
    else:
        print_report(found)


def use_threads(threads: int | None) -> None:
    """Let PyTorch use ``threads`` CPU threads; None leaves it all cores."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
