"""Opening a data source by its name: the generated demo set, or a folder of recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asc_search.data.clips import Clips
from asc_search.data.demo import DemoSize, make_demo
from asc_search.data.folder import Folder, path_problem, read_folder, read_table
from asc_search.data.splits import assign_splits, list_files
from asc_search.errors import DataError, Problem

_FOLDER = "folder:"


@dataclass(frozen=True)
class OpenedSource:
    """Data ready to use: ``clips`` with train, validation and test rows, the unlabelled ``evaluation`` set if any,
    the files left out, and whether the sounds are ``synthetic`` (results then say nothing about real scenes)."""

    name: str
    clips: Clips
    evaluation: Clips | None
    skipped: tuple[Problem, ...]
    synthetic: bool


def absolute_source(source: str) -> str:
    """``source`` with the path of ``folder:PATH`` made absolute, so that it means the same from everywhere."""
    if not source.startswith(_FOLDER) or source == _FOLDER:
        return source
    return f"{_FOLDER}{Path(source.removeprefix(_FOLDER)).expanduser().resolve()}"


def open_source(
    source: str,
    workdir: Path,
    *,
    labels: Sequence[str] | None = None,
    test_folds: Sequence[int | str] | None = None,
    train_folds: Sequence[int | str] | None = None,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.2,
    seed: int = 0,
    skip_bad_files: bool = False,
    allow_leaky_split: bool = False,
    check_samples: bool = True,
    demo_size: DemoSize | None = None,
) -> OpenedSource:
    """Open ``demo`` (generated once into ``workdir/demo``) or ``folder:PATH`` (a folder with ``meta.csv``).

    Training and test part come from ``evaluation_setup/fold1_{train,evaluate}.csv`` where the folder has them, else as
    :func:`~asc_search.data.splits.assign_splits` says. An evaluation set is looked for in the folder's ``evaluation/``.
    The demo set itself is the same for every ``seed``, which chooses its validation part only.

    Raises:
        DataError: no such source, or its data has mistakes.
    """
    synthetic = source == "demo"
    if synthetic:
        root = workdir / "demo"
        make_demo(root, size=demo_size)
        # the demo has one fold, given by its lists
        test_folds = train_folds = None
    elif source.startswith(_FOLDER) and source != _FOLDER:
        root = Path(source.removeprefix(_FOLDER)).expanduser()
        if not root.is_dir():
            raise DataError(
                "the data source cannot be opened", [Problem(source, f"there is no folder {root.resolve()}")]
            )
    else:
        raise DataError(
            "the data source cannot be opened",
            [Problem(f"source {source!r}", "must be 'demo' or 'folder:PATH', PATH being a folder with a meta.csv")],
        )
    folder = read_folder(root, labels, skip_bad_files=skip_bad_files, check_samples=check_samples and not synthetic)
    clips = assign_splits(
        _with_lists(folder, test_folds is None),
        folder.folds,
        test_folds=test_folds,
        train_folds=train_folds,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        seed=seed,
        allow_leaky_split=allow_leaky_split,
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


def _with_lists(folder: Folder, wanted: bool) -> Clips:
    """The clips with the official training and test lists applied, if the folder has both and no split column."""
    clips, setup = folder.clips, folder.clips.root / "evaluation_setup"
    train_list, test_list = setup / "fold1_train.csv", setup / "fold1_evaluate.csv"
    if not wanted or any(clips.splits) or not (train_list.is_file() and test_list.is_file()):
        return clips
    train, test = set(list_files(train_list)), set(list_files(test_list))
    if both := sorted(train & test):
        raise DataError("the official lists overlap", [Problem(file, "is in training and test list") for file in both])
    splits = tuple("train" if file in train else "test" if file in test else "" for file in clips.files)
    if not any(splits):
        raise DataError("the official lists fit nothing", [Problem(str(train_list), "names no file of meta.csv")])
    return replace(clips, splits=splits)
