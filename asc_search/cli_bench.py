"""The commands of `asc-search bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

bench_app = typer.Typer(help="Measure asc-search on this machine.", no_args_is_help=True)


@bench_app.command()
def oracle(
    space: Annotated[Path | None, typer.Option(help="Space to draw from; all layer families by default.")] = None,
    checked: Annotated[int, typer.Option(min=0, help="Candidates besides whose module is built and counted.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Candidates drawn and priced a second on one core, against building and counting them; and differences."""
    from asc_search.bench.bars import print_report
    from asc_search.bench.oracle import bench_oracle

    found = bench_oracle(space, checked)
    if as_json:
        print(json.dumps(found))
    else:
        print_report(found)


@bench_app.command()
def train(
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Clips a second from audio files to weight updates, against the plain PyTorch way; and what bounds it."""
    from asc_search.bench.bars import print_report
    from asc_search.bench.train import bench_train

    use_threads(threads)
    found = bench_train()
    if as_json:
        print(json.dumps(found))
    else:
        print_report(found)


@bench_app.command()
def deploy(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """The exported int8 model against the network in eager PyTorch: latency on one thread, top class, accuracy."""
    from asc_search.bench.bars import print_report
    from asc_search.bench.deploy import bench_deploy

    found = bench_deploy()
    if as_json:
        print(json.dumps(found))
    else:
        print_report(found)


def use_threads(threads: int | None) -> None:
    """Let PyTorch use ``threads`` CPU threads; None leaves it all cores."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
