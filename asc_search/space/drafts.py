"""Drafts: what a section of the file declares, each entry at its default where nothing is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asc_search.nets.blocks import Option
from asc_search.space.conditions import Draft
from asc_search.space.domains import Choice, Constant, Domain
from asc_search.space.grammar import domain, entries
from asc_search.space.schema import Field
from asc_search.space.tree import Mistakes, Node, join


def draft(name: str, node: Node | None, field: Field, line: int, mistakes: Mistakes) -> Draft:
    """A parameter as declared by ``node``, or at its default without one."""
    default = None if field.absent else field.option.default
    if node is None:
        # What has to be given and is not was reported already.
        return Draft(name, None if field.required else Constant(default), field, default, line)
    found, when = domain(node, name, field, mistakes)
    return Draft(name, found, field, default, node.line, when)


def section(
    path: str, node: Node | None, fields: Mapping[str, Field], mistakes: Mistakes, others: Sequence[str] = ()
) -> list[Draft]:
    """The parameters of a section; ``others`` are its keys that are read elsewhere."""
    required = [key for key, field in fields.items() if field.required]
    given = entries(node, path, [*fields, *others], mistakes, required)
    line = node.line if node else 1
    return [draft(join(path, key), given.get(key), field, line, mistakes) for key, field in fields.items()]


def as_fields(options: Mapping[str, Option]) -> dict[str, Field]:
    return {key: Field(option) for key, option in options.items()}


def values_of(found: Domain | None, otherwise: Sequence[str]) -> Sequence:
    """The values a text parameter can have."""
    if isinstance(found, Constant):
        return (found.value,)
    return found.values if isinstance(found, Choice) else otherwise


def ends_of(entry: Draft) -> tuple[float, float]:
    """Lowest and highest value a number can have, its default included where it may not exist."""
    values = [*entry.domain.corners, *([entry.default] if entry.when else [])]
    return min(values), max(values)
