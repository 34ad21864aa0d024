"""One output file of a zip, read row by row: every kind of mistake in it, each with the line where it is first made."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from zipfile import ZipFile

import numpy as np

from asc_search.errors import Problem
from asc_search.export import rules
from asc_search.export.profile import Profile
from asc_search.export.zip_read import MAX_CSV_BYTES, UNREADABLE, text_of

MOST_ROWS = 1_000_000  # a file of more is no output file of any year


def csv_problems(archive: ZipFile, name: str, profile: Profile, practice: bool) -> tuple[list[Problem], int | None]:
    """Problems of one output file, and its number of clips (None where it cannot be read)."""
    try:
        with text_of(archive, name, MAX_CSV_BYTES) as text:
            reader = csv.reader(text, delimiter="\t", strict=True)
            header = next(reader, [])
            problems = rules.name_set_problems(f"{name}:1", "columns (tab separated)", header, profile.columns())
            if problems:
                if len(header) == 1 and ("," in header[0] or ";" in header[0]):
                    problems.append(Problem(f"{name}:1", "columns are separated by tabs, not by commas or semicolons"))
                return problems, None
            table = _Table(name, header, profile)
            for number, row in enumerate(reader, start=2):
                if number > MOST_ROWS:
                    return [Problem(name, f"has more than {MOST_ROWS:,} rows")], None
                table.add(reader.line_num, row)
    except (*UNREADABLE, csv.Error) as error:
        return [Problem(name, f"cannot be read: {error}")], None
    return table.problems(practice), len(table.files)


class _Table:
    """Rows as they are read: what is wrong with single ones, and the columns for what is wrong with all."""

    def __init__(self, name: str, header: list[str], profile: Profile) -> None:
        self.name, self.profile = name, profile
        self.files: list[str] = []
        self.lines: list[int] = []
        self._header = header
        self._column = {title: index for index, title in enumerate(header)}
        self._order = [self._column[title] for title in profile.classes]
        self._scene_number = {scene: number for number, scene in enumerate(profile.classes)}
        self._scenes: list[int] = []
        self._values: list[np.ndarray] = []
        self._wrong: dict[str, tuple[int, str, int]] = {}  # kind: first line, what, count

    def add(self, line: int, row: list[str]) -> None:
        """Take the row that ends on ``line``."""
        if len(row) != len(self._header):
            self._note("columns", line, f"has {len(row)} columns, the header has {len(self._header)}")
            return
        scene = row[self._column["scene_label"]]
        if scene not in self._scene_number:
            self._note("scene", line, f"column scene_label: {rules.shown(scene)} is no class")
        values = np.empty(len(self._order))
        for place, index in enumerate(self._order):
            try:
                values[place] = float(row[index])
            except ValueError:
                values[place] = np.nan
                what = f"column {self._header[index]}: {rules.shown(row[index])} is not a number"
                self._note("number", line, what)
        self.files.append(row[self._column["filename"]])
        self.lines.append(line)
        self._scenes.append(self._scene_number.get(scene, -1))
        self._values.append(values)

    def _note(self, kind: str, line: int, what: str) -> None:
        first, told, count = self._wrong.get(kind, (line, what, 0))
        self._wrong[kind] = first, told, count + 1

    def problems(self, practice: bool) -> list[Problem]:
        """Everything wrong, single rows first."""
        problems = [
            Problem(f"{self.name}:{line}", what + (f" (the first of {count:,} such)" if count > 1 else ""))
            for line, what, count in self._wrong.values()
        ]
        if not self.files:
            return [*problems, Problem(self.name, "has no clips")]
        expected = len(self.files) if practice else self.profile.evaluation_clips
        problems += rules.clip_problems(self.name, self.files, expected)
        values, scenes = np.asarray(self._values), np.asarray(self._scenes)
        readable = ~np.isnan(values).any(axis=1) if "number" in self._wrong else np.ones(len(values), bool)
        rows = np.flatnonzero(readable)
        if len(rows):
            files = [self.files[row] for row in rows]
            lines = [self.lines[row] for row in rows]
            problems += rules.probability_problems(self.name, files, values[rows], lines)
            problems += self._unlike_argmax(rows, values, scenes)
        return problems

    def _unlike_argmax(self, rows: Iterable[int], values: np.ndarray, scenes: np.ndarray) -> list[Problem]:
        rows = np.asarray(rows)[scenes[rows] >= 0]
        if not len(rows):
            return []
        wrong = values[rows, scenes[rows]] < values[rows].max(axis=1)
        if not wrong.any():
            return []
        what = f"the first of {int(wrong.sum()):,} rows whose scene_label is not the most probable class"
        return [Problem(f"{self.name}:{self.lines[rows[int(wrong.argmax())]]}", what)]
