"""TAU Urban Acoustic Scenes development sets on disk: layout, what names say, segments, parallel recordings, lists."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path, PurePosixPath

from asc_search.data.clips import Clips
from asc_search.data.fetch import fetch_list
from asc_search.data.folder import TauName, tau_name
from asc_search.data.tau_facts import SUBSETS, TAU_SETS, TauSet
from asc_search.errors import DataError, Problem

TRAIN_LIST = "evaluation_setup/fold1_train.csv"
TEST_LIST = "evaluation_setup/fold1_evaluate.csv"


def tau_folder(path: Path, tau: TauSet) -> Path:
    """The folder of the set: ``path`` itself, or the one of the official name in it.

    Raises:
        DataError: it is not laid out as published (``meta.csv``, the two lists of fold 1, ``audio/``).
    """
    path = path.expanduser()
    root = path / tau.folder if (path / tau.folder).is_dir() else path
    for name in ("meta.csv", TRAIN_LIST, TEST_LIST, "audio"):
        if not (root / name).exists():
            parent = root.parent if root.name == tau.folder else path
            raise DataError(
                f"{tau.name}: {root} is not laid out as {tau.folder}",
                [Problem(str(root / name), "is the first thing missing")],
                f"run 'asc-search data fetch {tau.name} --root {parent}', or give the folder that has {name}",
            )
    return root


def name_problems(clips: Clips, tau: TauSet) -> list[Problem]:
    """Rows whose file name is not of the set's form, or says another class, device or location than the table."""
    problems = []
    for file, label, device, location in zip(clips.files, clips.labels, clips.devices, clips.locations, strict=True):
        told = tau_name(file)
        if told is None or (told.second is not None) != tau.split_in_seconds:
            problems.append(Problem(file, f"is no name of {tau.name}: {_form(tau)}{_other_set(told, tau)}"))
            continue
        table = (clips.classes[label], device, location)
        if table != (told.scene, told.device, told.location):
            problems.append(Problem(file, f"meta.csv says {', '.join(table)}"))
    return problems


def segments(clips: Clips) -> list[list[int]]:
    """Rows of each 10-s segment in order of their second, segments in order of their first row.

    A segment is one recording of one device: rows whose names differ in nothing but the second. Rows without a second
    in their name (10-s clips, other data) are segments of their own.
    """
    groups: dict[object, list[tuple[int, int]]] = defaultdict(list)
    for i, file in enumerate(clips.files):
        told = tau_name(file)
        if told is None or told.second is None:
            groups[i].append((0, i))
        else:
            groups[_recording(file, told), told.device].append((told.second, i))
    return [[i for _, i in sorted(group)] for group in groups.values()]


def join_segments(clips: Clips, part: str | None = None) -> Clips:
    """``clips`` with the seconds of each 10-s segment as one clip, its files one after the other; all, or those of ``part``.

    A second that is missing ends a clip, and what follows is another, so that no clip has a seam. Label, device, location
    and split are those of the first second: a segment has one of each.
    """
    chosen = [i for i in range(len(clips)) if part in (None, clips.splits[i])]
    runs = [[i] for i in range(len(clips)) if part not in (None, clips.splits[i])]
    for rows in segments(clips.take(chosen)):
        before = None
        for i in (chosen[row] for row in rows):
            told = tau_name(clips.files[i])
            second = told.second if told else None
            if before is None or second != before + 1:
                runs.append([])
            runs[-1].append(i)
            before = second
    runs.sort()
    joined = clips.take([run[0] for run in runs])
    return replace(joined, more=tuple(tuple(clips.files[i] for i in run[1:]) for run in runs))


def parallel_recordings(clips: Clips, device: str = "a") -> dict[int, dict[str, int]]:
    """For each row of ``device`` that has any: the rows of the same moment on other devices, by device.

    Told by names, as the TAU sets have them: they differ in nothing but the ``-<device>`` they end with.
    """
    rows: dict[str, dict[str, int]] = defaultdict(dict)
    for i, file in enumerate(clips.files):
        moment, _, last = str(PurePosixPath(file).with_suffix("")).rpartition("-")
        if moment and last == (clips.devices[i] or last):
            rows[moment][last] = i
    return {
        found[device]: {name: i for name, i in sorted(found.items()) if name != device}
        for found in rows.values()
        if device in found and len(found) > 1
    }


def subset_percent(name: str) -> int:
    """The percentage that ``name`` ("25%" or "25") stands for.

    Raises:
        DataError: there is no official list of it.
    """
    match = re.fullmatch(r"(\d+)\s*%?", name.strip())
    if match and int(match[1]) in (*SUBSETS, 100):
        return int(match[1])
    what = f"is no official subset; there are {', '.join(f'{percent}%' for percent in (*SUBSETS, 100))}"
    raise DataError("no such training subset", [Problem(f"subset {name!r}", what)])


def official_list(percent: int, root: Path, lists: Path | None = None, cache: Path | None = None) -> Path:
    """The file of the official list of ``percent`` % of the 2022 training part.

    Looked for as ``splitN.csv`` or ``splitN.csv.gz`` in ``lists`` where given, else in the set's folder ``root`` and its
    ``evaluation_setup``; then downloaded into ``cache``. The list of 100 % is the training list of fold 1.

    Raises:
        DataError: it is in none of these places, or cannot be downloaded.
    """
    if percent == 100:
        return root / TRAIN_LIST
    places = [lists] if lists else [root / "evaluation_setup", root]
    files = [place / f"split{percent}.csv{suffix}" for place in places for suffix in ("", ".gz")]
    if found := next((file for file in files if file.is_file()), None):
        return found
    if lists or cache is None:
        where = ", ".join(map(str, places))
        advice = "give the folder that holds the official lists, or leave it out to have them downloaded"
        raise DataError("a list is missing", [Problem(f"split{percent}.csv", f"is not in {where}")], advice)
    return fetch_list(percent, cache)


def _recording(file: str, told: TauName) -> tuple[str, str, str, str]:
    """What the recordings of one moment on several devices share."""
    return str(PurePosixPath(file).parent), told.scene, told.location, told.segment


def _form(tau: TauSet) -> str:
    second = "-<second>" if tau.split_in_seconds else ""
    return f"<scene>-<city>-<location>-<segment>{second}-<device>"


def _other_set(told: TauName | None, tau: TauSet) -> str:
    if told is None:
        return ""
    others = [name for name, other in TAU_SETS.items() if other.split_in_seconds != tau.split_in_seconds]
    return f"; it fits {' or '.join(others)}"
