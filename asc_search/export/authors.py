"""Who signs a submission: authors from a file, from the space, or a placeholder for a practice file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from asc_search.errors import ExportError, Problem
from asc_search.export.profile import Profile
from asc_search.export.submission import Affiliation, Author, parse_label
from asc_search.space.space import Space


def authors_of(space: Space, file: Path | None, label: str, practice: bool, profile: Profile) -> tuple[Author, ...]:
    """Authors from ``file``, else the space; a practice file under another name gets one placeholder author."""
    listed = space.export.authors if space.export else ()
    if file is not None:
        listed = _read(file)
    elif practice and (space.export is None or space.export.label != label):
        parsed = parse_label(label, profile)
        place = Affiliation(parsed.institute, f"Institute {parsed.institute}", "practice")
        return (Author(parsed.lastname, "Practice", "practice@example.org", place, corresponding=True),)
    return tuple(_author(entry, index) for index, entry in enumerate(listed, start=1))


def _read(file: Path) -> list[Any]:
    try:
        listed = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ExportError("The authors cannot be read:", [Problem(f"--authors {file}", str(error))]) from None
    if not isinstance(listed, list):
        raise ExportError(
            "The authors cannot be read:", [Problem(f"--authors {file}", "expected a YAML list of authors")]
        )
    return listed


def _author(entry: Any, index: int) -> Author:
    try:
        place = entry["affiliation"]
        affiliation = Affiliation(place["abbreviation"], place["institute"], place["location"], place.get("department"))
        corresponding = bool(entry.get("corresponding", False))
        return Author(entry["lastname"], entry["firstname"], entry["email"], affiliation, corresponding)
    except (KeyError, TypeError, AttributeError) as error:
        needed = "lastname, firstname, email, affiliation: {abbreviation, institute, location}"
        raise ExportError(
            "The authors cannot be used:", [Problem(f"authors[{index}]", f"{error} missing; an author has {needed}")]
        ) from None
