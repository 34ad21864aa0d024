"""Any folder with a ``meta.csv``: reading its table, finding what is wrong with it, and checking the audio it names."""

from __future__ import annotations

import csv
import gzip
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeVar

from asc_search.data.audio_io import UnreadableAudio, check_channels, check_header, read_mono
from asc_search.data.clips import SPLITS, Clips
from asc_search.errors import DataError, Problem
from asc_search.progress import track

_ALIASES = {"label": ("label", "scene_label"), "device": ("device", "source_label", "device_id")}
_SPLITS = tuple(name for name in SPLITS if name != "evaluation")
_TAU_NAME = re.compile(
    r"(?P<scene>[a-z][a-z_]*)-(?P<city>[a-z]+)-(?P<place>\d+)-(?P<segment>\d+)(-(?P<second>\d+))?-(?P<device>[a-z]\w*)"
)
T = TypeVar("T")
_FILES_ADVICE = "repair or remove these files, or give --skip-bad-files to go on without them"


@dataclass(frozen=True)
class TauName:
    """What a file name of the TAU Urban Acoustic Scenes sets says; ``location`` is city and location id, ``segment``
    numbers the 10-s recording, ``second`` is the place of a 1-s clip in it (None for a whole one)."""

    scene: str
    location: str
    segment: str
    second: int | None
    device: str


@dataclass(frozen=True)
class Folder:
    """A folder as read: its clips (``splits`` as in the table, '' where it gives none), their folds ('' likewise), and
    the files left out because they cannot be used."""

    clips: Clips
    folds: tuple[str, ...]
    skipped: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class _Row:
    where: str
    file: str
    label: str
    device: str
    location: str
    fold: str
    split: str


def tau_name(file: str) -> TauName | None:
    """Parse ``<scene>-<city>-<location>-<segment>[-<second>]-<device>.<ext>``; None for any other name."""
    match = _TAU_NAME.fullmatch(PurePosixPath(file).stem)
    if not match:
        return None
    second = int(match["second"]) if match["second"] else None
    return TauName(match["scene"], f"{match['city']}-{match['place']}", match["segment"], second, match["device"])


def read_folder(
    root: Path,
    labels: Sequence[str] | None = None,
    *,
    skip_bad_files: bool = False,
    check_samples: bool = True,
    advice: str = _FILES_ADVICE,
) -> Folder:
    """The clips named in ``root/meta.csv`` (comma or tab separated), with everything that is wrong reported at once.

    Columns: ``filename`` and ``label`` (or ``scene_label``); optional ``fold``, ``split``, ``device`` (or
    ``source_label``), and the recording location as ``location``, ``location_id`` (with ``city``), ``identifier`` or
    ``source_id``. Device and location that a row leaves open are taken from a file name of TAU form. ``labels`` fixes
    the classes and their order; without it they are those found, sorted. ``check_samples`` decodes every file;
    otherwise only headers are read. ``advice`` says what to do about unusable files.

    Raises:
        DataError: the table is unusable, or rows have unusable files or unknown labels; with ``skip_bad_files`` such rows
            are left out.
    """
    rows, classes, strays = _read_meta(root, labels)
    bad = strays | _check_files(root, rows)
    kept = [i for i in range(len(rows)) if i not in bad]
    folder = _gather(root, classes, [rows[i] for i in kept])
    if check_samples:
        damaged = check_audio(folder.clips)
        bad |= {kept[i]: problem for i, problem in damaged.items()}
        folder = _gather(root, classes, [row for i, row in enumerate(rows) if i not in bad])
    if bad and not skip_bad_files:
        raise DataError(f"{root}: files cannot be used", [bad[i] for i in sorted(bad)], advice)
    if not len(folder.clips):
        raise DataError(f"{root}: no clip is left", [Problem("meta.csv", "has no row with a usable file")])
    return Folder(folder.clips, folder.folds, tuple(bad[i] for i in sorted(bad)))


def read_listing(root: Path) -> Folder:
    """The clips named in ``root/meta.csv`` as :func:`read_folder` reads it, without a look at their files.

    Raises:
        DataError: the table is unusable.
    """
    rows, classes, _ = _read_meta(root, None)
    return _gather(root, classes, rows)


def check_audio(clips: Clips, *, decode: bool = True) -> dict[int, Problem]:
    """Decode every file, or read its header (in parallel threads, with a progress bar): what is wrong, by index into
    ``clips``."""
    check = read_mono if decode else check_header
    reasons = _in_parallel(lambda file: _reason(check, clips.root / file), clips.files, "checking audio")
    return {i: Problem(clips.files[i], reason) for i, reason in enumerate(reasons) if reason}


def check_clip_channels(clips: Clips, channels: int) -> list[Problem]:
    """The files of ``clips`` that cannot be heard with ``channels`` channels, by their headers; nothing is wrong with one."""
    files = clips.all_files if channels > 1 else ()
    reasons = _in_parallel(
        lambda file: _reason(lambda path: check_channels(path, channels), clips.root / file), files, "checking channels"
    )
    return [Problem(file, reason) for file, reason in zip(files, reasons, strict=True) if reason]


def read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and (line number, fields) of a csv file: comma or tab separated, UTF-8 with or without BOM, or gzipped.

    Raises:
        DataError: there is no such file, or it is not such a table.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = raw.decode("utf-8-sig")
        lines = text.splitlines()
        delimiter = "\t" if lines and "\t" in lines[0] else ","
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        numbered = [(reader.line_num, [field.strip() for field in fields]) for fields in reader if any(fields)]
    except FileNotFoundError:
        raise DataError("a table is missing", [Problem(str(path), "no such file")]) from None
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError("a table cannot be read", [Problem(str(path), f"not a csv file in UTF-8 ({error})")]) from None
    if not numbered:
        raise DataError("a table is empty", [Problem(str(path), "has no header line")])
    return numbered[0][1], numbered[1:]


def _read_meta(root: Path, labels: Sequence[str] | None) -> tuple[list[_Row], tuple[str, ...], dict[int, Problem]]:
    """Rows of a usable ``meta.csv``, the classes, and rows of unknown label (by index)."""
    rows, problems, strays = _parse_meta(root, labels)
    if problems:
        raise DataError(f"{root}: meta.csv has mistakes", [*problems, *strays.values()])
    return rows, tuple(labels) if labels else tuple(sorted({row.label for row in rows})), strays


def _parse_meta(root: Path, labels: Sequence[str] | None) -> tuple[list[_Row], list[Problem], dict[int, Problem]]:
    """Rows of ``meta.csv``, what makes the table unusable, and rows of unknown label (by index)."""
    header, lines = read_table(root / "meta.csv")
    columns = {name: index for index, name in enumerate(header)}
    names = {key: next((alias for alias in aliases if alias in columns), "") for key, aliases in _ALIASES.items()}
    problems = [_missing_column(key, columns) for key in ("filename",) if key not in columns]
    problems += [_missing_column("label", columns)] if not names["label"] else []
    if problems:
        return [], problems, {}
    rows: list[_Row] = []
    strays: dict[int, Problem] = {}
    first_seen: dict[str, int] = {}
    for line, fields in lines:
        where = f"meta.csv:{line}"
        if len(fields) != len(header):
            problems.append(Problem(where, f"has {len(fields)} fields, the header has {len(header)}"))
            continue
        row = {name: fields[index] for name, index in columns.items()}
        file, label, split = row["filename"], row[names["label"]], row.get("split", "")
        told = tau_name(file)
        device = row.get(names["device"], "") or (told.device if told else "")
        location = _location(row) or (told.location if told else "")
        if reason := path_problem(file):
            problems.append(Problem(where, reason))
        elif file in first_seen:
            problems.append(Problem(where, f"{file} is listed already at line {first_seen[file]}"))
        if not label:
            problems.append(Problem(where, "the label is empty"))
        elif labels and label not in labels:
            what = f"{file}: unknown label {label!r}{_suggest(label, labels)}; {_allowed(labels)}"
            strays[len(rows)] = Problem(where, what)
        if split and split not in _SPLITS:
            problems.append(Problem(where, f"unknown split {split!r}{_suggest(split, _SPLITS)}; {_allowed(_SPLITS)}"))
        first_seen.setdefault(file, line)
        rows.append(_Row(where, file, label, device, location, row.get("fold", ""), split))
    if not rows and not problems:
        problems.append(Problem("meta.csv", "has a header but no rows"))
    return rows, problems, strays


def _missing_column(name: str, found: dict[str, int]) -> Problem:
    wanted = " or ".join(repr(alias) for alias in _ALIASES.get(name, (name,)))
    what = f"no column {wanted}{_suggest(name, list(found))}; columns found: {', '.join(found)}"
    return Problem("meta.csv:1", what)


def _location(row: dict[str, str]) -> str:
    if row.get("location_id") and row.get("city"):
        row = {**row, "location_id": f"{row['city']}-{row['location_id']}"}
    return next((row[name] for name in ("location", "location_id", "identifier", "source_id") if row.get(name)), "")


def path_problem(file: str) -> str:
    if not file:
        return "the filename is empty"
    parts = PureWindowsPath(file)
    if parts.drive or parts.root or ".." in parts.parts or "\0" in file:
        return f"{file!r} leads out of the folder; file names must be relative to it and without '..'"
    return ""


def _suggest(word: str, known: Sequence[str]) -> str:
    close = get_close_matches(word.lower(), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _allowed(known: Sequence[str]) -> str:
    listed = ", ".join(known[:12])
    return f"allowed: {listed}" + (f" and {len(known) - 12} more" if len(known) > 12 else "")


def _check_files(root: Path, rows: Sequence[_Row]) -> dict[int, Problem]:
    reasons = _in_parallel(lambda row: _reason(check_header, root / row.file), rows, "checking files")
    return {i: Problem(rows[i].where, f"{rows[i].file}: {reason}") for i, reason in enumerate(reasons) if reason}


def _reason(check: Callable[[Path], object], path: Path) -> str:
    """Why ``check`` refuses the file; '' if it does not."""
    if not path.is_file():
        return "no such file"
    try:
        check(path)
    except UnreadableAudio as error:
        return str(error)
    return ""


def _in_parallel(function: Callable[[T], str], items: Sequence[T], description: str) -> list[str]:
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        return list(track(pool.map(function, items), description, len(items)))


def _gather(root: Path, classes: tuple[str, ...], rows: Sequence[_Row]) -> Folder:
    index = {name: i for i, name in enumerate(classes)}
    clips = Clips(
        root=root,
        classes=classes,
        files=tuple(row.file for row in rows),
        labels=tuple(index[row.label] for row in rows),
        devices=tuple(row.device for row in rows),
        locations=tuple(row.location for row in rows),
        splits=tuple(row.split for row in rows),
    )
    return Folder(clips, tuple(row.fold for row in rows))
