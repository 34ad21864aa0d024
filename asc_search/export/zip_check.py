"""Re-open a written submission and check what is really in it; nothing is extracted to disk."""

from __future__ import annotations

import csv
import io
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from asc_search.errors import Problem
from asc_search.export import rules
from asc_search.export.meta_yaml import load
from asc_search.export.profile import Profile

MAX_ENTRIES = 100
MAX_CSV_BYTES = 128 * 2**20  # the real files are about 20 MB
MAX_YAML_BYTES = 256 * 2**10
UNREADABLE = (BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError, zlib.error)


def check_zip(path: Path, profile: Profile, practice: bool = False) -> list[Problem]:
    """Everything that the rules of ``profile`` forbid in the zip at ``path``; empty when it may be handed in.

    A zip holds one system or several, one folder each; ``practice`` as in
    :class:`asc_search.export.submission.Submission`.
    """
    try:
        archive = ZipFile(path)
    except UNREADABLE as error:
        return [Problem(str(path), f"cannot be read as a zip: {error}")]
    with archive:
        return _archive_problems(archive, path, profile, practice)


def _archive_problems(archive: ZipFile, path: Path, profile: Profile, practice: bool) -> list[Problem]:
    names = archive.namelist()
    if len(names) > MAX_ENTRIES:
        return [Problem(str(path), f"has {len(names):,} entries; a submission has at most {MAX_ENTRIES}")]
    folders = [name.split("/")[1] for name in names if name.startswith(f"{profile.task}/") and name.count("/") == 2]
    labels = list(dict.fromkeys(folders))
    if not labels:
        return [Problem(str(path), f"has no folder {profile.task}/<label>/")]
    problems = []
    allowed = {profile.report_entry(label) for label in labels}
    for label in labels:
        where = f"{profile.task}/{label}"
        problems += rules.label_problems(where, label, profile)
        outputs = {split: profile.output_entry(label, split) for split in profile.splits}
        meta = profile.meta_entry(label)
        required = [*outputs.values(), meta]
        allowed.update(required)
        problems += [Problem(name, "is missing") for name in required if name not in names]
        counts = {}
        for name in outputs.values():
            if name in names:
                found, counts[name] = _csv_problems(archive, name, profile, practice)
                problems += found
        if len(set(counts.values()) - {None}) > 1:
            listed = ", ".join(f"{count:,}" for count in dict.fromkeys(counts.values()) if count is not None)
            problems.append(Problem(where, f"its output files have different numbers of clips: {listed}"))
        if meta in names:
            problems += _meta_problems(archive, meta, label, profile, practice)
    for name, count in Counter(names).items():
        if name not in allowed:
            problems.append(
                Problem(rules.shown(name), "does not belong in a submission; the official checker stops at it")
            )
        elif count > 1:
            problems.append(Problem(name, f"is in the zip {count} times"))
    return problems


def _read(archive: ZipFile, name: str, limit: int) -> bytes:
    """Content of an entry of at most ``limit`` bytes, whatever size its header states.

    Raises:
        ValueError: it is larger.
    """
    with archive.open(name) as handle:
        data = handle.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"is larger than {limit:,} bytes")
    return data


def _csv_problems(archive: ZipFile, name: str, profile: Profile, practice: bool) -> tuple[list[Problem], int | None]:
    """Problems of one output file, and its number of clips (None where it cannot be read)."""
    try:
        text = _read(archive, name, MAX_CSV_BYTES).decode("utf-8")
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True))
    except (*UNREADABLE, csv.Error) as error:
        return [Problem(name, f"cannot be read: {error}")], None
    header = rows.pop(0) if rows else []
    problems = rules.name_set_problems(name, "columns (tab separated)", header, profile.columns())
    if problems:
        return problems, None
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            what = f"has {len(row)} columns, the header has {len(header)}"
            return [Problem(f"{name}:{number}", what)], None
    if not rows:
        return [Problem(name, "has no clips")], 0
    column = {title: index for index, title in enumerate(header)}
    files = [row[column["filename"]] for row in rows]
    problems = rules.clip_problems(name, files, len(rows) if practice else profile.evaluation_clips)
    order = [column[title] for title in profile.classes]
    try:
        probabilities = np.asarray([[float(row[index]) for index in order] for row in rows])
    except ValueError as error:
        return [*problems, Problem(name, f"holds a probability that is not a number: {error}")], len(rows)
    problems += rules.probability_problems(name, files, probabilities)
    return problems + _scene_problems(name, [row[column["scene_label"]] for row in rows], probabilities, profile), len(
        rows
    )


def _scene_problems(name: str, scenes: list[str], probabilities: np.ndarray, profile: Profile) -> list[Problem]:
    index = {scene: number for number, scene in enumerate(profile.classes)}
    unknown = [scene for scene in scenes if scene not in index]
    if unknown:
        what = f"{len(unknown):,} rows have a scene_label that is no class, first {rules.shown(unknown[0])}"
        return [Problem(name, what)]
    chosen = probabilities[np.arange(len(scenes)), [index[scene] for scene in scenes]]
    wrong = chosen < probabilities.max(axis=1)
    if wrong.any():
        where = f"{name}:{int(wrong.argmax()) + 2}"
        return [
            Problem(where, f"the first of {int(wrong.sum()):,} rows whose scene_label is not the most probable class")
        ]
    return []


def _meta_problems(archive: ZipFile, name: str, label: str, profile: Profile, practice: bool) -> list[Problem]:
    try:
        content = load(_read(archive, name, MAX_YAML_BYTES))
    except UNREADABLE as error:
        return [Problem(name, f"cannot be read: {error}")]
    blocks, problems = _blocks(
        name,
        content,
        {
            "submission": ("label", "name", "abbreviation", "authors"),
            "system": ("description", "complexity", "external_datasets", "source_code"),
            "results": ("development_dataset",),
        },
    )
    if problems:
        return problems
    submission, system = blocks["submission"], blocks["system"]
    if submission["label"] != label:
        problems.append(Problem(name, f"label is {rules.shown(submission['label'])}, the folder is {label!r}"))
    problems += rules.text_problems(f"{name} name", submission["name"])
    problems += rules.abbreviation_problems(f"{name} abbreviation", submission["abbreviation"], profile)
    authors = submission["authors"]
    if isinstance(authors, list) and all(isinstance(author, Mapping) for author in authors):
        named = [(author.get("lastname"), author.get("corresponding") is True) for author in authors]
        problems += rules.author_problems(f"{name} authors", label, named)
        for number, author in enumerate(authors, start=1):
            problems += _author_problems(f"{name} authors[{number}]", author)
    else:
        problems.append(Problem(name, "authors must be a list"))
    parts, found = _blocks(
        name, system, {"description": profile.description_keys, "complexity": profile.complexity_keys}
    )
    problems += found
    if not found:
        complexity = parts["complexity"]
        stated = [complexity.get(key) for key in ("total_model_size", "total_parameters", "macs")]
        problems += rules.complexity_problems(f"{name} complexity", *stated, profile)
        for key, value in [*parts["description"].items(), ("source_code", system["source_code"])]:
            problems += rules.optional_text_problems(f"{name} {key}", value)
        problems += _dataset_problems(f"{name} external_datasets", system["external_datasets"])
    splits, found = _blocks(name, blocks["results"], {"development_dataset": [f"split_{s}" for s in profile.splits]})
    problems += found
    for key, block in splits.get("development_dataset", {}).items():
        problems += rules.results_problems(f"{name} {key}", block, profile, practice)
    return problems


def _author_problems(where: str, author: Mapping[str, Any]) -> list[Problem]:
    affiliation = author.get("affiliation")
    if not isinstance(affiliation, Mapping):
        return [Problem(where, "has no affiliation")]
    texts = {key: author.get(key) for key in ("lastname", "firstname", "email")}
    texts |= {f"affiliation.{key}": affiliation.get(key) for key in ("abbreviation", "institute", "location")}
    return [problem for key, text in texts.items() for problem in rules.text_problems(f"{where}.{key}", text)]


def _dataset_problems(where: str, datasets: Any) -> list[Problem]:
    if datasets is None:
        return []
    if not isinstance(datasets, list) or not all(isinstance(data, Mapping) for data in datasets):
        return [Problem(where, "must be null or a list of name, url and total_audio_length")]
    problems = []
    for number, data in enumerate(datasets, start=1):
        for key in ("name", "url"):
            problems += rules.text_problems(f"{where}[{number}].{key}", data.get(key))
        problems += rules.minutes_problems(f"{where}[{number}].total_audio_length", data.get("total_audio_length"))
    return problems


def _blocks(where: str, content: Any, keys: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The named blocks of a mapping, each a mapping with exactly its keys; and what is missing or too much."""
    if not isinstance(content, Mapping):
        return {}, [Problem(where, f"must be a mapping with {', '.join(keys)}")]
    blocks, problems = {}, []
    for block, names in keys.items():
        value = content.get(block)
        if not isinstance(value, Mapping):
            problems.append(
                Problem(where, f"{block} is {rules.shown(value)}, must be a mapping with {', '.join(names)}")
            )
            continue
        found = rules.name_set_problems(f"{where} {block}", "keys", list(value), tuple(names))
        problems += found
        if not found:
            blocks[block] = value
    return blocks, problems
