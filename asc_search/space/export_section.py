"""The ``export`` section: what a submission says of itself, with the keys that its challenge year asks for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

from asc_search.errors import Problem, SpaceError
from asc_search.space.challenge_keys import DESCRIPTION_KEYS, ENERGY_KEYS
from asc_search.space.grammar import constant, constants, entries
from asc_search.space.schema import EXPORT, KWH, MINUTES, TEXT, Field
from asc_search.space.space import Export
from asc_search.space.tree import Mistakes, Node, join, near, parse, shown

AUTHOR = ("lastname", "firstname", "email", "corresponding", "affiliation")
AFFILIATION = ("abbreviation", "institute", "department", "location")
DATASET = ("name", "url", "total_audio_length")
T = TypeVar("T")


def export(node: Node | None, mistakes: Mistakes) -> Export | None:
    """The ``export`` section, None without one."""
    if node is None:
        return None
    given = entries(node, "export", [*EXPORT, "authors", "description", "energy", "external_datasets"], mistakes)
    values = constants(given, "export", EXPORT, mistakes)
    profile = str(values["profile"])
    return Export(
        **values,
        authors=_listed(given.get("authors"), "export.authors", _author, mistakes),
        description=_description(given.get("description"), profile, mistakes),
        energy=_energy(given.get("energy"), profile, mistakes),
        external_datasets=_listed(given.get("external_datasets"), "export.external_datasets", _dataset, mistakes),
    )


def _listed(
    node: Node | None, path: str, read: Callable[[Node, str, Mistakes], T], mistakes: Mistakes
) -> tuple[T, ...]:
    if node is None:
        return ()
    if not isinstance(node.value, list):
        mistakes.add(node.line, path, f"expected a list, got {shown(node.value)}")
        return ()
    return tuple(read(item, join(path, index), mistakes) for index, item in enumerate(node.value))


def _author(node: Node, path: str, mistakes: Mistakes) -> Any:
    """A name, or a mapping of texts; whether it is complete is known where it is used."""
    _only(node, path, AUTHOR, mistakes)
    if isinstance(node.value, dict) and "affiliation" in node.value:
        _only(node.value["affiliation"], join(path, "affiliation"), AFFILIATION, mistakes)
    return _plain(node, path, mistakes)


def _only(node: Node, path: str, known: Collection[str], mistakes: Mistakes) -> None:
    if isinstance(node.value, dict):
        entries(node, path, known, mistakes)


def _plain(node: Node, path: str, mistakes: Mistakes) -> Any:
    """Texts, yes or no, and mappings of them."""
    if isinstance(node.value, dict):
        return {key: _plain(value, join(path, key), mistakes) for key, value in node.value.items()}
    if not isinstance(node.value, (str, bool)):
        mistakes.add(node.line, path, f"expected text or a mapping of texts, got {shown(node.value)}; use quotes")
    return node.value


def _dataset(node: Node, path: str, mistakes: Mistakes) -> dict[str, Any]:
    if node.value is None:
        mistakes.add(node.line, path, f"expected a mapping with {', '.join(DATASET)}, got nothing")
        return {}
    given = entries(node, path, DATASET, mistakes, ("name", "url"))
    fields = {"name": Field(TEXT), "url": Field(TEXT), "total_audio_length": Field(MINUTES)}
    return {key: constant(value, join(path, key), fields[key], mistakes) for key, value in given.items()}


def _description(node: Node | None, profile: str, mistakes: Mistakes) -> dict[str, str | int | None]:
    """Texts, whole numbers, or null where a key does not apply."""
    path = "export.description"
    found: dict[str, str | int | None] = {}
    for key, value in _of_year(node, path, profile, DESCRIPTION_KEYS, mistakes).items():
        if isinstance(value.value, (bool, float, dict, list)):
            what = f"expected text, a whole number, or null where it does not apply, got {shown(value.value)}"
            mistakes.add(value.line, join(path, key), what)
        else:
            found[key] = value.value
    return found


def _energy(node: Node | None, profile: str, mistakes: Mistakes) -> dict[str, float]:
    path = "export.energy"
    given = _of_year(node, path, profile, ENERGY_KEYS, mistakes)
    return {key: constant(value, join(path, key), Field(KWH), mistakes) or 0.0 for key, value in given.items()}


def _of_year(
    node: Node | None, path: str, profile: str, keys: dict[str, tuple[str, ...]], mistakes: Mistakes
) -> dict[str, Node]:
    """The entries that ``profile`` has; a key of another year is said to be of that year."""
    if node is None:
        return {}
    known = keys.get(profile, ())
    if not known:
        mistakes.add(node.line, path, f"{profile} does not ask for it; of {', '.join(keys)} alone")
        return {}
    every = dict.fromkeys(key for names in keys.values() for key in names)
    given = entries(node, path, every, mistakes)
    for key, value in given.items():
        if key not in known:
            years = ", ".join(name for name, names in keys.items() if key in names)
            what = f"not a key of {profile}, but of {years}; known: {', '.join(known)}{near(key, known)}"
            mistakes.add(value.line, join(path, key), what)
    return {key: value for key, value in given.items() if key in known}


def read_export(path: Path) -> Export:
    """The ``export`` section in a file of its own: its keys, or a mapping with ``export`` alone.

    Raises:
        SpaceError: the file cannot be read, or has mistakes; all are listed, each with its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpaceError("The section cannot be read:", [Problem(str(path), str(error))]) from None
    mistakes = Mistakes(str(path))
    root = parse(text, mistakes)
    if root is not None and isinstance(root.value, dict) and set(root.value) == {"export"}:
        root = root.value["export"]
    section = export(root, mistakes)
    mistakes.check()
    return section or Export(**constants({}, "export", EXPORT, mistakes))
