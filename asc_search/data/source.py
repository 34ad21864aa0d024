"""Opening a data source by its name: the generated demo set, a folder of recordings, or a published set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asc_search.data.clips import Clips
from asc_search.data.demo import DemoSize, make_demo
from asc_search.data.folder import path_problem, read_folder, read_table
from asc_search.data.splits import apply_lists, assign_splits, cut_training, hold_out_devices, keep_training
from asc_search.data.tau import join_segments, name_problems, official_list, subset_percent, tau_folder
from asc_search.data.tau_facts import TAU_SETS, TauSet
from asc_search.errors import DataError, Problem

KINDS = ("folder", *TAU_SETS)


@dataclass(frozen=True)
class OpenedSource:
    """Data ready to use: ``clips`` with train, validation and test rows, the unlabelled ``evaluation`` set if any,
    the files left out, and whether the sounds are ``synthetic`` (results then say nothing about real scenes)."""

    name: str
    clips: Clips
    evaluation: Clips | None
    skipped: tuple[Problem, ...]
    synthetic: bool


@dataclass(frozen=True)
class Located:
    """What ``KIND:PATH`` stands for: the folder with the ``meta.csv``, and which published set it is, if any."""

    source: str
    root: Path
    tau: TauSet | None


def absolute_source(source: str) -> str:
    """``source`` with the path of ``KIND:PATH`` made absolute, so that it means the same from everywhere."""
    kind, _, path = source.partition(":")
    return f"{kind}:{Path(path).expanduser().resolve()}" if kind in KINDS and path else source


def locate(source: str) -> Located:
    """Find the folder of ``folder:PATH``, ``tau2019:PATH``, ``tau2020:PATH`` or ``tau2022:PATH``.

    Raises:
        DataError: no such kind or folder, or a TAU folder is not laid out as published.
    """
    kind, _, path = source.partition(":")
    if kind not in KINDS or not path.strip():
        sets = ", ".join(f"'{name}:PATH'" for name in TAU_SETS)
        what = f"must be 'demo' or 'folder:PATH', PATH being a folder with a meta.csv, or a published set: {sets}"
        raise DataError("the data source cannot be opened", [Problem(f"source {source!r}", what)])
    root, tau = Path(path).expanduser(), TAU_SETS.get(kind)
    if not root.is_dir():
        advice = f"run 'asc-search data fetch {kind} --root {path}' to get it" if tau else ""
        problem = Problem(source, f"there is no folder {root.resolve()}")
        raise DataError("the data source cannot be opened", [problem], advice)
    return Located(source, tau_folder(root, tau) if tau else root, tau)


def open_source(
    source: str,
    workdir: Path,
    *,
    labels: Sequence[str] | None = None,
    test_folds: Sequence[int | str] | None = None,
    train_folds: Sequence[int | str] | None = None,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.2,
    validation_devices: Sequence[str] = (),
    seed: int = 0,
    subset: str | None = None,
    segments: bool = False,
    lists: Path | None = None,
    skip_bad_files: bool = False,
    allow_leaky_split: bool = False,
    check_samples: bool = True,
    demo_size: DemoSize | None = None,
) -> OpenedSource:
    """Open ``demo`` (generated once into ``workdir/demo``), ``folder:PATH`` (a folder with ``meta.csv``), or a published
    set in its official layout: ``tau2019:PATH``, ``tau2020:PATH``, ``tau2022:PATH``.

    Training and test part come from ``evaluation_setup/fold1_{train,evaluate}.csv`` where the folder has them, else as
    :func:`~asc_search.data.splits.assign_splits` says. ``subset`` ("5%" to "100%") cuts the training part down: that of
    tau2022 to an official list, before the validation part is taken from it (the list is looked for in ``lists``, else in
    the folder, else downloaded into ``workdir``); that of other sources as ``seed`` draws it, after it is. An evaluation set
    is looked for in the folder's ``evaluation/``.
    ``validation_devices`` are left out of the training part. With ``segments`` the 1-s files of a 10-s segment are one
    clip of the training part; validation and test stay as they are, since the official evaluation scores each file.
    ``check_samples`` decodes every file, but not those of published sets, whose archives have checksums. The demo set
    itself is the same for every ``seed``, which chooses its validation part only.

    Raises:
        DataError: no such source, or its data has mistakes.
    """
    percent = None if subset is None else subset_percent(subset)
    if source == "demo":
        located = Located(source, workdir / "demo", None)
        make_demo(located.root, size=demo_size)
        # the demo has one fold, given by its lists
        test_folds = train_folds = None
    else:
        located = locate(source)
        if located.tau is not None:  # as do the published sets
            test_folds = train_folds = None
    root, tau, synthetic = located.root, located.tau, source == "demo"
    folder = read_folder(
        root,
        labels,
        skip_bad_files=skip_bad_files,
        check_samples=check_samples and not synthetic and tau is None,
        **({"advice": _tau_advice(tau)} if tau else {}),
    )
    if tau and (problems := name_problems(folder.clips, tau)):
        raise DataError(f"{root} is not {tau.name}", problems, _tau_advice(tau))
    clips = apply_lists(folder.clips) if test_folds is None else folder.clips
    has_lists = tau is not None and tau.split_in_seconds
    if percent is not None and has_lists:
        clips = keep_training(clips, official_list(percent, root, lists, workdir), allow_missing=skip_bad_files)
    clips = assign_splits(
        clips,
        folder.folds,
        test_folds=test_folds,
        train_folds=train_folds,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        seed=seed,
        allow_leaky_split=allow_leaky_split,
    )
    clips = hold_out_devices(clips, validation_devices)
    if percent is not None and not has_lists:
        clips = cut_training(clips, percent, seed)
    if segments:
        clips = join_segments(clips, "train")
        if not any(clips.more):
            what = "no two training files are neighbouring seconds of one segment, named as those of tau2022 are"
            raise DataError(
                "there are no segments to join", [Problem("data.segments", what)], "Leave data.segments out."
            )
    evaluation = read_evaluation(root / "evaluation", clips.classes)
    return OpenedSource(source, clips, evaluation, folder.skipped, synthetic)


def read_evaluation(root: Path, classes: Sequence[str]) -> Clips | None:
    """The clips listed in ``root/evaluation_setup/fold1_test.csv``, labels -1; None where there is no such list.

    Raises:
        DataError: the list is unusable, or files in it are missing or lie outside ``root``.
    """
    path = root / "evaluation_setup" / "fold1_test.csv"
    if not path.is_file():
        return None
    header, lines = read_table(path)
    rows = [dict(zip(header, fields, strict=False)) for _, fields in lines]
    files = [row.get("filename", "") for row in rows]
    problems = [
        Problem(f"{path.name}:{line}", path_problem(file) or f"{file}: no such file")
        for (line, _), file in zip(lines, files, strict=True)
        if path_problem(file) or not (root / file).is_file()
    ]
    if problems:
        raise DataError(f"{root}: the evaluation set is not complete", problems)
    devices = tuple(row.get("device_id", row.get("source_label", row.get("device", ""))) for row in rows)
    count = len(files)
    return Clips(root, tuple(classes), tuple(files), (-1,) * count, devices, ("",) * count, ("evaluation",) * count)


def _tau_advice(tau: TauSet) -> str:
    return (
        f"'asc-search data check {tau.name}:DIR' shows the whole picture, 'asc-search data fetch {tau.name} --root DIR' "
        "gets what is missing; --skip-bad-files goes on without"
    )
