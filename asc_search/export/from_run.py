"""From a finished run to a submission: split models, predictions on the evaluation clips, measured complexity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from asc_search.data.clips import Clips
from asc_search.errors import ExportError, Problem
from asc_search.export.authors import authors_of
from asc_search.export.check import check
from asc_search.export.complexity import measured_complexity
from asc_search.export.describe import datasets_of, described, on_audioset
from asc_search.export.evaluation import evaluation_clips, evaluation_problems
from asc_search.export.int8 import in_int8
from asc_search.export.package import write
from asc_search.export.package_check import check_package
from asc_search.export.parts import allowed_files, list_problems, split_parts, whole_part
from asc_search.export.profile import Profile, profile_named
from asc_search.export.scores import evaluation_scores
from asc_search.export.submission import SplitOutput, Submission, parse_label
from asc_search.export.zip_check import check_zip
from asc_search.files import read_json, write_json
from asc_search.progress import Stage, console
from asc_search.space.space import Export, Space
from asc_search.space.teachers import LogitsTeacher, ModelTeacher, Teacher
from asc_search.study.finished import chosen_finalist, reopened
from asc_search.study.objective import measure
from asc_search.study.retrain import MODEL, Finalist, Trained, measure_on_test
from asc_search.study.run_folder import RunFolder
from asc_search.study.subsets import needed_by, train_on_subset
from asc_search.train.metrics import Metrics
from asc_search.train.model_file import Model, load_model


@dataclass(frozen=True)
class Wishes:
    """What a person may give an export beyond the run, its profile and its label.

    ``trial`` is the finalist's, ``clips`` the folder of evaluation clips, ``lists`` that of the official split lists,
    ``about`` an export section of its own instead of the space's, ``package`` where 2025's inference package goes.
    """

    trial: int | None = None
    clips: Path | None = None
    lists: Path | None = None
    authors: Path | None = None
    about: Export | None = None
    report: Path | None = None
    package: Path | None = None
    practice: bool = False


def export_run(run: RunFolder, profile_name: str, label: str, out: Path, wishes: Wishes | None = None) -> Path:
    """Write the submission of a finished run to ``out``, for 2025 with its inference package beside it.

    One model per training split is trained with the finalist's recipe (teachers included) on that split alone; where a split
    is what the run learnt from, it is the finalist itself. A run on demo scenes has evaluation clips and splits of its own
    and gives a practice file. Finished split models are not trained again, clips that were scored are not scored again.

    Raises:
        ExportError: the rules of the profile forbid it; every reason is listed, cheap ones before anything is trained.
        RunFolderError: the run is unfinished, or in use.
    """
    wishes = wishes or Wishes()
    profile = profile_named(profile_name)
    with run.locked():
        space, opened = reopened(run)
        space = space if wishes.about is None else replace(space, export=wishes.about)
        practice = wishes.practice or opened.synthetic
        finalist, trained = chosen_finalist(run, space, wishes.trial)
        taught = {name: space.pool[name] for name in needed_by(space, finalist.candidate)}
        plan = _planned(space, label, profile, finalist, trained, taught, opened.clips.classes, practice, wishes)
        clips = opened.evaluation if wishes.clips is None else evaluation_clips(wishes.clips, plan.classes)
        whole, package = whole_part(space), wishes.package or out.with_name(f"{out.stem}-package")
        problems = [problem for problem in check(plan, profile) if problem.where != "outputs"]
        problems += evaluation_problems(clips, out, practice, profile)
        problems += list_problems(wishes.lists, profile, whole, practice)
        if not practice:
            problems += _unknown_teachers(taught)
        if problems or clips is None:
            raise ExportError(
                f"{label}: {profile.name} forbids this submission, nothing was trained or written:", problems
            )
        training, validation, test = (opened.clips.split(name) for name in ("train", "validation", "test"))
        parts = split_parts(training, wishes.lists, profile, whole)
        models: dict[str, Trained] = {}
        with Stage("export", len(profile.splits)) as stage:
            for split in profile.splits:
                same = split == whole
                models[split] = (
                    trained if same else train_on_subset(space, run, finalist, split, parts[split], validation, stage)
                )
        loaded = {split: _as_submitted(one, profile) for split, one in models.items()}
        scores = evaluation_scores(run.root, loaded, clips)
        outputs = tuple(
            SplitOutput(
                split,
                clips.files,
                scores[split],
                _development(models[split], loaded[split], test, run.root, training.seen_devices, profile),
                parts[split].all_files,
            )
            for split in profile.splits
        )
        costs = {split: measured_complexity(one.folder / MODEL, profile) for split, one in models.items()}
        done = replace(plan, outputs=outputs, complexity=costs)
        path = write(done, profile, out, allowed_files(wishes.lists, profile))
        if found := check_zip(path, profile, practice):
            path.unlink()
            raise ExportError(f"{path}: the file written does not pass its own check (please report this):", found)
        if profile.package:
            (split,) = profile.splits
            check_package(package, label, loaded[split], costs[split], test, finalist, clips, scores[split])
    _say_done(path, package if profile.package else None, finalist, done, profile)
    return path


def _planned(
    space: Space,
    label: str,
    profile: Profile,
    finalist: Finalist,
    trained: Trained,
    taught: Mapping[str, Teacher],
    classes: tuple[str, ...],
    practice: bool,
    wishes: Wishes,
) -> Submission:
    """The submission before anything is predicted."""
    said = space.export
    pretrained = on_audioset(taught)
    return Submission(
        label=label,
        name=_said(space, "name", "asc-search student"),
        abbreviation=_said(space, "abbreviation", "asc"),
        authors=authors_of(space, wishes.authors, label, practice, profile),
        classes=classes,
        outputs=(),
        complexity=measured_complexity(trained.folder / MODEL, profile),
        description=described(finalist.candidate, pretrained, profile, said),
        energy={key: value for key, value in (said.energy if said else {}).items() if key in profile.energy_keys},
        external_datasets=datasets_of(pretrained, said),
        source_code=_said(space, "source_code", "") or None,
        technical_report=wishes.report,
        practice=practice,
    )


def _unknown_teachers(taught: Mapping[str, Teacher]) -> list[Problem]:
    """Teachers of which nothing says what they were trained on, while each split's model may know its clips alone."""
    what = "nothing says which clips this teacher was trained on, and a split's model may know those of the split alone"
    return [
        Problem(f"distillation.pool.{name}", what)
        for name, teacher in taught.items()
        if isinstance(teacher, (ModelTeacher, LogitsTeacher))
    ]


def _as_submitted(trained: Trained, profile: Profile) -> Model:
    model = load_model(trained.folder / MODEL)
    return in_int8(model) if profile.weight_type == "int8" else model


def _development(
    trained: Trained, model: Model, test: Clips, folder: Path, seen: tuple[str, ...], profile: Profile
) -> Metrics:
    """Metrics of the model as it is submitted on the test split, which is read once for each type of weights."""
    if not profile.weight_type:
        return measure_on_test(trained, test, folder, seen)
    note = trained.folder / f"test-{profile.weight_type}.json"
    if (known := read_json(note)) is not None:
        return Metrics.from_json(known)
    metrics = measure(model, folder, test, seen)
    write_json(note, metrics.to_json())
    return metrics


def _say_done(path: Path, package: Path | None, finalist: Finalist, submission: Submission, profile: Profile) -> None:
    kind = "practice file, not for upload" if submission.practice else f"{profile.name} submission"
    (cost,) = submission.complexities()
    scored = {output.split: output.development for output in submission.outputs}
    figures = f"{cost.params:,} parameters, {cost.weight_bytes:,} bytes {cost.weight_type}, {cost.macs:,} MACs"
    test = ", ".join(f"{100 * one.accuracy:.1f}" for one in scored.values() if one is not None)
    lines = [f"{path}: {kind}; {finalist.name}, {figures}; test {test} %"]
    if package is not None:
        lines.append(f"{package}: inference package; publish it and give its address as export.source_code")
    console.print("\n".join(lines), markup=False, soft_wrap=True)


def check_plan(space: Space) -> None:
    """Refuse, before a search, an ``export`` section that no submission could have.

    Raises:
        ExportError: a label that is not of its form, or authors that are not complete.
    """
    if space.export is not None:
        profile = profile_named(space.export.profile)
        parse_label(space.export.label, profile)
        authors_of(space, None, space.export.label, practice=False, profile=profile)


def _said(space: Space, key: str, otherwise: str) -> str:
    return getattr(space.export, key, "") or otherwise
