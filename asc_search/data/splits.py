"""Splits that share no recording location, and nested training subsets."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from asc_search.data.clips import Clips
from asc_search.data.folder import read_table
from asc_search.errors import DataError, Problem

PERCENTAGES = (5, 10, 25, 50, 100)


def hold_out_devices(clips: Clips, devices: Sequence[str]) -> Clips:
    """``clips`` without the training rows of ``devices``, which then are heard in validation (and test) alone.

    So the validation split tells how a network does on devices it never heard, as the test split will.
    """
    return clips.where(lambda i: clips.splits[i] != "train" or clips.devices[i] not in devices)


def assign_splits(
    clips: Clips,
    folds: Sequence[str] = (),
    *,
    test_folds: Sequence[int | str] | None = None,
    train_folds: Sequence[int | str] | None = None,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.2,
    seed: int = 0,
    allow_leaky_split: bool = False,
) -> Clips:
    """``clips`` with every split set; rows in none are dropped.

    The test part is, in this order: the rows that already say ``test``; those of ``test_folds`` (training then comes
    from ``train_folds``, default all other folds); a share of ``test_fraction`` of the locations. Where no row says
    ``validation``, a share of ``validation_fraction`` of the training part is cut off. Both cuts are by location and
    stratified by class, and depend on nothing but the rows and ``seed``.

    Raises:
        DataError: folds asked for are not there, or a part would be empty; without ``allow_leaky_split`` also:
            locations are unknown, a class has a single one where a part is to be cut, or training and validation share
            some.
    """
    if any(clips.splits):
        if test_folds is not None or train_folds is not None:
            raise _error("test_folds", "the data says itself which rows are for training and test; leave the folds out")
        clips = clips.where(lambda i: bool(clips.splits[i]))
    elif test_folds is not None or train_folds is not None:
        clips = _by_folds(clips, folds, test_folds, train_folds)
    else:
        clips = replace(clips, splits=("train",) * len(clips))
    for name, fraction in (("test", test_fraction), ("validation", validation_fraction)):
        if name not in clips.splits:
            clips = _cut(clips, name, fraction, seed, allow_leaky_split)
    _check_parts(clips, allow_leaky_split)
    return clips


def held_out(clips: Clips, fraction: float, seed: int | Sequence[int]) -> list[int]:
    """Indices of about ``fraction`` of the clips of each class, whole locations only, in ascending order.

    Locations are tried in random order; one is taken if that brings the class shares nearer to ``fraction``. The best
    of several orders counts. Of a class in several locations at least one is taken and one left, where the other
    classes there allow it; clips of unknown location each count as a location of their own.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for i, location in enumerate(clips.locations):
        groups[location or f"\0{i}"].append(i)
    names = sorted(groups)
    counts = {name: Counter(clips.labels[i] for i in groups[name]) for name in names}
    total, rng = Counter(clips.labels), np.random.default_rng(seed)

    def error(chosen: set[str]) -> tuple[int, float]:
        taken: Counter[int] = Counter()
        for name in chosen:
            taken.update(counts[name])
        distance = sum((taken[label] / count - fraction) ** 2 for label, count in total.items())
        return sum(not taken[label] for label in total), distance

    # with many places one order is as good as another, and slow enough
    tries = max(1, min(16, 20_000 // max(len(names), 1)))
    orders = [[names[i] for i in rng.permutation(len(names))] for _ in range(tries)]
    best = min((_take_places(order, counts, total, fraction) for order in orders), key=error)
    return sorted(i for name in best for i in groups[name])


def _take_places(
    order: Sequence[str], counts: Mapping[str, Counter[int]], total: Counter[int], fraction: float
) -> set[str]:
    """The places of one greedy pass over ``order``; ``counts`` are the clips of each class at each place."""
    taken: Counter[int] = Counter()
    places_left = Counter(label for name in order for label in counts[name])
    chosen: set[str] = set()

    def gain(name: str) -> float:
        """By how much the squared distance to the wanted shares shrinks when ``name`` is taken."""
        return sum(
            (taken[label] / total[label] - fraction) ** 2 - ((taken[label] + n) / total[label] - fraction) ** 2
            for label, n in counts[name].items()
        )

    def take(name: str) -> None:
        taken.update(counts[name])
        places_left.subtract(counts[name].keys())
        chosen.add(name)

    def spares(name: str) -> bool:
        return name not in chosen and all(places_left[label] > 1 for label in counts[name])

    for name in order:
        if spares(name) and gain(name) > 0.0:
            take(name)
    for label in sorted(total):
        candidates = [] if taken[label] else [name for name in order if label in counts[name] and spares(name)]
        if candidates:
            take(max(candidates, key=gain))
    return chosen


def nested_subsets(clips: Clips, percentages: Sequence[int] = PERCENTAGES, seed: int = 0) -> dict[int, Clips]:
    """Subsets of ``clips`` by percentage, each within the next, of equal shares of every class and device.

    Every class keeps at least one clip; a device stays present down to about one clip in the whole subset.
    """
    rng = np.random.default_rng(seed)
    strata: dict[tuple[str, int], list[int]] = defaultdict(list)
    for i in range(len(clips)):
        strata[clips.devices[i], clips.labels[i]].append(i)
    # Clip k of the n in a stratum comes in at the share (k + offset) / n of its class. Offsets are spread evenly over
    # the classes of a device, so that a rare device enters some classes early and others late instead of all or none.
    entry = np.zeros(len(clips))
    for device in sorted(set(clips.devices)):
        present = sorted(label for name, label in strata if name == device)
        for label, rank in zip(present, rng.permutation(len(present)), strict=True):
            members = rng.permutation(strata[device, label])
            entry[members] = (np.arange(len(members)) + (rank + 0.5) / len(present)) / len(members)
    by_class: dict[int, list[int]] = defaultdict(list)
    for i in np.argsort(entry, kind="stable"):
        by_class[clips.labels[i]].append(int(i))
    return {
        percent: clips.take(
            sorted(i for members in by_class.values() for i in members[: max(1, round(len(members) * percent / 100))])
        )
        for percent in sorted(percentages)
    }


def subset_from_list(clips: Clips, csv_path: Path) -> Clips:
    """The rows of ``clips`` whose file name (without folder) is in an official list: csv with a column ``filename``.

    Raises:
        DataError: the list cannot be read, has no such column, names none of the clips, or only some files of one.
    """
    names = {PurePosixPath(name).name for name in list_files(csv_path)}
    listed = [[PurePosixPath(file).name in names for file in files] for files in clips.parts]
    if torn := [file for file, found in zip(clips.files, listed, strict=True) if any(found) and not all(found)]:
        raise _error(str(csv_path), f"names only some seconds of {len(torn)} segments (first: {torn[0]})")
    subset = clips.where(lambda i: all(listed[i]))
    if not len(subset):
        raise _error(str(csv_path), f"none of its {len(names)} file names is among the {len(clips)} clips")
    return subset


def list_files(csv_path: Path) -> list[str]:
    """The column ``filename`` of a list.

    Raises:
        DataError: the list cannot be read or has no such column.
    """
    header, lines = read_table(csv_path)
    if "filename" not in header:
        raise _error(str(csv_path), f"no column 'filename'; columns found: {', '.join(header)}")
    column = header.index("filename")
    return [fields[column] for _, fields in lines if len(fields) > column]


def apply_lists(clips: Clips) -> Clips:
    """``clips`` split by ``evaluation_setup/fold1_train.csv`` and ``fold1_evaluate.csv`` of their folder ('' where in
    neither), if it has both and the table no split column; else as they are.

    Raises:
        DataError: the lists overlap, cannot be read, or name none of the clips.
    """
    setup = clips.root / "evaluation_setup"
    train_list, test_list = setup / "fold1_train.csv", setup / "fold1_evaluate.csv"
    if any(clips.splits) or not (train_list.is_file() and test_list.is_file()):
        return clips
    train, test = set(list_files(train_list)), set(list_files(test_list))
    if both := sorted(train & test):
        raise DataError("the official lists overlap", [Problem(file, "is in training and test list") for file in both])
    splits = tuple("train" if file in train else "test" if file in test else "" for file in clips.files)
    if not any(splits):
        raise DataError("the official lists fit nothing", [Problem(str(train_list), "names no file of meta.csv")])
    return replace(clips, splits=splits)


def keep_training(clips: Clips, csv_path: Path, *, allow_missing: bool = False) -> Clips:
    """``clips`` with the training part cut down to the files of an official list; the other parts stay.

    Raises:
        DataError: the list cannot be read, names none of the training clips or, unless ``allow_missing``, a file that is
            not among them.
    """
    names, train = set(list_files(csv_path)), set(clips.split("train").files)
    missing = sorted(names - train)
    if len(missing) == len(names) or (missing and not allow_missing):
        what = f"{len(missing)} of its {len(names)} files are not in the training part (first: {missing[:1]})"
        raise _error(str(csv_path), what)
    return clips.where(lambda i: clips.splits[i] != "train" or clips.files[i] in names)


def cut_training(clips: Clips, percent: int, seed: int) -> Clips:
    """``clips`` with ``percent`` % of the training part, of every class and device alike; the other parts stay.

    What a smaller percentage keeps a larger one does, too.
    """
    kept = set(nested_subsets(clips.split("train"), (percent,), seed)[percent].files)
    return clips.where(lambda i: clips.splits[i] != "train" or clips.files[i] in kept)


def _by_folds(
    clips: Clips, folds: Sequence[str], test_folds: Sequence[int | str] | None, train_folds: Sequence[int | str] | None
) -> Clips:
    found = sorted(set(folds) - {""})
    if not found:
        raise _error(
            "test_folds", "meta.csv has no column 'fold'; leave test_folds out to cut the test part by location"
        )
    if test_folds is None:
        raise _error("train_folds", f"needs test_folds as well; folds found: {', '.join(found)}")
    test = {str(fold) for fold in test_folds}
    train = set(found) - test if train_folds is None else {str(fold) for fold in train_folds}
    problems = [
        Problem(name, f"there is no fold {fold}; folds found: {', '.join(found)}")
        for name, wanted in (("test_folds", test), ("train_folds", train))
        for fold in sorted(wanted - set(found))
    ]
    problems += [Problem("train_folds", f"fold {fold} is in test_folds as well") for fold in sorted(train & test)]
    if problems:
        raise DataError("the folds do not fit the data", problems)
    splits = tuple("test" if fold in test else "train" if fold in train else "" for fold in folds)
    return replace(clips, splits=splits).where(lambda i: bool(splits[i]))


def _cut(clips: Clips, name: str, fraction: float, seed: int, allow_leaky_split: bool) -> Clips:
    """Rename about ``fraction`` of the training rows to ``name``."""
    train = [i for i, split in enumerate(clips.splits) if split == "train"]
    unknown = [i for i in train if not clips.locations[i]]
    if unknown and not allow_leaky_split:
        raise _error(
            "meta.csv",
            f"{len(unknown)} of {len(train)} clips have no recording location (first: {clips.files[unknown[0]]}), so "
            f"the {name} part cannot be kept apart from training; add a column 'location' or give --allow-leaky-split",
        )
    # another seed for each cut, or the validation cut would repeat the choices of the test cut
    cut = {train[i] for i in held_out(clips.take(train), fraction, (seed, name == "test"))}
    left_out = {clips.labels[i] for i in train} - {clips.labels[i] for i in cut}
    if left_out and not allow_leaky_split:
        advice = (
            "record it elsewhere too, mark the rows in a column 'split', or give --allow-leaky-split to go on without"
        )
        problems = [
            Problem(f"class {clips.classes[label]!r}", f"has too few recording locations to be in the {name} part too")
            for label in sorted(left_out)
        ]
        raise DataError("the data cannot be split", problems, advice)
    return replace(clips, splits=tuple(name if i in cut else split for i, split in enumerate(clips.splits)))


def _check_parts(clips: Clips, allow_leaky_split: bool) -> None:
    problems = [
        Problem(name, "this part would be empty; it needs clips of several recording locations")
        for name in ("train", "validation", "test")
        if name not in clips.splits
    ]
    shared = set(clips.split("train").locations) & set(clips.split("validation").locations) - {""}
    if shared and not allow_leaky_split:
        some = ", ".join(sorted(shared)[:5])
        problems.append(Problem("validation", f"shares {len(shared)} recording locations with training ({some})"))
    if problems:
        raise DataError("the data cannot be split", problems)


def _error(where: str, what: str) -> DataError:
    return DataError("the data cannot be split", [Problem(where, what)])
