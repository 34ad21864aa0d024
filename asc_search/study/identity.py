"""What a study is about, kept with it: space, data, environment; and whether someone who joins means the same."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import optuna

from asc_search.errors import RunFolderError
from asc_search.space.space import Space

MOST_LINES = 20
ENVIRONMENT = ("asc_search", "python", "machine", "versions")


def note_identity(study: optuna.Study, space: Space, data: str | None, run: Mapping[str, Any] | None) -> None:
    """Keep with ``study`` the text of ``space``, the digest of its ``data`` and what ``run`` (run.json) says."""
    study.set_user_attr("space_text", space.source_text)
    if data is not None:
        study.set_user_attr("data", data)
    if run is not None:
        study.set_user_attr("run", dict(run))
        study.set_user_attr("environment", {key: run[key] for key in ENVIRONMENT if key in run})


def check_identity(study: optuna.Study, space: Space, data: str | None = None) -> None:
    """Compare with what ``study`` was created for.

    Raises:
        RunFolderError: another space or other data, with the difference.
    """
    known = study.user_attrs
    if known.get("space", space.digest()) != space.digest():
        lines = differences(known.get("space_text", ""), space.source_text)
        source = known.get("run", {}).get("source", space.data.source)
        if source != space.data.source:
            lines += [f"- data.source: {source}", f"+ data.source: {space.data.source}"]
        told = "\n".join(f"  {line}" for line in lines[:MOST_LINES])
        raise RunFolderError(
            f"--storage: it holds a study {study.study_name!r} of another space; give --out a folder of another name"
            + (f"\nThe study's space (-) and this one (+):\n{told}" if told else "")
        )
    if data is not None and known.get("data", data) != data:
        raise RunFolderError(
            f"study {study.study_name!r} is on other data: their digest is {known['data']}, here {data} "
            f"(source {space.data.source}); copy the run folder with its prepared data, or mend the source"
        )


def differences(before: str, after: str) -> list[str]:
    """Lines that differ between two YAML texts, comments and blank lines aside."""
    texts = [[kept for line in text.splitlines() if (kept := line.partition(" #")[0].rstrip()) and kept[0] != "#"]
             for text in (before, after)]  # fmt: skip
    return [line for line in difflib.unified_diff(*texts, lineterm="", n=0) if line[:2] not in ("--", "++", "@@")]
