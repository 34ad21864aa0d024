"""The rules of a submission, each on plain values, so that they hold for what will be written and for what was written.

They are stricter than the official checker: each refuses something it lets through.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from asc_search.errors import Problem
from asc_search.export.profile import Profile

LABEL_PART = re.compile(r"[A-Za-z0-9-]+")
CLIP_NAME = re.compile(r"(?:audio/)?(0|[1-9][0-9]{0,8})\.wav")
# Words that people write where the organisers ask for a YAML null.
NULL_WORDS = frozenset({"null", "!!null", "~", "n/a", "nan", "unknown", "todo"})
# Letters that Unicode does not decompose into an ASCII letter and a mark.
UNDECOMPOSED = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th"})
LARGEST = 2**63
ROW_SUM_TOLERANCE = 1e-3
PERCENT_TOLERANCE = 0.01


def label_problems(where: str, label: Any, profile: Profile) -> list[Problem]:
    """``<Lastname>_<Institute>_task1_<index>``: exactly four parts of ASCII letters, digits and hyphens."""
    form = f"<Lastname>_<Institute>_{profile.task}_<1-{profile.max_index}>, such as Yeo_NTU_{profile.task}_1"
    if not isinstance(label, str):
        return [Problem(where, f"{shown(label)} is not text; write {form}")]
    parts = label.split("_")
    if len(parts) != 4:
        hint = "; inside the last name or the institute write a hyphen, not an underscore" if len(parts) > 4 else ""
        return [Problem(where, f"{label!r} has {len(parts)} parts between underscores, not 4; write {form}{hint}")]
    problems = []
    for name, part in zip(("last name", "institute"), parts[:2], strict=True):
        if not LABEL_PART.fullmatch(part):
            what = f"the {name} {part!r} of {label!r} must consist of ASCII letters, digits and hyphens"
            problems.append(Problem(where, what))
    if parts[2] != profile.task:
        problems.append(
            Problem(where, f"the third part of {label!r} is {parts[2]!r}, must be exactly {profile.task!r}")
        )
    allowed = [str(index) for index in range(1, profile.max_index + 1)]
    if parts[3] not in allowed:
        problems.append(Problem(where, f"the index {parts[3]!r} of {label!r} must be one of {', '.join(allowed)}"))
    return problems


def folded(name: str) -> str:
    """A name as it appears in a label: ASCII, lower case, letters and digits only ('Núñez-Øst' -> 'nunezost')."""
    plain = unicodedata.normalize("NFKD", name.casefold().translate(UNDECOMPOSED))
    return "".join(letter for letter in plain if letter.isascii() and letter.isalnum())


def author_problems(where: str, label: Any, authors: Sequence[tuple[Any, bool]]) -> list[Problem]:
    """Exactly one author (last name, corresponding) corresponds, and that last name opens the label."""
    corresponding = [lastname for lastname, chosen in authors if chosen]
    if len(corresponding) != 1:
        return [Problem(where, f"{len(corresponding)} of {len(authors)} are corresponding, must be exactly one")]
    lastname = corresponding[0]
    if not isinstance(label, str) or not isinstance(lastname, str):
        return []
    in_label = label.split("_")[0]
    if folded(in_label) != folded(lastname) or not folded(lastname):
        what = (
            f"the corresponding author is {lastname!r}, the label begins with {in_label!r}; they must be the same name"
        )
        return [Problem(where, what)]
    return []


def abbreviation_problems(where: str, abbreviation: Any, profile: Profile) -> list[Problem]:
    """Text of at most ``max_abbreviation`` characters."""
    problems = text_problems(where, abbreviation)
    if not problems and len(abbreviation) > profile.max_abbreviation:
        what = f"{abbreviation!r} has {len(abbreviation)} characters, at most {profile.max_abbreviation} are allowed"
        problems = [Problem(where, what)]
    return problems


def text_problems(where: str, value: Any) -> list[Problem]:
    """One line of printable text."""
    if not isinstance(value, str):
        return [Problem(where, f"{shown(value)} is not text")]
    if not value.strip():
        return [Problem(where, "is blank")]
    if not value.isprintable():
        return [Problem(where, f"{shown(value)} holds unprintable characters; write one line of text")]
    return []


def optional_text_problems(where: str, value: Any) -> list[Problem]:
    """Text, a whole number, or null where unknown: null itself, not a word for it."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return []
    if isinstance(value, str) and (not value.strip() or value.strip().lower() in NULL_WORDS):
        return [Problem(where, f"{value!r} says nothing; where unknown or not applicable leave it null (None)")]
    return text_problems(where, value)


def minutes_problems(where: str, value: Any) -> list[Problem]:
    """A length of audio in minutes, or null where unknown."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LARGEST):
        return []
    return [Problem(where, f"{shown(value)} must be a length in minutes, or null (None) where unknown")]


def complexity_problems(where: str, stated: Mapping[str, Any], profile: Profile) -> list[Problem]:
    """``stated`` under the keys of the profile: whole numbers, sizes in bytes, within its limits."""
    problems = []
    for key in profile.complexity_keys:
        value = stated.get(key)
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or not 0 < value < LARGEST:
            problems.append(Problem(where, f"{key} {shown(value)} is not a whole number above 0"))
    if problems:
        return problems
    params, macs = stated["total_parameters"], stated["macs"]
    for key in (key for key in ("total_model_size", "memory_use") if key in profile.complexity_keys):
        size = stated[key]
        if size > profile.max_weight_bytes:
            problems.append(Problem(where, f"{over_limit(size, profile.max_weight_bytes, 'bytes')} ({key})"))
        if size < params:
            what = f"{key}: {size:,} bytes for {params:,} parameters is less than a byte each; is it in kB? Write bytes"
            problems.append(Problem(where, what))
    if profile.max_params is not None and params > profile.max_params:
        problems.append(Problem(where, over_limit(params, profile.max_params, "parameters")))
    if profile.weight_type == "int8" and stated["memory_use"] != params:
        what = f"memory_use {stated['memory_use']:,} bytes is not {params:,}: {profile.name} counts every parameter as int8"
        problems.append(Problem(where, what))
    if stated.get("total_parameters_non_zero", 0) > params:
        what = f"total_parameters_non_zero {stated['total_parameters_non_zero']:,} is above total_parameters {params:,}"
        problems.append(Problem(where, what))
    if macs > profile.max_macs:
        problems.append(Problem(where, over_limit(macs, profile.max_macs, "MACs")))
    return problems


def energy_problems(where: str, energy: Any, profile: Profile, practice: bool) -> list[Problem]:
    """kWh under the energy keys of the profile; null only in ``practice``."""
    if not isinstance(energy, Mapping):
        return [Problem(where, f"{shown(energy)} must be a mapping with {', '.join(profile.energy_keys)}")]
    problems = []
    for key in profile.energy_keys:
        value = energy.get(key)
        if value is None and practice:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < LARGEST:
            what = f"{key} is {shown(value)}, must be kWh as CodeCarbon measures them; {profile.name} asks for it"
            problems.append(Problem(where, what))
    return problems


def over_limit(value: int, limit: int, unit: str) -> str:
    """By how much a limit is exceeded: ``130,044 bytes: 2,044 over the limit of 128,000``."""
    return f"{value:,} {unit}: {value - limit:,} over the limit of {limit:,}"


def clip_problems(where: str, names: Sequence[str], expected: int) -> list[Problem]:
    """Each of 0.wav to N-1.wav exactly once, N = ``expected``; the folder ``audio/`` before the name is ignored."""
    problems = []
    matches = [CLIP_NAME.fullmatch(name) for name in names]
    misnamed = [name for name, match in zip(names, matches, strict=True) if match is None]
    if misnamed:
        what = f"{len(misnamed):,} files are not named <integer>.wav, first {shown(misnamed[0])}"
        problems.append(Problem(where, what))
    counts = Counter(int(match[1]) for match in matches if match is not None)
    repeated = sorted(index for index, count in counts.items() if count > 1)
    if repeated:
        problems.append(Problem(where, f"{len(repeated):,} clips appear more than once, first {repeated[0]}.wav"))
    beyond = sorted(index for index in counts if index >= expected)
    if beyond:
        what = f"{len(beyond):,} clips lie outside 0.wav to {expected - 1}.wav, first {beyond[0]}.wav"
        problems.append(Problem(where, what))
    missing = [index for index in range(expected) if index not in counts]
    if missing:
        problems.append(Problem(where, f"{len(missing):,} of {expected:,} clips are missing, first {missing[0]}.wav"))
    return problems


def probability_problems(
    where: str, files: Sequence[str], probabilities: np.ndarray, lines: Sequence[int] | None = None
) -> list[Problem]:
    """Rows (clips, classes) are finite, in [0, 1] and sum to 1; ``lines`` are theirs in a file."""
    finite = np.isfinite(probabilities).all(axis=1)
    inside = ((probabilities >= 0) & (probabilities <= 1)).all(axis=1)
    sums = probabilities.sum(axis=1, dtype=np.float64)
    checks = (
        (~finite, "hold values that are not finite"),
        (finite & ~inside, "hold values outside 0 to 1 (write probabilities, not logits)"),
        (finite & inside & ~(np.abs(sums - 1) <= ROW_SUM_TOLERANCE), f"do not sum to 1 within {ROW_SUM_TOLERANCE:g}"),
    )
    problems = []
    for bad, what in checks:
        if bad.any():
            first = int(bad.argmax())
            example = f"first {shown(files[first])}, which sums to {sums[first]:.6g}"
            place = where if lines is None else f"{where}:{lines[first]}"
            problems.append(Problem(place, f"{int(bad.sum()):,} of {len(bad):,} rows {what}; {example}"))
    return problems


def name_set_problems(where: str, what: str, given: Sequence[str], expected: Sequence[str]) -> list[Problem]:
    """``given`` holds each of ``expected`` once and nothing else; says which are missing, unknown and repeated."""
    counts = Counter(given)
    faults = {
        "missing": [name for name in expected if name not in counts],
        "not allowed": [name for name in counts if name not in set(expected)],
        "repeated": [name for name, count in counts.items() if count > 1],
    }
    listed = [f"{fault}: {', '.join(shown(name) for name in names)}" for fault, names in faults.items() if names]
    return [Problem(where, f"{what} must be the {len(expected)} of the profile; {'; '.join(listed)}")] if listed else []


def results_problems(where: str, block: Any, profile: Profile, practice: bool) -> list[Problem]:
    """The results of one split as in meta.yaml: complete, percent, overall accuracy the mean of the classes.

    Devices may be null; classes and the overall score only in ``practice``.
    """
    if not isinstance(block, Mapping):
        return [Problem(where, f"{shown(block)} must hold overall, class_wise and device_wise")]
    problems = name_set_problems(where, "keys", list(block), ("overall", "class_wise", "device_wise"))
    problems += _score_problems(f"{where}.overall", block.get("overall"), null_allowed=practice)
    for group, names in (("class_wise", profile.classes), ("device_wise", profile.devices)):
        scores = block.get(group)
        if not isinstance(scores, Mapping):
            problems.append(
                Problem(f"{where}.{group}", f"{shown(scores)} must hold one entry for each of {len(names)}")
            )
            continue
        problems += name_set_problems(f"{where}.{group}", "keys", list(scores), names)
        for name in names:
            if name in scores:
                null_allowed = practice or group == "device_wise"
                problems += _score_problems(f"{where}.{group}.{name}", scores[name], null_allowed)
    if problems:
        return problems
    overall = block["overall"]["accuracy"]
    recalls = [score["accuracy"] for score in block["class_wise"].values() if score["accuracy"] is not None]
    if overall is not None and recalls and abs(overall - np.mean(recalls)) > PERCENT_TOLERANCE:
        what = f"accuracy {overall:g} is not the mean over classes, {np.mean(recalls):.2f}"
        problems.append(Problem(f"{where}.overall", what))
    if overall is not None and 0 < overall <= 1:
        problems.append(Problem(f"{where}.overall", f"accuracy {overall:g} looks like a fraction; write percent"))
    return problems


def _score_problems(where: str, score: Any, null_allowed: bool) -> list[Problem]:
    if not isinstance(score, Mapping) or set(score) != {"logloss", "accuracy"}:
        return [Problem(where, f"{shown(score)} must hold exactly logloss and accuracy")]
    problems = []
    for name, highest in (("logloss", LARGEST), ("accuracy", 100)):
        value = score[name]
        if value is None and null_allowed:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            problems.append(Problem(where, f"{name} is {shown(value)}, must be a number"))
        elif not 0 <= value <= highest:
            unit = "percent from 0 to 100" if name == "accuracy" else "finite and not negative"
            problems.append(Problem(where, f"{name} {shown(value)} must be {unit}"))
    return problems


def shown(value: Any) -> str:
    """A value in a message: scalars as Python writes them, cut to 80 characters; containers by their kind only."""
    if isinstance(value, int) and abs(value) >= LARGEST:
        return "a huge number"
    if value is None or isinstance(value, str | bool | int | float | np.number):
        text = "null" if value is None else repr(value)
        return text if len(text) <= 80 else f"{text[:77]}..."
    return f"a {type(value).__name__}"
