"""A study of named rows: a space without anything to search, and what each row changes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from asc_search.errors import Problem, SpaceError
from asc_search.nets.blocks import Option
from asc_search.nets.systems import SYSTEMS
from asc_search.space.domains import Constant
from asc_search.space.grammar import constants, entries
from asc_search.space.load import SECTIONS, space_of
from asc_search.space.schema import TEXT, number
from asc_search.space.space import Space
from asc_search.space.tree import Mistakes, Node, join, near, parse, shown

VERSIONS = {"fp32": "float", "ptq": "quantised", "qat": "quantised and trained"}
COLUMNS = ("overall", "real", "seen", "unseen", "log_loss")  # accuracies in %, log loss in nats
_STUDY = ("rows", "directions", "source", "design")
_ROW = ("design", "start", "taught_by", "specialist", "ensemble", "reported")
# what of `data` may differ from row to row
_BY_ROW = ("data.groups", "data.responses", "data.response_devices", "data.subset")
_ANY = "network: {stem: cp, base: 16, stages: [{family: cp, depth: 1}]}"  # where a design says what the network is


@dataclass(frozen=True)
class Row:
    """One named training of a study, in the order in which it is done.

    ``space`` is that of the study with the row's changes, nothing of it searched; ``design``, if any, the network instead.
    ``start``, ``taught_by`` and ``ensemble`` name rows before it: the network whose weights it begins with, those that teach
    it besides its pool, and those whose clip scores are averaged in place of a training. ``specialist`` (1, 2, ...) is which
    of the pairs that ``start`` confuses most is half of every batch, 0 for none. ``reported`` are published figures by
    column.
    """

    name: str
    space: Space
    design: str = ""
    start: str = ""
    taught_by: tuple[str, ...] = ()
    specialist: int = 0
    ensemble: tuple[str, ...] = ()
    reported: Mapping[str, float] = field(default_factory=dict)

    @property
    def needs(self) -> tuple[str, ...]:
        """The rows it comes from."""
        return tuple(name for name in (self.start, *self.taught_by, *self.ensemble) if name)

    @property
    def versions(self) -> dict[str, str]:
        """Of an int8 network, under which names its versions (``study.int8``) are shown beside it."""
        int8 = self.space.constants.get("weight_type") == "int8" and not self.ensemble
        return {kind: f"{self.name}, {what}" for kind, what in VERSIONS.items()} if int8 else {}


@dataclass(frozen=True)
class Direction:
    """A claim: row ``better`` is better than row ``than`` in the column ``on``."""

    says: str
    better: str
    than: str
    on: str


@dataclass(frozen=True)
class Study:
    """Rows of a ``file`` and the directions they are to show; ``source`` says whose figures are reported."""

    file: str
    text: str
    source: str
    rows: tuple[Row, ...]
    directions: tuple[Direction, ...]

    def on(self, data: str) -> Study:
        """The study on the data source ``data``."""
        rows = [replace(row, space=replace(row.space, data=replace(row.space.data, source=data))) for row in self.rows]
        return replace(self, rows=tuple(rows))


def load_study(path: str | Path) -> Study:
    """The study in the YAML file ``path``: the sections of a space, ``rows``, and optionally ``directions``, ``source``
    (whose figures are ``reported``) and ``design`` (a published network for all rows).

    A row is a mapping of full paths of the space to their values (``training.response_p: 0.5``), or of whole sections, and
    of the fields of :class:`Row`.

    Raises:
        SpaceError: the file cannot be read, or has mistakes; all are listed with file, line and key.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise SpaceError(f"{path}: no study could be read", [Problem(str(path), why)]) from None
    return loads_study(text, str(path), file.parent)


def loads_study(text: str, file: str = "study.yaml", folder: Path | None = None) -> Study:
    """The study written in ``text``, as :func:`load_study`."""
    mistakes = Mistakes(file)
    root = parse(text, mistakes)
    if root is None:
        mistakes.check()
    top = {key: node for key, node in root.value.items() if key in _STUDY}
    base = Node({key: node for key, node in root.value.items() if key not in _STUDY}, root.line)
    values = constants(top, "", {"source": TEXT, "design": _design()}, mistakes)
    listed = top.get("rows")
    if listed is None or not isinstance(listed.value, dict) or not listed.value:
        mistakes.add(listed.line if listed else root.line, "rows", "expected a mapping of named rows")
        mistakes.check()
    rows: dict[str, Row] = {}
    for name, node in listed.value.items():
        rows[name] = _row(name, node, base, values["design"], rows, (text, file, folder or Path()), mistakes)
    directions = _directions(top.get("directions"), rows, mistakes)
    mistakes.check()
    return Study(file, text, values["source"], tuple(rows.values()), directions)


def _design() -> Option:
    return Option("str", "", "published design", choices=("", *SYSTEMS))


def _row(
    name: str, node: Node, base: Node, design: str, before: Mapping[str, Row], where: tuple, mistakes: Mistakes
) -> Row:
    path = join("rows", name)
    given = node.value if isinstance(node.value, dict) else {}
    if node.value is not None and not isinstance(node.value, dict):
        mistakes.add(node.line, path, f"expected a mapping of changes to the space, got {shown(node.value)}")
    root = base
    for key, value in given.items():
        if key in _ROW:
            continue
        if "." not in key and key not in SECTIONS:
            what = f"unknown key; a row has full paths such as training.lr, and {', '.join(_ROW)}{near(key, _ROW)}"
            mistakes.add(value.line, join(path, key), what)
        elif key.partition(".")[0] == "data" and key not in _BY_ROW:
            mistakes.add(value.line, join(path, key), "all rows share their data; change it in the section data")
        else:
            root = _changed(root, key.split("."), value)
    options = {"design": _design(), "start": TEXT, "specialist": number(0, 0, 10**4, "which confused pair")}
    values = constants({key: given[key] for key in options if key in given}, path, options, mistakes)
    values["design"] = values["design"] if "design" in given else design
    if values["design"] and "network" not in root.value:
        root = Node({**root.value, **parse(_ANY, mistakes).value}, root.line)
    space = space_of(root, *where, mistakes)
    for parameter in space.varying:
        if not isinstance(parameter.domain, Constant) and parameter.domain is not None:
            what = "is searched; a study trains named rows: give one value"
            mistakes.add(node.line, join(path, parameter.name), what)
    lists = {key: _names(given.get(key), join(path, key), mistakes) for key in ("taught_by", "ensemble")}
    line = {key: value.line for key, value in given.items()}
    for key, names in (("start", [values["start"]] if values["start"] else []), *lists.items()):
        for one in names:
            if one not in before:
                known = ", ".join(before) or "there is none"
                mistakes.add(line[key], join(path, key), f"{one!r} is no row before it ({known}){near(one, before)}")
            elif before[one].ensemble and key != "ensemble":
                mistakes.add(line[key], join(path, key), f"{one!r} is an ensemble, not a network")
    if values["specialist"] and not values["start"]:
        mistakes.add(
            line["specialist"], join(path, "specialist"), "needs the generalist that it comes from: start: ROW"
        )
    figures = {key: number(0.0, 0, 1e6, "reported figure") for key in COLUMNS}
    for one in (values["start"], *lists["taught_by"]):
        if one in before and before[one].space.data.percent > space.data.percent:
            what = f"{one!r} learns from {before[one].space.data.subset} of the training part, this row from less"
            mistakes.add(node.line, path, what)
    told = entries(given.get("reported"), join(path, "reported"), figures, mistakes)
    reported = constants(told, join(path, "reported"), {key: figures[key] for key in told}, mistakes)
    return Row(name, space, **values, **lists, reported={key: float(value) for key, value in reported.items()})


def _changed(node: Node, keys: list[str], value: Node) -> Node:
    """``node`` with ``value`` at the path ``keys``; what the path does not find there is made."""
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(node.value, list) and key.isdigit() and int(key) < len(node.value):
        index = int(key)
        items = [_changed(one, rest, value) if place == index else one for place, one in enumerate(node.value)]
        return Node(items, node.line)
    inside = node.value if isinstance(node.value, dict) else {}
    return Node({**inside, key: _changed(inside.get(key, Node({}, value.line)), rest, value)}, node.line)


def _names(node: Node | None, path: str, mistakes: Mistakes) -> tuple[str, ...]:
    if node is None:
        return ()
    if not isinstance(node.value, list) or not all(isinstance(one.value, str) for one in node.value):
        mistakes.add(node.line, path, f"expected a list of rows, got {shown(node.value)}")
        return ()
    return tuple(one.value for one in node.value)


def _directions(node: Node | None, rows: Mapping[str, Row], mistakes: Mistakes) -> tuple[Direction, ...]:
    if node is None:
        return ()
    if not isinstance(node.value, list):
        mistakes.add(node.line, "directions", f"expected a list, got {shown(node.value)}")
        return ()
    names = [one for row in rows.values() for one in (row.name, *row.versions.values())]
    row = Option("str", "", "row", choices=tuple(names))
    options = {"says": TEXT, "better": row, "than": row, "on": Option("str", "overall", "column", choices=COLUMNS)}
    found = []
    for index, one in enumerate(node.value):
        path = join("directions", index)
        given = entries(one, path, options, mistakes, ("says", "better", "than"))
        found.append(Direction(**constants(given, path, options, mistakes)))
    return tuple(found)
