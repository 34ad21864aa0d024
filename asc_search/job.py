"""The main job, stage after stage: data, teachers, search, retraining, one look at the test split, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean

from optuna import Study

from asc_search.compress.pt2e import check_int8
from asc_search.data.clips import Clips
from asc_search.distill.weights import check_local_weights, fetch_weights
from asc_search.errors import AscSearchError
from asc_search.files import write_atomically, write_json
from asc_search.oracle.feasibility import estimate
from asc_search.oracle.space_check import refuse_hopeless
from asc_search.progress import Stage, console, results
from asc_search.report.front_csv import write_front_csv
from asc_search.report.front_table import front_table
from asc_search.report.report import REPORT, write_report
from asc_search.report.view import view_of
from asc_search.scale.engines import Hands, search_with
from asc_search.space.candidate import Candidate
from asc_search.space.space import Space
from asc_search.study.create import open_storage, open_study, shown_url, sqlite_url, study_name
from asc_search.study.dataset import open_data
from asc_search.study.front import finalist_trials
from asc_search.study.int8 import measure_versions
from asc_search.study.records import FinalistRow
from asc_search.study.retrain import (
    MODEL,
    Finalist,
    Trained,
    dense,
    measure_on_test,
    reference,
    retrain_all,
    row,
    undistilled,
)
from asc_search.study.run_folder import RunFolder
from asc_search.study.subsets import teach_all
from asc_search.study.tasks import Setting
from asc_search.study.tta import measure_averaged
from asc_search.study.warm_start import begin_with
from asc_search.train.candidate import Material
from asc_search.train.model_file import tensor_bytes


@dataclass(frozen=True)
class Wishes:
    """What a person may ask beyond the space: the database, how to meet bad data, finalists trained at a time (None: as many
    as pay), an earlier run whose good candidates are tried first, and who searches (``Hands``)."""

    storage: str | None = None
    skip_bad_files: bool = False
    allow_leaky_split: bool = False
    parallel: int | None = None
    warm_start: RunFolder | None = None
    hands: Hands = field(default_factory=Hands)


def run_job(space: Space, run: RunFolder, wishes: Wishes) -> list[FinalistRow]:
    """Run or continue the whole job in ``run`` and return the measured front, best on validation first.

    Raises:
        AscSearchError: what a person can mend; everything computed so far stays.
    """
    if any(one.name == "weight_type" and "int8" in one.domain.corners for one in space.parameters):
        check_int8()
    check_local_weights(space.pool)
    with run.locked():
        space = replace(space, pool=fetch_weights(space.pool, run.root / "weights"))
        opened = open_data(space, run, wishes.skip_bad_files, wishes.allow_leaky_split)
        clips = opened.clips
        here = str(Path(space.file).resolve().parent)
        notes = {"source": space.data.source, "folder": here, "name": run.root.resolve().name}
        database = shown_url(wishes.storage) if wishes.storage else "study.db"
        run.check_same(notes, space=space.digest(), data=clips.digest(), storage=database)
        write_atomically(run.space_file, lambda aside: aside.write_text(space.source_text, encoding="utf-8"))
        training, validation, test = (clips.split(name) for name in ("train", "validation", "test"))
        note = " (synthetic scenes)" if opened.synthetic else ""
        console.print(
            f"{space.data.source}{note}: {len(clips.classes)} classes, {len(training)} clips to train, "
            f"{len(validation)} to select, {len(test)} to test once at the end",
            markup=False,
            soft_wrap=True,
        )
        refuse_hopeless(space, estimate(space, len(clips.classes)))
        names = tuple(space.pool)
        with Stage("teachers", len(names)) as stage:
            material = teach_all(space, run, names, training, validation, stage)
        storage = open_storage(wishes.storage or sqlite_url(run.database), wishes.hands.grace_s)
        name = study_name(run, bool(wishes.storage))
        study = open_study(storage, name, space, len(clips.classes), clips.digest(), run.identity)
        if wishes.warm_start is not None:
            begin_with(study, space, len(clips.classes), wishes.warm_start)
        search_with(study, Setting(space, run, material, validation), wishes.hands, wishes.storage or "")
        finalists = [
            Finalist(
                f"trial {trial.number}", "finalist", Candidate.from_json(trial.user_attrs["candidate"]), trial.number
            )
            for trial in finalist_trials(study, space)
        ]
        trained = retrain_front(space, run, finalists, material, validation, wishes.parallel)
        rows = measure_front(space, run, trained, material, validation, test)
        write_json(run.root / "finalists.json", [finalist.to_json() for finalist in trained])
        write_results(space, run, rows, study)
        return rows


def retrain_front(
    space: Space,
    run: RunFolder,
    finalists: Sequence[Finalist],
    material: Material,
    validation: Clips,
    parallel: int | None,
) -> dict[Finalist, list[Trained]]:
    """Retrain the finalists, then the published references by the best one's recipe, and untaught and dense twins if asked.

    Raises:
        AscSearchError: no finalist could be trained.
    """
    epochs, seeds, int8 = space.retrain.epochs, space.retrain.seeds, space.retrain.int8
    trained = retrain_all(finalists, material, validation, run, epochs, seeds, parallel, int8)
    if not trained:
        raise AscSearchError("no finalist could be retrained: every seed diverged; lower training.lr in the space")
    best = best_finalist(trained)
    classes = len(material.training.classes)
    others = [reference(design, best.candidate, classes) for design in space.retrain.references]
    pruned = [one for one in trained if space.retrain.dense_twins and one.candidate.pruning.removes]
    if space.retrain.undistilled:
        # What begins as a tagger has learnt from it without being taught: its twin from scratch owes it nothing.
        taught = [*trained, *others, *(dense(one) for one in pruned if one.candidate.parent)]
        others += [undistilled(one) for one in taught if one.candidate.distillation.by_others]
    others += [dense(one) for one in pruned]
    return {**trained, **retrain_all(others, material, validation, run, epochs, seeds, parallel, int8)}


def best_finalist(trained: dict[Finalist, list[Trained]]) -> Finalist:
    """The finalist with the highest mean validation accuracy; the test split has no part in this."""
    finalists = [finalist for finalist in trained if finalist.role == "finalist"]
    return max(finalists, key=lambda finalist: mean(run.validation.accuracy for run in trained[finalist]))


def measure_front(
    space: Space,
    run: RunFolder,
    trained: dict[Finalist, list[Trained]],
    material: Material,
    validation: Clips,
    test: Clips,
) -> list[FinalistRow]:
    """The one reading of the test split: every retrained network's row."""
    rows, seen = [], material.training.seen_devices
    with Stage("test", len(trained)) as stage:
        for finalist, runs in trained.items():
            tests = [measure_on_test(one, test, run.root, seen) for one in runs]
            folders = [one.folder for one in runs]
            versions = measure_versions(folders, test, run.root, seen)
            stored = tensor_bytes(folders[0] / MODEL)
            made = row(finalist, runs, tests, space.retrain.epochs)
            made = replace(made, versions=versions, stored_bytes=stored)
            if (passes := space.retrain.tta) and finalist.role == "finalist":
                models, splits = [one / MODEL for one in folders], {"validation": validation, "test": test}
                responses = material.responses.at(finalist.candidate.frontend.rate_hz)
                accuracies = measure_averaged(models, splits, run.root, responses, passes, seen)
                averaged = {"passes": passes, "macs": passes * made.macs, "accuracies": accuracies}
                made = replace(made, averaged=averaged)
            rows.append(made)
            stage.end(f"{finalist.name}: {100 * mean(metrics.accuracy for metrics in tests):.1f} % on test")
    return rows


def write_results(space: Space, run: RunFolder, rows: Sequence[FinalistRow], study: Study) -> None:
    """Write front.csv, front.json and report.html into the run and print the table of the front."""
    write_json(run.root / "front.json", [one.to_json() for one in rows])
    write_front_csv(rows, run.root / "front.csv")
    write_report(view_of(run, study), run.root / REPORT)
    results.print(front_table(rows, space.budget.macs, space.budget.weight_bytes))
