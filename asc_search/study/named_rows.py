"""A study of named rows: every row from every seed, side by side, each measured on the test part when it is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import torch

from asc_search.distill.networks import most_confused
from asc_search.distill.teachers import teach
from asc_search.distill.weights import fetch_weights
from asc_search.errors import AscSearchError, DivergedError, NetworkError
from asc_search.files import read_json
from asc_search.processes import side_by_side
from asc_search.progress import Stage
from asc_search.space.candidate import Candidate
from asc_search.space.rows import Row, Study
from asc_search.space.sections import check_groups
from asc_search.space.teachers import ModelTeacher
from asc_search.study.dataset import open_data
from asc_search.study.int8 import measure_stored
from asc_search.study.retrain import MODEL, Finalist, measure_on_test, prepare, retrain, trained_in
from asc_search.study.row_results import TEST, Bench, MeasuredRow, check_rows, measured, measured_versions
from asc_search.study.run_folder import RunFolder
from asc_search.train.candidate import Material, Origin
from asc_search.train.features import frontend_windows
from asc_search.train.fit import device


def run_study(study: Study, run: RunFolder, parallel: int | None = None) -> list[MeasuredRow]:
    """Train and measure all rows of ``study`` in ``run``; what is done is read back, what is half done goes on.

    ``parallel`` trainings run at a time (None: one a CPU thread, one on CUDA).

    Raises:
        AscSearchError: what a person can mend; everything computed so far stays.
    """
    with run.locked():
        fetched = [fetch_weights(row.space.pool, run.root / "weights") for row in study.rows]
        rows = [
            replace(row, space=replace(row.space, pool=pool)) for row, pool in zip(study.rows, fetched, strict=True)
        ]
        study, space = replace(study, rows=tuple(rows)), rows[0].space
        opened = {
            subset: open_data(replace(space, data=replace(space.data, subset=subset)), run).clips
            for subset in ("100%", *sorted({row.space.data.subset for row in rows} - {"100%"}))
        }
        for row in rows[1:]:  # groups may differ
            check_groups(row.space, opened["100%"].classes)
        run.check_same({"source": space.data.source}, data=opened["100%"].digest())
        bench = Bench(study, run, opened)
        check_rows(bench)
        tasks = {row.name: [(row.name, seed) for seed in range(row.space.retrain.seeds)] for row in rows}
        for wave in _waves(study):
            trained = [row for row in wave if not row.ensemble]
            left = [task for row in trained for task in tasks[row.name] if not _done(bench, task)]
            names = {name for name, _ in left}
            with Stage("teachers", len(names)) as stage:
                for row in trained:
                    if row.name in names:
                        _make_ready(bench, row, stage)
            _train(bench, left, len([task for row in trained for task in tasks[row.name]]), parallel)
        found = [(row, whole) for row in rows if (whole := measured(bench, row)) is not None]
        return [one for row, whole in found for one in (whole, *measured_versions(bench, row, whole))]


def _waves(study: Study) -> list[list[Row]]:
    """Rows that can be trained side by side: each needs rows of earlier waves alone."""
    depth: dict[str, int] = {}
    for row in study.rows:
        depth[row.name] = 1 + max((depth[name] for name in row.needs), default=-1)
    return [[row for row in study.rows if depth[row.name] == at] for at in range(1 + max(depth.values()))]


def _done(bench: Bench, task: tuple[str, int]) -> bool:
    folder = bench.folder(bench.rows[task[0]], task[1])
    return trained_in(folder) is not None and read_json(folder / TEST) is not None


def _make_ready(bench: Bench, row: Row, stage: Stage) -> None:
    """Make what trainings side by side read, so that they do not each make it."""
    candidate, material = bench.candidate(row), bench.material(row, stage)
    prepare(candidate, material, bench.validation(row))
    frontend_windows(material.folder, bench.test, candidate.frontend)


def _train(bench: Bench, left: Sequence[tuple[str, int]], total: int, parallel: int | None) -> None:
    cores = torch.get_num_threads()
    workers = parallel or (cores if device().type == "cpu" else 1)
    with Stage("rows", total, total - len(left)) as stage:
        if not left:
            return
        stage.begin("epochs", sum(bench.rows[name].space.retrain.epochs for name, _ in left))
        done = count(1)
        ended = side_by_side(
            partial(_attempt, bench), left, workers, max(1, cores // workers), lambda _: stage.epoch(next(done))
        )
        for index, said in ended:
            stage.note(f"{left[index][0]}, seed {left[index][1]}: {said}")


def _attempt(bench: Bench, task: tuple[str, int], said: Callable[[Any], None]) -> str:
    """Train and measure a row from a seed, saying every epoch; what it reached, or why it failed."""
    name, seed = task
    row = bench.rows[name]
    try:
        candidate, material = _with_rows(bench, row, seed)
        epochs = row.space.retrain.epochs
        trained = retrain(
            Finalist(name, "row", candidate),
            material,
            bench.validation(row),
            bench.folder(row, seed),
            epochs,
            seed,
            lambda _: said(task),
            int8=row.space.retrain.int8,
            origin=_origin(bench, row, seed),
        )
        measure_stored(bench.folder(row, seed), bench.test, bench.run.root, bench.seen_devices)
        metrics = measure_on_test(trained, bench.test, bench.run.root, bench.seen_devices)
    except (DivergedError, NetworkError) as error:
        return f"failed, {error}"
    return f"{100 * trained.validation.accuracy:.1f} % on validation, {100 * metrics.accuracy:.1f} % on test"


def _with_rows(bench: Bench, row: Row, seed: int) -> tuple[Candidate, Material]:
    """The candidate of ``row`` with the networks of other rows, from the same seed, among its teachers."""
    candidate, material = bench.candidate(row), bench.material(row)
    lessons = dict(material.teachers)
    for name in row.taught_by:
        parent = bench.rows[name]
        weights = bench.folder(parent, seed) / MODEL
        if not weights.is_file():
            raise AscSearchError(
                f"row {row.name}: its teacher {name} has no network from seed {seed}; did that diverge?"
            )
        key = f"row-{bench.key(parent)}"
        taught = teach(
            material.folder,
            ModelTeacher(key, weights, f"{name}, seed {seed}"),
            bench.training(row),
            bench.validation(row),
            candidate.frontend,
            candidate.training,
            seed,
            lambda state: None,
            material.responses,
            material.mixtures,
        )
        lessons[key] = taught.lesson
    plan = candidate.distillation
    teachers = (*plan.teachers, *(f"row-{bench.key(bench.rows[name])}" for name in row.taught_by))
    return (
        replace(candidate, distillation=replace(plan, teachers=teachers)),
        replace(material, teachers=lessons),
    )


def _origin(bench: Bench, row: Row, seed: int) -> Origin | None:
    if not row.start:
        return None
    folder = bench.folder(bench.rows[row.start], seed)
    known = trained_in(folder)
    if known is None:
        raise AscSearchError(
            f"row {row.name}: {row.start} has no network from seed {seed} to begin with; did that diverge?"
        )
    return Origin(folder / MODEL, most_confused(known.validation, row.specialist) if row.specialist else None)
