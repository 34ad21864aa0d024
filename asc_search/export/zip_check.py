"""Re-open a written submission and check what is really in it; nothing is extracted to disk."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

from asc_search.errors import Problem
from asc_search.export import rules
from asc_search.export.csv_check import csv_problems
from asc_search.export.meta_yaml import load
from asc_search.export.profile import PROFILES, Profile
from asc_search.export.zip_read import MAX_YAML_BYTES, MAX_ZIP_BYTES, UNREADABLE, beginning, read

MAX_ENTRIES = 100
ENCRYPTED = 0x1


def check_zip(path: Path, profile: Profile, practice: bool = False) -> list[Problem]:
    """Everything that the rules of ``profile`` forbid in the zip at ``path``; empty when it may be handed in.

    A zip holds one system or several, one folder each; ``practice`` as in
    :class:`asc_search.export.submission.Submission`.
    """
    try:
        if path.stat().st_size > MAX_ZIP_BYTES:
            return [Problem(str(path), f"is larger than {MAX_ZIP_BYTES:,} bytes; no submission is")]
        archive = ZipFile(path)
    except UNREADABLE as error:
        return [Problem(str(path), f"cannot be read as a zip: {error}")]
    with archive:
        return _archive_problems(archive, path, profile, practice)


def profile_of(path: Path) -> Profile | None:
    """The year a zip was packed for, by its file names and the keys of its meta.yaml; None where that cannot be told.

    2024 and 2025 differ in the names of the output files, 2022 and 2023 in the energy.
    """
    try:
        if path.stat().st_size > MAX_ZIP_BYTES:
            return None
        with ZipFile(path) as archive:
            names = archive.namelist()[:MAX_ENTRIES]
            if any(".output.split_" in name for name in names):
                return PROFILES["dcase2024"]
            for name in names:
                if not name.endswith(".meta.yaml") or _unsafe(archive.getinfo(name)):
                    continue
                content = load(read(archive, name, MAX_YAML_BYTES))
                system = content.get("system") if isinstance(content, Mapping) else None
                if isinstance(system, Mapping):
                    description = system.get("description")
                    told = set(description) if isinstance(description, Mapping) else set()
                    if "energy_consumption" in system:
                        return PROFILES["dcase2023"]
                    if told & {"embeddings", "decision_making", "ensemble_method_subsystem_count"}:
                        return PROFILES["dcase2022"]
                    if told & {"split_adaptations", "system_adaptations"}:
                        return PROFILES["dcase2025"]
    except UNREADABLE:
        return None
    return None


def labels_in(archive: ZipFile, profile: Profile) -> list[str]:
    """The folders of systems in a zip, in its order."""
    names = archive.namelist()
    folders = [name.split("/")[1] for name in names if name.startswith(f"{profile.task}/") and name.count("/") == 2]
    return list(dict.fromkeys(folders))


def _archive_problems(archive: ZipFile, path: Path, profile: Profile, practice: bool) -> list[Problem]:
    names = archive.namelist()
    if len(names) > MAX_ENTRIES:
        return [Problem(str(path), f"has {len(names):,} entries; a submission has at most {MAX_ENTRIES}")]
    problems = []
    unsafe = {info.filename: what for info in archive.infolist() if (what := _unsafe(info))}
    problems += [Problem(rules.shown(name), what) for name, what in unsafe.items()]
    labels = labels_in(archive, profile)
    if not labels:
        return [*problems, Problem(str(path), f"has no folder {profile.task}/<label>/")]
    if len(labels) > profile.max_index:
        what = f"has {len(labels)} systems, {profile.name} allows {profile.max_index} to a team"
        problems.append(Problem(str(path), what))
    if len(teams := dict.fromkeys(label.rpartition("_")[0] for label in labels)) > 1:
        problems.append(Problem(str(path), f"holds systems of several teams: {', '.join(map(rules.shown, teams))}"))
    allowed: set[str] = set()
    for label in labels:
        allowed.update(profile.report_entries(label))
        where = f"{profile.task}/{label}"
        problems += rules.label_problems(where, label, profile)
        outputs = {split: profile.output_entry(label, split) for split in profile.splits}
        meta = profile.meta_entry(label)
        required = [*outputs.values(), meta]
        allowed.update(required)
        problems += [Problem(name, "is missing") for name in required if name not in names]
        counts = {}
        for name in outputs.values():
            if name in names and name not in unsafe:
                found, counts[name] = csv_problems(archive, name, profile, practice)
                problems += found
        if len(set(counts.values()) - {None}) > 1:
            listed = ", ".join(f"{count:,}" for count in dict.fromkeys(counts.values()) if count is not None)
            problems.append(Problem(where, f"its output files have different numbers of clips: {listed}"))
        if meta in names and meta not in unsafe:
            problems += _meta_problems(archive, meta, label, profile, practice)
    for name, count in Counter(names).items():
        if name in unsafe:
            continue
        if name not in allowed:
            what = "does not belong in a submission; the official checker stops at it"
            if hint := _hint(name, profile):
                what += f"; {hint}"
            problems.append(Problem(rules.shown(name), what))
        elif count > 1:
            problems.append(Problem(name, f"is in the zip {count} times"))
        elif name.endswith(".pdf") and name not in unsafe and not _is_pdf(archive, name):
            problems.append(Problem(name, "is not a PDF (it does not begin with %PDF)"))
    return problems


def _unsafe(info: ZipInfo) -> str:
    """Why an entry is not opened; empty where it may be."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file, not a plain one; it was not opened"
    if info.flag_bits & ENCRYPTED:
        return "is encrypted; it was not opened"
    parts = info.filename.replace("\\", "/").split("/")
    if ".." in parts or info.filename.startswith(("/", "\\")) or ":" in parts[0]:
        return "leads out of the folder a zip is unpacked into; it was not opened"
    return ""


def _hint(name: str, profile: Profile) -> str:
    """What a misplaced file probably should have been."""
    if name.startswith("__MACOSX/") or name.endswith(".DS_Store"):
        return "macOS adds it: pack with `zip -X`, without Finder"
    if name.endswith("/"):
        return "pack files only, without entries for folders"
    if f"/{profile.task}/" in f"/{name}" and not name.startswith(f"{profile.task}/"):
        return f"{profile.task}/ must be the first folder in the zip"
    if name.endswith(".csv") and ".output" in name:
        return "names of output files are " + profile.output_entry("LABEL", profile.splits[0]).split("/")[-1]
    return ""


def _is_pdf(archive: ZipFile, name: str) -> bool:
    return beginning(archive, name).startswith(b"%PDF")


def _meta_problems(archive: ZipFile, name: str, label: str, profile: Profile, practice: bool) -> list[Problem]:
    try:
        content = load(read(archive, name, MAX_YAML_BYTES))
    except UNREADABLE as error:
        return [Problem(name, f"cannot be read: {error}")]
    blocks, problems = _blocks(
        name,
        content,
        {
            "submission": ("label", "name", "abbreviation", "authors"),
            "system": profile.system_keys,
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
        name,
        system,
        {"description": profile.description_keys, "complexity": profile.complexity_keys}
        | ({"energy_consumption": profile.energy_keys} if profile.energy_keys else {}),
    )
    problems += found
    if not found:
        problems += rules.complexity_problems(f"{name} complexity", parts["complexity"], profile)
        for key, value in [*parts["description"].items(), ("source_code", system["source_code"])]:
            problems += rules.optional_text_problems(f"{name} {key}", value)
        if profile.energy_keys:
            energy = parts["energy_consumption"]
            problems += rules.energy_problems(f"{name} energy_consumption", energy, profile, practice)
        if profile.package and not practice and system["source_code"] is None:
            problems.append(Problem(f"{name} source_code", "is null, must be where the inference package is published"))
        problems += _dataset_problems(f"{name} external_datasets", system["external_datasets"])
    return problems + _results_problems(name, blocks["results"], profile, practice)


def _results_problems(name: str, results: Mapping[str, Any], profile: Profile, practice: bool) -> list[Problem]:
    if not profile.by_split:
        block = results["development_dataset"]
        return rules.results_problems(f"{name} development_dataset", block, profile, practice)
    splits, problems = _blocks(name, results, {"development_dataset": [f"split_{s}" for s in profile.splits]})
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
