"""The sections that hold constants: data, budget, objectives, teacher pool, search, retraining."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asc_search.data.source import KINDS
from asc_search.nets.blocks import Option
from asc_search.space.candidate import Groups
from asc_search.space.grammar import complaint, constants, entries, items
from asc_search.space.schema import (
    DATA,
    EPOCHS,
    FRONTEND,
    LIMITS,
    OBJECTIVES,
    PRESET,
    REFERENCE,
    RETRAIN,
    RUNGS,
    SEARCH,
    TEXT,
    Field,
    peer_options,
    teacher_options,
)
from asc_search.space.space import (
    Budget,
    Data,
    NetworkTeacher,
    Peer,
    Retrain,
    Search,
    Space,
    TaggerTeacher,
    Teacher,
)
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
    mistakes, path = Mistakes(space.file), "data.groups"
    root = parse(space.source_text, mistakes)
    node = root.value["data"].value["groups"]
    known = {member for _, members in space.data.groups for member in members}
    if missing := [name for name in classes if name not in known]:
        mistakes.add(node.line, path, f"no group has {', '.join(missing)}; every class is in exactly one")
    for name, members in space.data.groups:
        for member in members:
            if member not in classes:
                what = f"{member} is no class of the data{near(member, classes) or '; they are ' + ', '.join(classes)}"
                mistakes.add(node.value[name].line, join(path, name), what)
    mistakes.check()


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


def seconds(node: Node | None) -> float:
    """The length of the students' windows in the ``frontend`` section; what is wrong there is not reported here."""
    unheard = Mistakes("")
    return constants(entries(node, "", FRONTEND, unheard), "", {"seconds": FRONTEND["seconds"]}, unheard)["seconds"]


def pool(node: Node | None, folder: Path, student_s: float, mistakes: Mistakes) -> dict[str, Teacher]:
    """The teachers by name; ``node`` is a mapping of declarations, or a list of them with ``name``.

    ``student_s`` is the length of the students' windows.
    """
    declared = _declared(node, "distillation.pool", "teachers", mistakes)
    return {
        name: _teacher(name, teacher, place, folder, student_s, mistakes) for name, (teacher, place) in declared.items()
    }


def peers(node: Node | None, mistakes: Mistakes) -> dict[str, Peer]:
    """The networks that may learn beside a student by name, declared as :func:`pool`'s."""
    declared, options = _declared(node, "distillation.peer_pool", "peers", mistakes), peer_options()
    found = {}
    for name, (peer, path) in declared.items():
        given = entries(peer, path, options, mistakes, ("family",))
        found[name] = Peer(name, **_network(given, path, options, mistakes))
    return found


def _declared(node: Node | None, path: str, what: str, mistakes: Mistakes) -> dict[str, tuple[Node, str]]:
    """The declarations at ``path`` by name, each with its own path."""
    if node is None or node.value is None:
        return {}
    if isinstance(node.value, dict):
        declared = [(name, one, join(path, name)) for name, one in node.value.items()]
    elif isinstance(node.value, list):
        declared = _named(node.value, path, mistakes)
    else:
        mistakes.add(node.line, path, f"expected a mapping of {what}, got {shown(node.value)}")
        return {}
    found: dict[str, tuple[Node, str]] = {}
    for name, one, place in declared:
        if not _NAME.fullmatch(name):
            mistakes.add(one.line, place, f"a name among {what} is letters, digits, _ and -, at most 64")
        elif name in found:
            mistakes.add(one.line, place, f"{name!r} stands twice")
        found[name] = one, place
    return found


def _named(nodes: list[Node], path: str, mistakes: Mistakes) -> list[tuple[str, Node, str]]:
    declared = []
    for index, node in enumerate(nodes):
        place = join(path, index)
        name = node.value.get("name") if isinstance(node.value, dict) else None
        if name is None or not isinstance(name.value, str):
            mistakes.add(node.line, place, "expected a mapping with a name")
            continue
        rest = {key: value for key, value in node.value.items() if key != "name"}
        declared.append((name.value, Node(rest, node.line), place))
    return declared


def _teacher(name: str, node: Node, path: str, folder: Path, student_s: float, mistakes: Mistakes) -> Teacher | None:
    kinds = teacher_options()
    given = node.value if isinstance(node.value, dict) else {}
    kind = given.get("kind")
    if kind is None or not isinstance(kind.value, str) or kind.value not in kinds:
        what = complaint(Option("str", "", "kind", choices=tuple(kinds)), kind.value) if kind else None
        line = kind.line if kind else node.line
        mistakes.add(line, join(path, "kind"), what or f"is missing; it is one of {', '.join(kinds)}")
        return None
    options = kinds[kind.value]
    if kind.value == "tagger":
        given = entries(node, path, ["kind", *options], mistakes, ("weights",))
        values = constants(given, path, options, mistakes)
        written = values.pop("weights")
        return TaggerTeacher(name, folder / Path(written).expanduser(), written, **values)
    given = entries(node, path, ["kind", *options, "frontend"], mistakes, ("family",))
    values = _network(given, path, options, mistakes)
    place = join(path, "frontend")
    own = entries(given.get("frontend"), place, FRONTEND, mistakes)
    own_values = constants(own, place, {key: FRONTEND[key] for key in FRONTEND if key in own}, mistakes)
    if own_values.get("seconds", student_s) < student_s:
        what = f"{own_values['seconds']:g} s is shorter than the students' windows of {student_s:g} s, which it has to cover"
        mistakes.add(own["seconds"].line, join(place, "seconds"), what)
    return NetworkTeacher(name, **values, frontend=tuple(own_values.items()))


def _network(given: Mapping[str, Node], path: str, options: Mapping[str, Option], mistakes: Mistakes) -> dict[str, Any]:
    """The values of a declared network, the stride of its stem as a pair."""
    values = constants(given, path, options, mistakes)
    freq, time = values["stem_stride"].split("x")
    return {**values, "stem_stride": (int(freq), int(time))}
