"""Strategies of a search, each played on a table: what is drawn, what is refused, and what is trained how far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from asc_search.bench.tables import Table
from asc_search.space.draw import drawn_values
from asc_search.study.pareto import Point, hypervolume
from asc_search.study.promotion import promotes
from asc_search.study.sampler import PricedSampler
from asc_search.study.seeds import derived_seed

POPULATION = 30  # of NSGA-II: the one of the studies in hand, as 50 (Optuna's own) are a third of all trainings


@dataclass(frozen=True)
class Strategy:
    """How to search: ``sampler(table, seed)``; ``rungs`` whether weak candidates stop; ``rejects`` whether those over the
    budget are told apart before a training; ``top`` is K of 1-epoch top-K (0 for none).
    """

    name: str
    sampler: Callable[[Table, int], BaseSampler]
    rungs: bool = False
    rejects: bool = True
    top: int = 0


STRATEGIES = (
    Strategy("ours", lambda table, seed: priced(table, seed), rungs=True),
    Strategy("random+reject", lambda table, seed: RandomSampler(seed=seed)),
    Strategy("optuna", lambda table, seed: TPESampler(seed=seed), rejects=False),
    Strategy("optuna+reject", lambda table, seed: TPESampler(seed=seed)),
    Strategy("nsga2+reject", lambda table, seed: NSGAIISampler(seed=seed, population_size=POPULATION)),
    Strategy("1-epoch top-K", lambda table, seed: RandomSampler(seed=seed), top=3),
)


def priced(table: Table, seed: int) -> BaseSampler:
    """The sampler of `asc-search run`."""
    return PricedSampler(table.space, table.name, table.price, seed, table.space.search.startup)


@dataclass(frozen=True)
class Step:
    """After so many ``epochs`` in all, the ``hypervolume`` of what was trained to the last rung, by accuracies without
    noise."""

    epochs: int
    hypervolume: float


def play(table: Table, strategy: Strategy, seed: int, epochs: int) -> list[Step]:
    """Search in ``table`` until ``epochs`` are spent; a step after each training."""
    space = table.space
    study = optuna.create_study(
        directions=["maximize" if one == "accuracy" else "minimize" for one in space.objectives],
        sampler=strategy.sampler(table, seed),
    )
    rungs, spent, front, steps = space.search.rungs, 0, [], []
    waiting: list[tuple[float, Mapping[str, Any], dict[str, float], bool]] = []
    while spent < epochs:
        trial = study.ask()
        drawn_values(space, trial)
        params = trial.params
        costs, fits = table.costs(params)
        for name, value in costs.items():
            trial.set_constraint(name, value - 1)
            trial.set_user_attr(name, value * getattr(space.budget, name))
        if not fits and not costs:
            trial.set_constraint("budget", 1.0)
        if not fits and strategy.rejects:
            study.tell(trial, state=TrialState.PRUNED)
            continue
        noise = derived_seed(seed, trial.number)
        reached: list[dict[str, float]] = []
        before = 0
        for rung, total in enumerate(rungs):
            accuracy = table.measured(params, rung, noise)
            spent, before = spent + total - before, total
            reached.append({"accuracy": accuracy, "epochs": total})
            trial.set_user_attr("rungs", reached)
            if rung + 1 == len(rungs) or (strategy.top and rung == 0):
                break
            if strategy.rungs and not promotes(study, space, trial.number, rung):
                break
        study.tell(trial, [accuracy, *costs.values()])
        if strategy.top:
            waiting.append((accuracy, params, costs, fits))
            if len(waiting) == strategy.top * len(rungs) * 3:
                spent += _finish(table, waiting, strategy.top, front)
                waiting = []
        elif len(reached) == len(rungs) and fits:
            front.append(_point(table, params, costs))
        steps.append(Step(spent, hypervolume(front, table.reference)))
    return steps


def _finish(table: Table, waiting: list, top: int, front: list[Point]) -> int:
    """Train the best ``top`` of those ``waiting`` after a first rung to the last one; the epochs that takes."""
    rungs = table.space.search.rungs
    best = sorted(waiting, key=lambda one: -one[0])[:top]
    front += [_point(table, params, costs) for _, params, costs, _ in best]
    return len(best) * (rungs[-1] - (rungs[0] if len(rungs) > 1 else 0))


def _point(table: Table, params: Mapping[str, Any], costs: Mapping[str, float]) -> Point:
    return (1 - table.accuracy(params), *costs.values())


def value_at(steps: list[Step], epochs: float) -> float:
    """The hypervolume when ``epochs`` were spent."""
    return max((step.hypervolume for step in steps if step.epochs <= epochs), default=0.0)
