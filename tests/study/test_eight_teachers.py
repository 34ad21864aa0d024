"""A pool of eight teachers: 255 subsets that the sampler models as eight bits."""

from __future__ import annotations

import itertools
from dataclasses import replace

import optuna
from optuna.distributions import IntDistribution

from asc_search.nets.network import price
from asc_search.space.draw import draw
from asc_search.space.load import loads
from asc_search.study.create import make_sampler, open_study

POOL = "".join(f"    t{n}: {{kind: network, family: cp, base: 16}}\n" for n in range(8))
SPACE = (
    "network: {stem: cp, base: 16, stages: [{family: cp, depth: 1}]}\n"
    "search: {trials: 60, startup: 10}\n"
    "distillation:\n  teachers: {subset_of: [t0, t1, t2, t3, t4, t5, t6, t7], min: 1}\n  pool:\n" + POOL
)
GOOD = {"t1", "t4", "t6"}


def worth(teachers: tuple[str, ...]) -> float:
    """Good teachers help, others hurt half as much."""
    return sum(1.0 if name in GOOD else -0.5 for name in teachers)


def test_the_sampler_finds_the_good_teachers_of_eight() -> None:
    space = loads(SPACE)
    every = [worth(tuple(s)) for n in range(1, 9) for s in itertools.combinations([f"t{i}" for i in range(8)], n)]
    assert len(every) == 255 and max(every) == 3.0 and sorted(every)[-3:-1] == [2.5, 2.5]
    first = []
    for seed in range(3):
        seeded = replace(space, search=replace(space.search, seed=seed))
        study = open_study(optuna.storages.InMemoryStorage(), f"eight-{seed}", seeded, 10)
        for _ in range(60):
            study.sampler = make_sampler(seeded, study)
            trial = study.ask()
            candidate = draw(seeded, trial, 10)
            teachers = candidate.distillation.teachers
            bits = [name for name in trial.params if name.startswith("distillation.teachers[")]
            assert len(bits) == 8, "all bits are drawn in every trial, so that they are modelled together"
            assert all(isinstance(trial.distributions[name], IntDistribution) for name in bits)
            accuracy = 0.6 + worth(teachers) / 10
            trial.set_user_attr("macs", price(candidate.network).macs)
            trial.set_user_attr("rungs", [{"accuracy": accuracy}] * len(space.search.rungs))
            study.tell(trial, [accuracy, 1.0])
        first.append(next((one.number for one in study.trials if one.values[0] > 0.89), 60))
    assert max(first) < 60, f"the one best of 255 subsets, which 60 random draws find with a chance of 21 %: {first}"
