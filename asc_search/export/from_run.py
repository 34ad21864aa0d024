"""From a finished run to a submission: split models, predictions on the evaluation clips, measured complexity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import mean

import torch
from safetensors import safe_open

from asc_search.data.clips import Clips
from asc_search.data.splits import nested_subsets, subset_from_list
from asc_search.errors import AscSearchError, ExportError, Problem, RunFolderError
from asc_search.export.authors import authors_of
from asc_search.export.check import check
from asc_search.export.describe import describe
from asc_search.export.package import write
from asc_search.export.profile import PROFILES, Profile
from asc_search.export.submission import Complexity, SplitOutput, Submission
from asc_search.files import read_json
from asc_search.oracle.budget import macs_per_second, price_candidate
from asc_search.oracle.nessi import count_module
from asc_search.progress import Stage, console
from asc_search.space.load import loads
from asc_search.space.space import Space
from asc_search.study.dataset import open_data
from asc_search.study.retrain import MODEL, Finalist, Trained, measure_on_test
from asc_search.study.run_folder import RunFolder
from asc_search.study.subsets import train_on_subset
from asc_search.train.features import logmel_windows
from asc_search.train.fit import device
from asc_search.train.metrics import Metrics
from asc_search.train.model_file import load_model
from asc_search.train.predict import predict_clips

FULL = "100"


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
    if profile_name not in PROFILES:
        raise AscSearchError(f"--profile {profile_name}: known profiles are {', '.join(PROFILES)}")
    profile = PROFILES[profile_name]
    with run.locked():
        space = reopened_space(run)
        opened = open_data(space, run, skip_bad_files=(run.root / "skipped_files.txt").exists(), allow_leaky_split=True)
        practice = practice or opened.synthetic
        finalist, trained = chosen_finalist(run, space, trial)
        complexity = measured_complexity(trained.folder / MODEL)
        submission = Submission(
            label=label,
            name=_said(space, "name", "asc-search student"),
            abbreviation=_said(space, "abbreviation", "asc"),
            authors=authors_of(space, authors, label, practice, profile),
            classes=opened.clips.classes,
            outputs=(),
            complexity=complexity,
            description=describe(finalist.candidate, space, profile),
            technical_report=report,
            practice=practice,
        )
        evaluation = opened.evaluation if clips is None else evaluation_clips(clips, opened.clips.classes)
        problems = [problem for problem in check(submission, profile) if problem.where != "outputs"]
        problems += _missing_inputs(evaluation, lists, practice, profile)
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
                development = measure_on_test(model, test, run.root, training.devices)
                outputs.append(_output(split, model, evaluation, run.root, development, parts[split]))
        allowed = {split: frozenset(Path(name).name for name in part.files) for split, part in parts.items()}
        path = write(replace(submission, outputs=tuple(outputs)), profile, out, allowed)
    kind = "practice file, not for upload" if practice else "submission"
    console.print(
        f"{path}: {kind}; {finalist.name}, {complexity.params:,} parameters, {complexity.weight_bytes:,} bytes, "
        f"{complexity.macs:,} MACs",
        markup=False,
        soft_wrap=True,
    )
    return path


def reopened_space(run: RunFolder) -> Space:
    """The space a run was started with, on the data it was started on."""
    identity = run.identity or {}
    space = loads(run.space_file.read_text(encoding="utf-8"), str(run.space_file), Path(identity["folder"]))
    return replace(space, data=replace(space.data, source=identity["source"]))


def chosen_finalist(run: RunFolder, space: Space, trial: int | None) -> tuple[Finalist, Trained]:
    """The finalist of ``trial``, or the one best on validation, with its best seed on validation.

    Raises:
        RunFolderError: the run has no finalists yet, or not this one.
    """
    listed = read_json(run.root / "finalists.json")
    if listed is None:
        raise RunFolderError(f"{run.root}: no finalists yet; let `asc-search run` finish first")
    choices: dict[Finalist, list[Trained]] = {}
    for finalist in map(Finalist.from_json, listed):
        if finalist.role == "finalist" and trial in (None, finalist.trial):
            folders = [run.finalist(finalist.digest, seed) for seed in range(space.retrain.seeds)]
            notes = {folder: read_json(folder / "validation.json") for folder in folders}
            runs = [Trained(folder, Metrics.from_json(note)) for folder, note in notes.items() if note is not None]
            if runs:
                choices[finalist] = runs
    if not choices:
        known = ", ".join(str(one["trial"]) for one in listed if one["role"] == "finalist")
        raise RunFolderError(f"--trial {trial}: not a finalist of {run.root}; the finalists are trials {known}")
    best = max(choices, key=lambda finalist: mean(one.validation.accuracy for one in choices[finalist]))
    return best, max(choices[best], key=lambda one: one.validation.accuracy)


def measured_complexity(path: Path) -> Complexity:
    """Complexity of the model file itself: stored parameter bytes, and a count of the rebuilt module.

    Raises:
        AscSearchError: the count is not the price the search used; the model must not be submitted.
    """
    model = load_model(path)
    candidate = model.candidate
    counted = count_module(model.network, candidate.frontend.shape)
    priced = price_candidate(candidate)
    if (counted.params, counted.macs, counted.conv_linear_macs) != (
        priced.params,
        priced.macs,
        priced.conv_linear_macs,
    ):
        raise AscSearchError(f"{path}: the module counts {counted}, its price was {priced}; please report this")
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


def _list_file(lists: Path, split: str) -> Path:
    plain = lists / f"split{split}.csv"
    return plain if plain.exists() else lists / f"split{split}.csv.gz"


def _missing_inputs(evaluation: Clips | None, lists: Path | None, practice: bool, profile: Profile) -> list[Problem]:
    problems = []
    if evaluation is None:
        problems.append(Problem("--clips", "give the folder of evaluation clips (0.wav, 1.wav, ...)"))
    elif not practice and len(evaluation) != profile.evaluation_clips:
        what = f"{len(evaluation):,} clips; {profile.name} asks for {profile.evaluation_clips:,} (--practice rehearses on fewer)"
        problems.append(Problem("--clips", what))
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
    windows = logmel_windows(features, evaluation, loaded.candidate.frontend)
    probabilities = predict_clips(loaded.network.to(device()), windows, device())
    return SplitOutput(split, evaluation.files, probabilities, development, part.files)


def _said(space: Space, key: str, otherwise: str) -> str:
    return getattr(space.export, key, "") or otherwise
