"""Is a submission acceptable? Everything wrong with it, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

import numpy as np

from asc_search.errors import Problem
from asc_search.export import rules
from asc_search.export.meta_yaml import results_block
from asc_search.export.profile import Profile
from asc_search.export.submission import Author, Complexity, SplitOutput, Submission
from asc_search.nets.cost import BYTES_PER_WEIGHT


def check(
    submission: Submission, profile: Profile, allowed_files: Mapping[str, frozenset[str]] | None = None
) -> list[Problem]:
    """Everything that the rules of ``profile`` forbid in ``submission``; empty when it may be written.

    ``allowed_files`` maps a split to the files a model of that split may be trained on, compared by file name without
    folders; splits without an entry are not compared.
    """
    problems = rules.label_problems("label", submission.label, profile)
    problems += rules.text_problems("name", submission.name)
    problems += rules.abbreviation_problems("abbreviation", submission.abbreviation, profile)
    problems += _author_problems(submission)
    problems += rules.name_set_problems("classes", "class labels", submission.classes, profile.classes)
    problems += _complexity_problems(submission, profile)
    problems += _description_problems(submission, profile)
    splits = [output.split for output in submission.outputs]
    if unknown := [key for key in submission.energy if key not in profile.energy_keys]:
        problems.append(Problem("energy", f"{', '.join(unknown)}: {profile.name} does not ask for it"))
    if profile.energy_keys:
        problems += rules.energy_problems("energy", submission.energy, profile, submission.practice)
    if profile.package and not submission.practice and submission.source_code is None:
        what = "is missing: give the address the inference package is published at (export.source_code)"
        problems.append(Problem("source_code", what))
    problems += rules.name_set_problems("outputs", "splits", splits, profile.splits)
    for output in submission.outputs:
        problems += _output_problems(output, submission, profile)
        problems += _development_problems(output, submission, profile)
        problems += _training_problems(output, (allowed_files or {}).get(output.split))
    return problems + _report_problems(submission)


def _author_problems(submission: Submission) -> list[Problem]:
    authors = [(author.lastname, author.corresponding) for author in submission.authors]
    problems = rules.author_problems("authors", submission.label, authors)
    for number, author in enumerate(submission.authors, start=1):
        problems += _one_author_problems(f"authors[{number}]", author)
    return problems


def _one_author_problems(where: str, author: Author) -> list[Problem]:
    affiliation = author.affiliation
    texts = {
        "lastname": author.lastname,
        "firstname": author.firstname,
        "email": author.email,
        "affiliation.abbreviation": affiliation.abbreviation,
        "affiliation.institute": affiliation.institute,
        "affiliation.location": affiliation.location,
    }
    if affiliation.department is not None:
        texts["affiliation.department"] = affiliation.department
    problems = [problem for key, text in texts.items() for problem in rules.text_problems(f"{where}.{key}", text)]
    if isinstance(author.email, str) and "@" not in author.email:
        problems.append(Problem(f"{where}.email", f"{author.email!r} is not an email address"))
    return problems


def _complexity_problems(submission: Submission, profile: Profile) -> list[Problem]:
    problems = []
    if not isinstance(submission.complexity, Complexity):
        problems += rules.name_set_problems("complexity", "splits", list(submission.complexity), profile.splits)
    for value in submission.complexities():
        problems += rules.complexity_problems("complexity", value.stated(profile.complexity_keys), profile)
        if profile.weight_type and value.weight_type != profile.weight_type:
            what = f"weights are {value.weight_type}, {profile.name} fixes {profile.weight_type}"
            problems.append(Problem("complexity", what))
        if value.weight_type not in BYTES_PER_WEIGHT:
            what = f"weight type {value.weight_type!r} is unknown; one of {', '.join(BYTES_PER_WEIGHT)}"
            problems.append(Problem("complexity", what))
    if len(submission.complexities()) > 1:
        listed = "; ".join(
            f"{value.params:,} parameters, {value.macs:,} MACs, {value.weight_bytes:,} bytes {value.weight_type}"
            for value in submission.complexities()
        )
        what = f"meta.yaml states one complexity for all splits, here they differ: {listed}"
        problems.append(Problem("complexity", what))
    return problems


def _description_problems(submission: Submission, profile: Profile) -> list[Problem]:
    problems = []
    for key, value in submission.description.items():
        where = f"description.{key}"
        if key not in profile.description_keys:
            allowed = ", ".join(profile.description_keys)
            problems.append(Problem(where, f"is not a key of {profile.name}; allowed: {allowed}"))
        else:
            problems += rules.optional_text_problems(where, value)
    for number, data in enumerate(submission.external_datasets, start=1):
        where = f"external_datasets[{number}]"
        problems += rules.text_problems(f"{where}.name", data.name) + rules.text_problems(f"{where}.url", data.url)
        problems += rules.minutes_problems(f"{where}.total_audio_length", data.total_audio_length)
    return problems + rules.optional_text_problems("source_code", submission.source_code)


def _output_problems(output: SplitOutput, submission: Submission, profile: Profile) -> list[Problem]:
    where = f"split {output.split}"
    probabilities = np.asarray(output.probabilities)
    expected = (len(output.files), len(submission.classes))
    if submission.practice:
        clips = len(output.files)
        if clips == 0:
            return [Problem(where, "has no clips")]
        if clips != len(submission.outputs[0].files):
            first = submission.outputs[0]
            what = f"has {clips:,} clips, split {first.split} has {len(first.files):,}; all answer the same clips"
            return [Problem(where, what)]
    else:
        clips = profile.evaluation_clips
    problems = rules.clip_problems(where, output.files, clips)
    if probabilities.shape != expected or probabilities.dtype.kind not in "fiu":
        found = f"{probabilities.dtype} {probabilities.shape}"
        return [*problems, Problem(where, f"probabilities are {found}, must be numbers (clips, classes) {expected}")]
    return problems + rules.probability_problems(where, output.files, probabilities)


def _development_problems(output: SplitOutput, submission: Submission, profile: Profile) -> list[Problem]:
    where = f"split {output.split} development"
    metrics = output.development
    if metrics is None:
        return (
            [] if submission.practice else [Problem(where, "not measured; evaluate the model on the development test")]
        )
    problems = rules.results_problems(where, results_block(metrics, profile), profile, submission.practice)
    known = {"class": profile.classes, "device": profile.devices}
    for kind, given in (("class", metrics.class_wise), ("device", metrics.device_wise)):
        extra = [name for name in given if name not in known[kind]]
        if extra and not submission.practice:
            listed = ", ".join(repr(name) for name in extra)
            problems.append(Problem(where, f"{kind} {listed} is not of the {profile.name} development test"))
    return problems


def _training_problems(output: SplitOutput, allowed: frozenset[str] | None) -> list[Problem]:
    where = f"split {output.split} training files"
    if allowed is None:
        return []
    if output.training_files is None:
        return [Problem(where, "not known, so they cannot be held against the list of the split; record them")]
    names = {PurePosixPath(name).name for name in allowed}
    outside = [name for name in output.training_files if PurePosixPath(name).name not in names]
    if not outside:
        return []
    what = f"{len(outside):,} of {len(output.training_files):,} are not on the list of the split, first {outside[0]!r}"
    return [Problem(where, what)]


def _report_problems(submission: Submission) -> list[Problem]:
    report = submission.technical_report
    if report is None:
        return []
    if report.suffix != ".pdf":
        return [Problem(str(report), "the technical report must be a .pdf")]
    if not report.is_file():
        return [Problem(str(report), "the technical report does not exist")]
    return []
