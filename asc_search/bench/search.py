"""`asc-search bench search`: strategies of a search compared on tables, with no training; and what a draw takes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from asc_search.bench.bars import at_most, report
from asc_search.bench.recorded import Recorded, on_unseen_rows, read_recorded, recorded_table
from asc_search.bench.strategies import STRATEGIES, Step, Strategy, play, value_at
from asc_search.bench.tables import DATASETS, Table, nas_bench_201
from asc_search.files import read_json, write_json
from asc_search.nets.spec import Scalar
from asc_search.progress import Stage
from asc_search.space.columns import draw_columns, recorded
from asc_search.space.draw import FixedSuggest, draw, drawn_values
from asc_search.space.load import load
from asc_search.space.space import Space
from asc_search.study.create import make_sampler, open_storage, open_study, sqlite_url

TRAININGS = 150  # of Optuna's default, whose hypervolume is the goal
GOAL = 1 / 3
MARKS = 30  # epochs at which curves are given
ROWS = (200, 1000, 5000)
ASK_MS = 50
DRAWS = 11  # timed at each number of rows
CLASSES = 10  # of the networks whose draws are timed
RECORDED = "recorded"
OURS, DEFAULT, PLAIN = "ours", "optuna+reject", "optuna"


def tables(known: Recorded | None) -> list[Table]:
    """What is searched in: NAS-Bench-201 on its three data sets, and the trainings ``known``."""
    ours = [] if known is None else [recorded_table(known, RECORDED)]
    return [*map(nas_bench_201, DATASETS), *ours]


def bench_search(space_file: Path, seeds: int, work: Path, chosen: Sequence[str] = ()) -> dict[str, Any]:
    """Play every strategy ``seeds`` times on every table (those whose name contains one of ``chosen``), and time draws.

    Trainings of the space that `asc-search bench record` wrote into a CSV file of the same name beside it are one of the
    tables. Each game is kept in ``work``: the same call goes on where one was stopped. Bars: epochs until the median
    hypervolume of ours is that of Optuna's default sampler with rejection after 150 full trainings, over its epochs, on the
    worst table; milliseconds a draw with so many trials in the database.
    """
    space, file = load(space_file), space_file.with_suffix(".csv")

    def wanted(name: str) -> bool:
        return not chosen or any(one in name for one in chosen)

    known = read_recorded(space, file) if wanted(RECORDED) and file.is_file() else None
    found: dict[str, Any] = {}
    for table in tables(known):
        if not wanted(table.name):
            continue
        found[table.name] = _compare(table, seeds, work)
    asked = ask_times(space)
    ratios = {name: one["epochs_ratio"] for name, one in found.items()}
    ran = {"seeds": seeds, "tables": found, "ask": asked, "trials_in": "SQLite"}
    if known is not None:
        ran[RECORDED] = {"rows": len(known.records), "clips": known.clips, "on_unseen_rows": on_unseen_rows(known)}
    bars = [at_most("epochs_ratio_vs_default", max(ratios.values(), default=float("inf")), round(GOAL, 3))]
    bars += [at_most(f"ask_ms_{rows}", asked[str(rows)]["ms"], ASK_MS) for rows in ROWS[1:]]
    return report("search", ran, bars)


def _compare(table: Table, seeds: int, work: Path) -> dict[str, Any]:
    full = TRAININGS * table.space.search.rungs[-1]
    games: dict[str, list[list[Step]]] = {}
    with Stage(table.name, len(STRATEGIES) * seeds) as stage:
        for strategy in STRATEGIES:
            games[strategy.name] = [_game(table, strategy, seed, full, work) for seed in range(seeds)]
            last = median(value_at(one, full) for one in games[strategy.name])
            stage.note(f"{table.name}: {strategy.name}, hypervolume {last:.4g} after {full} epochs")
    marks = [round(full * (index + 1) / MARKS) for index in range(MARKS)]
    curves = {
        name: [_quartiles([value_at(one, mark) for one in runs]) for mark in marks] for name, runs in games.items()
    }
    goals = {name: median(value_at(one, full) for one in games[name]) for name in (DEFAULT, PLAIN)}
    return {
        "epochs": full,
        "rungs": list(table.space.search.rungs),
        "marks": marks,
        "curves": curves,
        "final": {name: _quartiles([value_at(one, full) for one in runs]) for name, runs in games.items()},
        "epochs_to_default": {name: _epochs_to(runs, goals[DEFAULT], full) for name, runs in games.items()},
        "epochs_ratio": round(_epochs_to(games[OURS], goals[DEFAULT], full) / full, 3),
        "epochs_ratio_without_rejection": round(_epochs_to(games[OURS], goals[PLAIN], full) / full, 3),
    }


def _epochs_to(runs: list[list[Step]], goal: float, full: int) -> float:
    """Epochs at which the median hypervolume over ``runs`` is ``goal``; twice ``full`` where it never is."""
    times = sorted({step.epochs for run in runs for step in run})
    low, high = 0, len(times)
    while low < high:  # the median of curves that only rise does, too
        middle = (low + high) // 2
        if median(value_at(run, times[middle]) for run in runs) >= goal:
            high = middle
        else:
            low = middle + 1
    return float(times[low]) if low < len(times) else 2.0 * full


def _game(table: Table, strategy: Strategy, seed: int, epochs: int, work: Path) -> list[Step]:
    """One game, read back where it was played before."""
    note = work / f"{table.name}-{strategy.name}-{seed}.json".replace(" ", "_")
    known = read_json(note)
    if known is None:
        steps = play(table, strategy, seed, epochs)
        write_json(note, [[step.epochs, step.hypervolume] for step in steps])
        return steps
    return [Step(*pair) for pair in known]


def _quartiles(values: list[float]) -> list[float]:
    return [float(f"{one:.5g}") for one in np.quantile(values, (0.25, 0.5, 0.75))]


def ask_times(space: Space) -> dict[str, Any]:
    """Milliseconds (median) of the sampler's part of a draw and of a whole one (``ask`` and each value written) with so many
    trials in a SQLite database, and of the first draw of a process, which prices the pool, too.

    One in nine trials went to the last rung, one in three to the one before; none was rejected, as our sampler draws none.
    """
    found: dict[str, Any] = {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(sqlite_url(Path(folder) / "study.db"))
        study, trials, there = (
            open_study(storage, "ask", _without_designs(space), CLASSES),
            _finished(space, max(ROWS)),
            0,
        )
        for rows in ROWS:
            study.add_trials(trials[there:rows])
            there, times = rows, []
            study.sampler = sampler = _Timed(make_sampler(space, study))
            for _ in range(DRAWS + 1):
                begin, sampler.ms = time.perf_counter(), 0.0
                trial = study.ask()
                drawn_values(space, trial)
                times.append((sampler.ms, 1000 * (time.perf_counter() - begin)))
                study.tell(trial, state=TrialState.FAIL)
            own, whole = (median(part) for part in zip(*times[1:], strict=True))
            found[str(rows)] = {
                "ms": round(own, 1),
                "with_database_ms": round(whole, 1),
                "first_ms": round(times[0][1], 1),
            }
    return found


class _Timed(BaseSampler):
    """A sampler, and the milliseconds it took since ``ms`` was set."""

    def __init__(self, sampler: BaseSampler) -> None:
        self._sampler, self.ms = sampler, 0.0

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        begin = time.perf_counter()
        try:
            return self._sampler.sample_independent(study, trial, param_name, param_distribution)
        finally:
            self.ms += 1000 * (time.perf_counter() - begin)


def _without_designs(space: Space) -> Space:
    return replace(space, search=replace(space.search, enqueue=()))


def _finished(space: Space, count: int) -> list[FrozenTrial]:
    """Trials as a search leaves them, of random points with made-up accuracies."""
    rng = np.random.default_rng(0)
    columns = draw_columns(space, rng, count)
    rungs, made = space.search.rungs, []
    for index in range(count):
        params = recorded(space, columns, index)
        suggest = _Noting(params)
        candidate = draw(space, suggest, CLASSES)
        reached = len(rungs) - (2 if index % 3 else 1 if index % 9 else 0)
        share = float(rng.uniform(0.05, 1))
        cost = {"macs": round(share * space.budget.macs), "params": 10_000, "weight_bytes": 20_000}
        accuracy = float(0.3 + 0.3 * share + 0.05 * rng.standard_normal())
        notes = [{"epochs": epochs, "accuracy": accuracy, "log_loss": 1.0} for epochs in rungs[: max(1, reached)]]
        made.append(
            create_trial(
                params=params,
                distributions=suggest.distributions,
                values=[accuracy, *(float(cost[name]) for name in space.objectives if name != "accuracy")],
                user_attrs={
                    **cost,
                    "rungs": notes,
                    "status": "finished",
                    "digest": candidate.digest(),
                    "candidate": candidate.to_json(),
                },
            )
        )
    return made


class _Noting(FixedSuggest):
    """Recorded values, and the distributions they were asked from."""

    def __init__(self, params: Mapping[str, Scalar]) -> None:
        super().__init__(params)
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.distributions[name] = CategoricalDistribution(choices)
        return super().suggest_categorical(name, choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        self.distributions[name] = IntDistribution(low, high, log=log, step=step)
        return super().suggest_int(name, low, high, step=step, log=log)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.distributions[name] = FloatDistribution(low, high, log=log, step=step)
        return super().suggest_float(name, low, high, step=step, log=log)
