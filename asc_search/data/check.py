"""Checking a data source on disk: counts against the published ones, missing and unreadable files, odd samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import soundfile

from asc_search.data.clips import Clips
from asc_search.data.folder import check_audio, read_listing
from asc_search.data.source import locate
from asc_search.data.splits import apply_lists, list_files
from asc_search.data.tau import TEST_LIST, TRAIN_LIST, name_problems, official_list, segments
from asc_search.data.tau_facts import PARTS, SUBSETS, TauSet
from asc_search.errors import MAX_LISTED, DataError, Problem


@dataclass(frozen=True)
class Count:
    """Files of one part (``train``, ``split25``, ...) that have ``value`` in ``column`` (device, class; '' for all),
    and how many there should be (None where that is not known)."""

    part: str
    column: str
    value: str
    found: int
    expected: int | None

    @property
    def ok(self) -> bool:
        return self.expected in (None, self.found)

    def __str__(self) -> str:
        what = f"{self.part}, {self.column} {self.value}" if self.column else self.part
        return f"{what}: {self.found}" + ("" if self.ok else f", expected {self.expected}")


@dataclass(frozen=True)
class DataCheck:
    """What :func:`check` found. ``missing`` files are named in the table and not there, ``unreadable`` ones are no audio
    (or, if ``decoded``, have bad samples), ``mistakes`` are contradictions of names, lists and formats."""

    source: str
    root: Path
    counts: tuple[Count, ...]
    missing: int
    first_missing: str
    unreadable: tuple[Problem, ...]
    mistakes: tuple[Problem, ...]
    decoded: bool

    @property
    def ok(self) -> bool:
        return not (self.missing or self.unreadable or self.mistakes) and all(count.ok for count in self.counts)

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return asdict(self) | {"root": str(self.root), "ok": self.ok}

    def lines(self) -> list[str]:
        """The result for a person: counts, then what is wrong, then the verdict."""
        lines = [f"{self.source}: {self.root}", *(f"  {count}" for count in self.counts if not count.column)]
        for part in dict.fromkeys(count.part for count in self.counts):
            for column in ("device", "class"):
                of = [count for count in self.counts if (count.part, count.column) == (part, column)]
                if of:
                    lines.append(f"  {part} by {column}: " + ", ".join(f"{count.value} {count.found}" for count in of))
        wrong = [str(count) for count in self.counts if not count.ok]
        lines += _listed("counts differ from the published ones", wrong)
        if self.missing:
            lines.append(f"missing: {self.missing} files, first {self.first_missing}")
        lines += _listed("unreadable", list(map(str, self.unreadable)))
        lines += _listed("contradictions", list(map(str, self.mistakes)))
        looked = "all samples decoded" if self.decoded else "headers read"
        return [*lines, f"everything is as it should be ({looked})" if self.ok else f"not in order ({looked})"]


def check(source: str, *, decode: bool = False, lists: Path | None = None) -> DataCheck:
    """Check ``folder:PATH``, ``tau2019:PATH``, ``tau2020:PATH`` or ``tau2022:PATH`` without opening it for training.

    Files are counted by part, device and class; for a published set every count must be the published one, names must
    agree with the table, seconds must be complete and lists contained in it, and one file of each device must have the
    published format. Official subset lists of the 2022 set are counted where the folder or ``lists`` has them. Headers
    are read, all samples with ``decode``.

    Raises:
        DataError: no such source, a table is unusable, or the first file of the layout is missing.
    """
    located = locate(source)
    root, tau = located.root, located.tau
    clips = apply_lists(read_listing(root).clips)
    there = [(root / file).is_file() for file in clips.files]
    present = clips.where(lambda i: there[i])
    counts, mistakes = _counts(clips, tau), []
    if tau:
        mistakes += name_problems(clips, tau) + _list_problems(clips) + _segment_problems(clips, tau)
        mistakes += _format_problems(present, tau)
    if tau and tau.split_in_seconds:
        for percent in SUBSETS:
            subset, problems = _subset_counts(clips, percent, lists)
            counts += subset
            mistakes += problems
    return DataCheck(
        source=source,
        root=root,
        counts=tuple(counts),
        missing=len(clips) - len(present),
        first_missing=next((file for file, is_there in zip(clips.files, there, strict=True) if not is_there), ""),
        unreadable=tuple(check_audio(present, decode=decode).values()),
        mistakes=tuple(mistakes),
        decoded=decode,
    )


def _counts(clips: Clips, tau: TauSet | None) -> list[Count]:
    unassigned = "neither" if any(clips.splits) else "all"
    parts = [split or unassigned for split in clips.splits]
    classes = [clips.classes[label] for label in clips.labels]
    names = PARTS if tau else tuple(dict.fromkeys(sorted(parts)))
    counts: list[Count] = []
    for part in names:
        rows = [i for i, name in enumerate(parts) if name == part]
        devices = tau.devices[part] if tau else None
        scenes = tau.classes[part] if tau else None
        counts.append(Count(part, "", "", len(rows), sum(devices.values()) if devices is not None else None))
        counts += _column(part, "device", [clips.devices[i] for i in rows], devices)
        counts += _column(part, "class", [classes[i] for i in rows], scenes)
    return counts


def _column(part: str, column: str, values: Sequence[str], expected: Mapping[str, int] | None) -> list[Count]:
    found = Counter(value for value in values if value)
    names = sorted({*found, *(expected or ())})
    return [
        Count(part, column, name, found[name], None if expected is None else expected.get(name, 0)) for name in names
    ]


def _subset_counts(clips: Clips, percent: int, lists: Path | None) -> tuple[list[Count], list[Problem]]:
    """Counts of an official list, and its files that are not in training; nothing where there is no such list."""
    try:
        path = official_list(percent, clips.root, lists)
    except DataError:
        return [], []
    names, train = set(list_files(path)), clips.split("train")
    rows = [i for i, file in enumerate(train.files) if file in names]
    problems = []
    if stray := sorted(names.difference(train.files)):
        problems.append(Problem(path.name, f"names {len(stray)} files that are not in training, first {stray[0]}"))
    expected, part = SUBSETS[percent].devices, f"split{percent}"
    total = Count(part, "", "", len(rows), sum(expected.values()))
    return [total, *_column(part, "device", [train.devices[i] for i in rows], expected)], problems


def _list_problems(clips: Clips) -> list[Problem]:
    """Listed files that the table does not have; recording locations on both sides."""
    problems, known = [], set(clips.files)
    for name in (TRAIN_LIST, TEST_LIST):
        if stray := [file for file in list_files(clips.root / name) if file not in known]:
            problems.append(Problem(name, f"names {len(stray)} files that meta.csv does not have, first {stray[0]}"))
    if shared := sorted(set(clips.split("train").locations) & set(clips.split("test").locations) - {""}):
        what = f"training and test share {len(shared)} recording locations, first {shared[0]}"
        problems.append(Problem("evaluation_setup", what))
    return problems


def _segment_problems(clips: Clips, tau: TauSet) -> list[Problem]:
    if not tau.split_in_seconds:
        return []
    problems = []
    for rows in segments(clips):
        if len(rows) != 10:
            problems.append(Problem(clips.files[rows[0]], f"its segment has {len(rows)} of 10 seconds"))
        elif len({clips.splits[i] for i in rows}) > 1:
            problems.append(Problem(clips.files[rows[0]], "the seconds of its segment are in several parts"))
    return problems


def _format_problems(present: Clips, tau: TauSet) -> list[Problem]:
    """What is unlike the published format in the first readable file of each device."""
    first = {device: file for file, device in reversed(list(zip(present.files, present.devices, strict=True)))}
    wanted = (tau.rate_hz, tau.channels, "PCM_24", tau.seconds * tau.rate_hz)
    problems = []
    for file in first.values():
        try:
            info = soundfile.info(present.root / file)
        except soundfile.SoundFileError:
            continue  # listed as unreadable
        if (found := (info.samplerate, info.channels, info.subtype, info.frames)) != wanted:
            said, should = (f"{hz} Hz, {channels} ch, {kind}, {n} frames" for hz, channels, kind, n in (found, wanted))
            problems.append(Problem(file, f"is {said}; published are {should}"))
    return problems


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    more = [f"  ... and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else []
    return [f"{title}: {len(lines)}", *(f"  {line}" for line in lines[:MAX_LISTED]), *more]
