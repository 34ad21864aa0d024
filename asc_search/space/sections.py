"""The sections that hold constants: data, budget, objectives, teacher pool, search, retraining."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from asc_search.data.source import KINDS
from asc_search.nets.blocks import Option
from asc_search.space.candidate import Groups
from asc_search.space.grammar import constants, entries, items
from asc_search.space.schema import (
    DATA,
    EPOCHS,
    LIMITS,
    OBJECTIVES,
    PRESET,
    REFERENCE,
    RETRAIN,
    RUNGS,
    SEARCH,
    TEXT,
    Field,
)
from asc_search.space.space import Budget, Data, Retrain, Search, Space
from asc_search.space.tree import Mistakes, Node, join, near, parse, shown
from asc_search.space.weight_type import Int8

_LISTS = ("labels", "train_folds", "test_folds", "validation_devices", "response_devices")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def data(node: Node | None, mistakes: Mistakes) -> Data:
    """The ``data`` section; a text is short for its ``source``."""
    given = {"source": node} if node is not None and isinstance(node.value, str) else None
    if given is None:
        given = entries(node, "data", [*DATA, *_LISTS, "groups"], mistakes)
    values = constants(given, "data", DATA, mistakes)
    source = values["source"]
    kind, _, path = source.partition(":")
    if source != "demo" and not (kind in KINDS and path.strip()):
        place = "data" if node is given.get("source") else "data.source"
        known = ["demo", *(f"{kind}:PATH" for kind in KINDS)]
        what = f"{source!r} is no source; it is one of {', '.join(known)}{near(source, known)}"
        mistakes.add(given["source"].line, place, what)
    lists = {key: _texts(given[key], join("data", key), mistakes) for key in _LISTS if key in given}
    both = set(lists.get("train_folds", ())) & set(lists.get("test_folds", ()))
    if both:
        what = f"{', '.join(sorted(both))} is in train_folds too; a fold is for one of them"
        mistakes.add(given["test_folds"].line, "data.test_folds", what)
    return Data(**values, **lists, groups=_groups(given.get("groups"), mistakes))


def _groups(node: Node | None, mistakes: Mistakes) -> Groups:
    """Groups of classes; that every class is in one is known where the data are (``check_groups``)."""
    if node is None:
        return ()
    path = "data.groups"
    if not isinstance(node.value, dict) or len(node.value) < 2:
        what = "a mapping with one group" if isinstance(node.value, dict) else shown(node.value)
        mistakes.add(node.line, path, f"expected a mapping of two groups or more to their classes, got {what}")
        return ()
    groups, seen = [], {}
    for name, listed in node.value.items():
        members = _texts(listed, join(path, name), mistakes)
        for member in members:
            if member in seen:
                mistakes.add(
                    listed.line, join(path, name), f"{member} is in {seen[member]} too; a class is in one group"
                )
            seen.setdefault(member, name)
        groups.append((name, members))
    return tuple(groups)


def check_groups(space: Space, classes: Sequence[str]) -> None:
    """Check that every one of ``classes`` is in a group of the space, if it has any, and nothing else is.

    Raises:
        SpaceError: one is not, or a group holds what is no class; with file and line.
    """
    if not space.data.groups:
        return
    mistakes = Mistakes(space.file)
    path, node = _groups_in(parse(space.source_text, mistakes), space.data.groups)
    known = {member for _, members in space.data.groups for member in members}
    if missing := [name for name in classes if name not in known]:
        mistakes.add(node.line, path, f"no group has {', '.join(missing)}; every class is in exactly one")
    for name, members in space.data.groups:
        for member in members:
            if member not in classes:
                what = f"{member} is no class of the data{near(member, classes) or '; they are ' + ', '.join(classes)}"
                mistakes.add(node.value[name].line, join(path, name), what)
    mistakes.check()


def _groups_in(root: Node, groups: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[str, Node]:
    """Where ``groups`` are written: in the section ``data``, or in the row of a study that changes it."""
    places = {"data.groups": root.value.get("data", Node({}, 1)).value.get("groups")}
    rows = root.value["rows"].value if "rows" in root.value else {}
    for name, row in rows.items():
        places[join(join("rows", name), "data.groups")] = (row.value or {}).get("data.groups")
    for path, node in places.items():
        if node is not None and [*groups] == [
            (name, tuple(str(member.value) for member in listed.value)) for name, listed in node.value.items()
        ]:
            return path, node
    raise AssertionError("groups that are written nowhere")


def _texts(node: Node, path: str, mistakes: Mistakes) -> tuple[str, ...]:
    """A list of texts; whole numbers (folds are often numbered) count as their digits."""
    if not isinstance(node.value, list):
        mistakes.add(node.line, path, f"expected a list, got {shown(node.value)}")
        return ()
    whole = [isinstance(item.value, int) and not isinstance(item.value, bool) for item in node.value]
    named = [
        Node(str(item.value), item.line) if number else item for item, number in zip(node.value, whole, strict=True)
    ]
    return items(Node(named, node.line), path, Field(TEXT), mistakes, least=1) or ()


def limits(node: Node | None, mistakes: Mistakes) -> Budget:
    """The ``budget`` section."""
    return Budget(**constants(entries(node, "budget", LIMITS, mistakes), "budget", LIMITS, mistakes))


def objectives(node: Node | None, mistakes: Mistakes) -> tuple[str, ...]:
    """The ``objectives`` list: what the search trades off, accuracy always among it."""
    if node is None:
        return ("accuracy", "macs")
    field = Field(Option("str", "accuracy", "objective", choices=OBJECTIVES))
    values = items(node, "objectives", field, mistakes, least=1) or ()
    if values and "accuracy" not in values:
        mistakes.add(node.line, "objectives", "accuracy is missing; it is always an objective")
    return values


def search(node: Node | None, mistakes: Mistakes) -> Search:
    """The ``search`` section."""
    given = entries(node, "search", [*SEARCH, "rungs", "enqueue"], mistakes)
    values = constants(given, "search", SEARCH, mistakes)
    rungs = RUNGS
    if "rungs" in given:
        rungs = items(given["rungs"], "search.rungs", Field(EPOCHS), mistakes, least=1) or RUNGS
        if list(rungs) != sorted(rungs):
            what = f"{list(rungs)} do not increase; they are total epochs, such as [1, 3, 9]"
            mistakes.add(given["rungs"].line, "search.rungs", what)
    return Search(**values, rungs=rungs, enqueue=_designs(given, "search", "enqueue", PRESET.choices, mistakes, PRESET))


def retrain(node: Node | None, mistakes: Mistakes) -> Retrain:
    """The ``retrain`` section."""
    given = entries(node, "retrain", [*RETRAIN, "references"], mistakes)
    references = _designs(given, "retrain", "references", (), mistakes, REFERENCE)
    values = constants(given, "retrain", RETRAIN, mistakes)
    quantised = Int8(values.pop("int8_tolerance"), *(values.pop(f"qat_{key}") for key in ("epochs", "lr", "frozen")))
    return Retrain(**values, references=references, int8=quantised)


def _designs(
    given: Mapping[str, Node], path: str, key: str, default: tuple[str, ...], mistakes: Mistakes, known: Option
) -> tuple[str, ...]:
    return items(given[key], join(path, key), Field(known), mistakes) or () if key in given else default
