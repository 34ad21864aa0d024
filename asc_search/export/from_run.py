"""From a finished run to a submission: split models, predictions on the evaluation clips, measured complexity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open

from asc_search.data.clips import Clips
from asc_search.data.folder import check_audio
from asc_search.data.splits import list_files, nested_subsets, subset_from_list
from asc_search.errors import ExportError, Problem
from asc_search.export.authors import authors_of
from asc_search.export.check import check
from asc_search.export.describe import describe
from asc_search.export.package import write
from asc_search.export.profile import PROFILES, Profile
from asc_search.export.rules import clip_problems
from asc_search.export.submission import Complexity, ExternalDataset, SplitOutput, Submission, parse_label
from asc_search.export.zip_check import check_zip
from asc_search.oracle.budget import macs_per_second
from asc_search.oracle.nessi import recount
from asc_search.progress import Stage, console
from asc_search.space.space import LogitsTeacher, ModelTeacher, Space, TaggerTeacher, Teacher
from asc_search.study.finished import chosen_finalist, reopened
from asc_search.study.retrain import MODEL, Trained, measure_on_test
from asc_search.study.run_folder import RunFolder
from asc_search.study.subsets import taught_by, train_on_subset
from asc_search.train.features import frontend_windows
from asc_search.train.fit import device
from asc_search.train.metrics import Metrics
from asc_search.train.model_file import load_model
from asc_search.train.predict import predict_clips

FULL = "100"
AUDIOSET = ExternalDataset("AudioSet (weights of a pretrained tagger)", "https://research.google.com/audioset/")


def export_run(
    run: RunFolder,
    profile_name: str,
    label: str,
    out: Path,
    *,
    trial: int | None = None,
    clips: Path | None = None,
    lists: Path | None = None,
    authors: Path | None = None,
    report: Path | None = None,
    practice: bool = False,
) -> Path:
    """Write the submission of a finished run to ``out``.

    One model per training split is trained with the finalist's recipe (teachers included) on that split alone; the full
    split's is the finalist itself. ``clips`` is the folder of evaluation clips, ``lists`` that of the official split lists;
    a run on demo scenes has both of its own and gives a practice file. Finished split models are not trained again.

    Raises:
        ExportError: the rules of the profile forbid it; every reason is listed, cheap ones before anything is trained.
        RunFolderError: the run is unfinished, or in use.
    """
    profile = _profile(profile_name)
    with run.locked():
        space, opened = reopened(run)
        practice = practice or opened.synthetic
        finalist, trained = chosen_finalist(run, space, trial)
        complexity = measured_complexity(trained.folder / MODEL)
        taught = {name: space.pool[name] for name in taught_by(space, finalist.candidate.distillation)}
        taggers = [name for name, one in taught.items() if isinstance(one, TaggerTeacher)]
        submission = Submission(
            label=label,
            name=_said(space, "name", "asc-search student"),
            abbreviation=_said(space, "abbreviation", "asc"),
            authors=authors_of(space, authors, label, practice, profile),
            classes=opened.clips.classes,
            outputs=(),
            complexity=complexity,
            description=describe(finalist.candidate, bool(taggers), profile),
            external_datasets=(AUDIOSET,) if taggers else (),
            technical_report=report,
            practice=practice,
        )
        evaluation = opened.evaluation if clips is None else evaluation_clips(clips, opened.clips.classes)
        problems = [problem for problem in check(submission, profile) if problem.where != "outputs"]
        problems += _missing_inputs(evaluation, lists, out, practice, profile)
        if not practice:
            problems += _unknown_teachers(taught)
        if problems or evaluation is None:
            raise ExportError(
                f"{label}: {profile.name} forbids this submission, nothing was trained or written:", problems
            )
        training, validation, test = (opened.clips.split(name) for name in ("train", "validation", "test"))
        parts = split_parts(training, lists, profile)
        outputs = []
        with Stage("export", len(profile.splits)) as stage:
            for split in profile.splits:
                model = trained
                if split != FULL:
                    model = train_on_subset(space, run, finalist, split, parts[split], validation, stage)
                development = measure_on_test(model, test, run.root, training.seen_devices)
                outputs.append(_output(split, model, evaluation, run.root, development, parts[split]))
        path = write(replace(submission, outputs=tuple(outputs)), profile, out, allowed_files(lists, profile))
        if found := check_zip(path, profile, practice):
            path.unlink()
            raise ExportError(f"{path}: the file written does not pass its own check (please report this):", found)
    kind = "practice file, not for upload" if practice else "submission"
    console.print(
        f"{path}: {kind}; {finalist.name}, {complexity.params:,} parameters, {complexity.weight_bytes:,} bytes, "
        f"{complexity.macs:,} MACs",
        markup=False,
        soft_wrap=True,
    )
    return path


def check_plan(space: Space) -> None:
    """Refuse, before a search, an ``export`` section that no submission could have.

    Raises:
        ExportError: unknown profile, or a label that is not of its form.
    """
    if space.export is not None:
        parse_label(space.export.label, _profile(space.export.profile))


def _profile(name: str) -> Profile:
    if name not in PROFILES:
        raise ExportError("The profile is not known:", [Problem(name, f"known profiles are {', '.join(PROFILES)}")])
    return PROFILES[name]


def measured_complexity(path: Path) -> Complexity:
    """Complexity of the model file itself: stored parameter bytes, and a count of the rebuilt module.

    Raises:
        NetworkError: the count is not the price the search used; the model must not be submitted.
    """
    model = load_model(path)
    candidate = model.candidate
    counted = recount(model.network, candidate.deployed)
    names = {name for name, _ in model.network.named_parameters()}
    with safe_open(path, framework="pt") as file:
        size = sum(_bytes(file.get_tensor(name)) for name in names)
    macs = macs_per_second(counted.macs, candidate.frontend.seconds)
    return Complexity(counted.params, macs, size, candidate.weight_type)


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def split_parts(training: Clips, lists: Path | None, profile: Profile) -> dict[str, Clips]:
    """Training clips of each split: from the official lists, or nested subsets of our own; the full split is all."""
    if lists is None:
        nested = nested_subsets(training, tuple(int(split) for split in profile.splits))
        return {str(percentage): part for percentage, part in nested.items()}
    parts = {split: subset_from_list(training, _list_file(lists, split)) for split in profile.splits if split != FULL}
    return {**parts, FULL: training}


def allowed_files(lists: Path | None, profile: Profile) -> dict[str, frozenset[str]]:
    """Names the official lists allow each split's model to be trained on; empty without lists."""
    if lists is None:
        return {}
    return {
        split: frozenset(Path(name).name for name in list_files(_list_file(lists, split)))
        for split in profile.splits
        if split != FULL
    }


def _list_file(lists: Path, split: str) -> Path:
    plain = lists / f"split{split}.csv"
    return plain if plain.exists() else lists / f"split{split}.csv.gz"


def _unknown_teachers(taught: Mapping[str, Teacher]) -> list[Problem]:
    """Teachers of which nothing says what they were trained on, while each split's model may know its clips alone."""
    what = "nothing says which clips this teacher was trained on, and a split's model may know those of the split alone"
    return [
        Problem(f"distillation.pool.{name}", what)
        for name, teacher in taught.items()
        if isinstance(teacher, (ModelTeacher, LogitsTeacher))
    ]


def _missing_inputs(
    evaluation: Clips | None, lists: Path | None, out: Path, practice: bool, profile: Profile
) -> list[Problem]:
    """What is wrong with the files given, found before anything is trained."""
    problems = [] if out.suffix == ".zip" and not out.is_dir() else [Problem(f"--out {out}", "must name a .zip file")]
    if evaluation is None:
        problems.append(Problem("--clips", "give the folder of evaluation clips (0.wav, 1.wav, ...)"))
    else:
        expected = len(evaluation) if practice else profile.evaluation_clips
        problems += clip_problems(f"--clips {evaluation.root}", evaluation.files, expected)
        problems += check_audio(evaluation).values()
    needed = [split for split in profile.splits if split != FULL]
    if lists is None and not practice:
        what = f"the rules fix the training files of each split; give the folder with {_names(needed)}"
        problems.append(Problem("--splits", what))
    if lists is not None:
        missing = [split for split in needed if not _list_file(lists, split).exists()]
        if missing:
            problems.append(Problem(f"--splits {lists}", f"{_names(missing)} not found there"))
    return problems


def _names(splits: list[str]) -> str:
    return ", ".join(f"split{split}.csv" for split in splits)


def evaluation_clips(folder: Path, classes: tuple[str, ...]) -> Clips:
    """The unlabelled clips ``<integer>.wav`` of ``folder`` (or its ``audio`` folder), in order of their number.

    Raises:
        ExportError: there are none.
    """
    root = folder / "audio" if (folder / "audio").is_dir() else folder
    names = sorted((path.name for path in root.glob("*.wav") if path.stem.isdecimal()), key=lambda name: int(name[:-4]))
    if not names:
        raise ExportError(
            "The evaluation clips cannot be used:", [Problem(str(folder), "no files named 0.wav, 1.wav, ...")]
        )
    blank = ("",) * len(names)
    return Clips(root, classes, tuple(names), (-1,) * len(names), blank, blank, ("evaluation",) * len(names))


def _output(
    split: str, model: Trained, evaluation: Clips, features: Path, development: Metrics, part: Clips
) -> SplitOutput:
    loaded = load_model(model.folder / MODEL)
    windows = frontend_windows(features, evaluation, loaded.candidate.frontend)
    probabilities = predict_clips(loaded.whole.to(device()), windows, device())
    return SplitOutput(split, evaluation.files, probabilities, development, part.all_files)


def _said(space: Space, key: str, otherwise: str) -> str:
    return getattr(space.export, key, "") or otherwise
