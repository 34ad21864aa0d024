"""`asc-search bench scale`: eight workers against one, and what a trial costs besides its training."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from asc_search.bench.bars import at_least, at_most, report
from asc_search.bench.postgres import postgres
from asc_search.bench.simulated_trials import Simulation, fill, spend
from asc_search.progress import console
from asc_search.scale.worker import work_on
from asc_search.study.create import sqlite_url, trained_count

WORKERS = 8
EPOCH_S = 2.0
EACH = 10  # trainings a worker in each round: all begin at once, and the last to end is waited for
ROUNDS = 3
ROWS = 1000
TRAININGS = 20  # timed in each round at ROWS rows
START_S = 3.0


def bench_scale(rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure both on PostgreSQL, started for the purpose; the overhead on SQLite, too.

    Efficiency is that of trainings of two seconds which need no CPU: what is lost is what workers wait for each other and the
    time the framework takes. Workers are started before the clock is, and have made the pool that they draw from.
    """
    was_quiet, console.quiet = console.quiet, True
    try:
        with postgres() as server, tempfile.TemporaryDirectory() as folder:
            efficiencies, alone, together = _efficiency(server.url, Path(folder), rounds)
            overheads = _overhead(server.url, Path(folder), rounds)
            on_sqlite = _overhead(sqlite_url(Path(folder) / "study.db"), Path(folder), rounds)
    finally:
        console.quiet = was_quiet
    ran = {
        "database": "PostgreSQL on loopback",
        "training_s": EPOCH_S,
        "trainings_a_worker": EACH,
        "rounds": rounds,
        "trainings_per_s_of_1": round(median(alone), 4),
        f"trainings_per_s_of_{WORKERS}": round(median(together), 4),
        "rows": ROWS,
        "overhead_ms_a_training": round(median(one.a_training for one in overheads), 1),
        "first_look_ms": round(median(one.first_look for one in overheads), 1),
        "sqlite_overhead_ms": round(median(one.a_trial for one in on_sqlite), 1),
        "load_average": round(os.getloadavg()[0], 1),
    }
    bars = [
        at_least(f"efficiency_{WORKERS}", round(median(efficiencies), 4), 0.9),
        at_most(f"overhead_ms_{ROWS}", round(median(one.a_trial for one in overheads), 1), 100),
    ]
    return report("scale", ran, bars)


def _efficiency(url: str, folder: Path, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Of each round: throughput of all workers over that of one times their number; both throughputs a second."""
    context = multiprocessing.get_context("spawn")
    ratios, alone, together = [], [], []
    with ProcessPoolExecutor(WORKERS, context, _as_one_of_many) as pool:
        list(pool.map(_begin, [url] * WORKERS, [str(folder)] * WORKERS))
        for number in range(rounds):
            rates = []
            for workers in (1, WORKERS):
                name = f"efficiency-{number}-{workers}"
                simulation = Simulation(name, str(folder / name), EACH * workers, EPOCH_S)
                study = simulation.open(url)
                list(pool.map(spend, [url] * workers, [simulation] * workers))
                trials = [trial for trial in study.get_trials() if trial.values]
                begin = min(trial.datetime_start for trial in study.get_trials() if trial.datetime_start)
                end = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
                rates.append(len(trials) / (end - begin).total_seconds())
            alone.append(rates[0])
            together.append(rates[1])
            ratios.append(rates[1] / (WORKERS * rates[0]))
    return ratios, alone, together


def _as_one_of_many() -> None:
    console.quiet = True
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // WORKERS))


def _begin(url: str, folder: str) -> None:
    """Draw once, in a study of this process alone; slow enough that each process gets a call."""
    begun = Simulation(f"begin-{os.getpid()}", f"{folder}/begin-{os.getpid()}", 1, 1.0)
    spend(url, begun)
    time.sleep(START_S)


@dataclass(frozen=True)
class _Overhead:
    """Milliseconds of one round: a trial (refused ones, too), a training, and a worker's first look at the study."""

    a_trial: float
    a_training: float
    first_look: float


def _overhead(url: str, folder: Path, rounds: int) -> list[_Overhead]:
    """What a worker that has begun takes for a trial at ``ROWS`` rows besides its training."""
    first = Simulation("overhead", str(folder / "overhead"), 1, 0.0)
    fill(first.open(url), first.space, ROWS)
    found = []
    for _ in range(rounds):
        begin = time.perf_counter()
        study = first.open(url)
        study.get_trials(deepcopy=False)
        looked_ms = 1000 * (time.perf_counter() - begin)
        before, trained = len(study.get_trials(deepcopy=False)), trained_count(study)
        simulation = replace(first, trials=trained + TRAININGS)
        begin = time.perf_counter()
        work_on(study, simulation.setting)
        took_ms = 1000 * (time.perf_counter() - begin)
        trials = len(study.get_trials(deepcopy=False)) - before
        found.append(_Overhead(took_ms / trials, took_ms / TRAININGS, looked_ms))
    return found
