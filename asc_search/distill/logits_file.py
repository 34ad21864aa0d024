"""A teacher that is a table: logits of whole clips by file name, made by somebody else's system."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from asc_search.data.clips import Clips
from asc_search.data.folder import read_table
from asc_search.errors import DataError, Problem
from asc_search.progress import console
from asc_search.space.tree import near

FILENAME = "filename"
_ADVICE = "A table of logits has a column 'filename' and one for each class, a row for each clip: .csv, or .npz of such arrays."


@dataclass(frozen=True)
class LogitsTable:
    """The logits (rows, classes) of the clips named in ``files`` (rows,)."""

    file: Path
    files: tuple[str, ...]
    logits: np.ndarray

    def of(self, clips: Clips) -> tuple[np.ndarray, list[str]]:
        """Logits of ``clips`` (clips, classes), 0 where the table has none, and the clips it lacks.

        A clip of several files is at their mean. A name without a folder stands for the clip so called.
        """
        rows = {name: row for row, name in enumerate(self.files)}
        out, lacking = np.zeros((len(clips), self.logits.shape[1]), np.float32), []
        for index, parts in enumerate(clips.parts):
            found = [rows.get(part, rows.get(PurePosixPath(part).name)) for part in parts]
            if None in found:
                lacking.append(parts[found.index(None)])
            else:
                out[index] = self.logits[found].mean(0)
        return out, lacking

    def extra(self, *parts: Clips) -> int:
        """How many rows name no clip of ``parts``."""
        known = {name for clips in parts for file in clips.all_files for name in (file, PurePosixPath(file).name)}
        return sum(name not in known for name in self.files)


def table_logits(file: Path, training: Clips, validation: Clips, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Logits of the training clips (clips, classes) and of the validation clips, None unless the table has all of those.

    What is missing or left over is said in a line. Rows about test clips are among the latter and are not looked at.

    Raises:
        DataError: the table has mistakes (``file:line``), or lacks training clips.
    """
    table = read_logits(file, training.classes)
    logits, lacking = table.of(training)
    if lacking:
        problems = [Problem(one, f"is not in {file.name}") for one in lacking]
        raise DataError(f"teacher {name}: {file} lacks {len(lacking)} of {len(training)} training clips", problems)
    held_out, absent = table.of(validation)
    if absent:
        what = (
            f"lacks {len(absent)} of {len(validation)} validation clips (first: {absent[0]}); it is not measured there"
        )
        console.print(f"teacher {name}: {file.name} {what}", markup=False, soft_wrap=True)
    if extra := table.extra(training, validation):
        what = f"{extra} rows of {file.name} are about no training or validation clip; they are not used"
        console.print(f"teacher {name}: {what}", markup=False, soft_wrap=True)
    return logits, None if absent else held_out


def read_logits(file: Path, classes: Sequence[str]) -> LogitsTable:
    """The table in ``file``, its columns in the order of ``classes``.

    Raises:
        DataError: a column is missing or unknown, a clip stands twice, or a value is no finite number; all are listed.
    """
    if file.suffix == ".npz":
        names, columns, lines = _arrays(file)
    elif file.suffix == ".csv":
        header, numbered = read_table(file)
        names, lines = header, [line for line, _ in numbered]
        short = [Problem(f"{file}:{line}", f"has {len(row)} of {len(header)} columns") for line, row in numbered
                 if len(row) != len(header)]  # fmt: skip
        if short:
            raise _mistakes(file, short)
        columns = {name: [row[place] for _, row in numbered] for place, name in enumerate(header)}
    else:
        raise _mistakes(file, [Problem(str(file), f"is neither .csv nor .npz but {file.suffix or 'without a suffix'}")])
    here = f"{file}:1"
    problems = [Problem(here, f"column {one!r} stands twice") for one in sorted(set(names)) if names.count(one) > 1]
    problems += [Problem(here, f"no column {one!r}") for one in (FILENAME, *classes) if one not in columns]
    problems += [
        Problem(here, f"column {one!r} is no class of the data{near(one, classes)}")
        for one in columns
        if one not in (FILENAME, *classes)
    ]
    if problems:
        raise _mistakes(file, problems)
    files, first = [str(name) for name in columns[FILENAME]], {}
    for name, line in zip(files, lines, strict=True):
        if name in first:
            problems.append(Problem(f"{file}:{line}", f"{name} stands twice, first on line {first[name]}"))
        first.setdefault(name, line)
    logits = np.zeros((len(files), len(classes)), np.float32)
    for place, one in enumerate(classes):
        for row, (value, line) in enumerate(zip(columns[one], lines, strict=True)):
            number = _number(value)
            if number is None:
                problems.append(Problem(f"{file}:{line}", f"{one}: {str(value)[:40]!r} is not a finite number"))
            else:
                logits[row, place] = number
    if problems:
        raise _mistakes(file, problems)
    return LogitsTable(file, tuple(files), logits)


def _arrays(file: Path) -> tuple[list[str], dict[str, np.ndarray], list[int]]:
    """Names, columns and row numbers of an archive of arrays; nothing pickled is read."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise _mistakes(file, [Problem(str(file), f"not an archive of plain arrays ({error})")]) from None
    sizes = {name: values.shape for name, values in columns.items()}
    rows = len(columns[FILENAME]) if FILENAME in columns and columns[FILENAME].ndim == 1 else 0
    wrong = [
        Problem(str(file), f"{name} has shape {shape}, not ({rows},)")
        for name, shape in sizes.items()
        if shape != (rows,)
    ]
    if wrong:
        raise _mistakes(file, wrong)
    return list(columns), columns, list(range(1, rows + 1))


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _mistakes(file: Path, problems: Sequence[Problem]) -> DataError:
    return DataError(f"the logits in {file} cannot be used", problems, _ADVICE)
