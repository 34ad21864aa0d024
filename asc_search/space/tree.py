"""A YAML text as a tree of plain values that know their line; everything the text itself gets wrong is found here."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode
from ruamel.yaml.nodes import Node as YamlNode

from asc_search.errors import Problem, SpaceError
from asc_search.nets.spec import Scalar

_TAG = "tag:yaml.org,2002:"
_SCALARS = {_TAG + kind for kind in ("null", "bool", "int", "float", "str")}
_TEXT = {_TAG + "timestamp", _TAG + "value"}  # YAML 1.1 types that YAML 1.2 reads as text


@dataclass(frozen=True)
class Node:
    """A value of the file and its line (1-based; the key's where it has one)."""

    value: Scalar | dict[str, Node] | list[Node] | None
    line: int


@dataclass
class Mistakes:
    """Collects problems as ``file:line: path``, so that all are reported at once."""

    file: str
    found: list[tuple[int, Problem]] = field(default_factory=list)

    def add(self, line: int, path: str, what: str) -> None:
        """Note a problem; only the first at a place, as later ones follow from it."""
        where = f"{self.file}:{line}" + (f": {path}" if path else "")
        if all(problem.where != where for _, problem in self.found):
            self.found.append((line, Problem(where, what)))

    def check(self) -> None:
        """Raise what was found, in the order of lines.

        Raises:
            SpaceError: anything was found.
        """
        if self.found:
            problems = [problem for _, problem in sorted(self.found, key=lambda entry: entry[0])]
            count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
            raise SpaceError(f"{self.file}: {count} in the space", problems)


def near(word: str, known: Iterable[str]) -> str:
    """``; did you mean ...?`` when ``known`` has something like ``word``, else nothing."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def shown(value: object) -> str:
    """A value of the file as it is named in messages."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else repr(value)


def join(path: str, key: str | int) -> str:
    """``path.key``, or ``key`` at the top."""
    return f"{path}.{key}" if path else str(key)


def parse(text: str, mistakes: Mistakes) -> Node | None:
    """The tree of one YAML 1.2 document, or None (with the reason in ``mistakes``) where there is none.

    Only plain tags are read: nothing in the text can name a Python type. Anchors, aliases and merge keys work.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # YAML 1.2 lets an anchor be set anew
            root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        mistakes.add(mark.line + 1 if mark else 1, "", f"not YAML: {what}")
        return None
    except YAMLError as error:
        mistakes.add(1, "", f"not YAML: {str(error).splitlines()[0]}")
        return None
    except RecursionError:
        mistakes.add(1, "", "not a space: nested too deeply")
        return None
    if root is None:
        mistakes.add(1, "", "the file is empty; a space needs at least `network`")
        return None
    if not isinstance(root, MappingNode):
        mistakes.add(root.start_mark.line + 1, "", "a space is a mapping of sections (network: ..., training: ...)")
        return None
    return _Converter(yaml, mistakes).convert(root, root.start_mark.line + 1, "")


class _Converter:
    """Turns composed YAML nodes into ``Node``; an aliased container is converted once, a container in itself never."""

    def __init__(self, yaml: YAML, mistakes: Mistakes) -> None:
        self._constructor = yaml.constructor
        self._mistakes = mistakes
        self._done: dict[int, dict[str, Node] | list[Node]] = {}
        self._open: set[int] = set()

    def convert(self, node: YamlNode, line: int, path: str) -> Node:
        if isinstance(node, ScalarNode):
            return Node(self._scalar(node, line, path), line)
        identity = id(node)
        if identity in self._open:
            self._mistakes.add(line, path, "contains itself through an alias")
            return Node(None, line)
        if identity not in self._done:
            self._open.add(identity)
            self._done[identity] = self._container(node, line, path)
            self._open.remove(identity)
        return Node(self._done[identity], line)

    def _scalar(self, node: ScalarNode, line: int, path: str) -> Scalar | None:
        if node.tag in _TEXT:
            return node.value
        if node.tag not in _SCALARS:
            self._mistakes.add(line, path, f"the tag {_tag(node)} is not allowed; write a plain value")
            return None
        try:
            return self._constructor.construct_object(node)
        except (ValueError, KeyError, OverflowError):
            self._mistakes.add(line, path, f"{node.value[:40]!r} is not a valid {node.tag.removeprefix(_TAG)}")
            return None

    def _container(self, node: YamlNode, line: int, path: str) -> dict[str, Node] | list[Node]:
        if node.tag not in (_TAG + "map", _TAG + "seq"):
            self._mistakes.add(line, path, f"the tag {_tag(node)} is not allowed; write a plain value")
            return {} if isinstance(node, MappingNode) else []
        if not isinstance(node, MappingNode):
            return [
                self.convert(item, item.start_mark.line + 1, join(path, index)) for index, item in enumerate(node.value)
            ]
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _TAG + "merge":
                for key, value in self._merged(value_node, line, path).items():
                    merged.setdefault(key, value)
            elif not isinstance(key_node, ScalarNode) or key_node.tag != _TAG + "str":
                self._mistakes.add(line, path, "a key must be text; put it in quotes")
            elif key_node.value in own:
                first = own[key_node.value].line
                self._mistakes.add(line, join(path, key_node.value), f"is written twice, first on line {first}")
            else:
                own[key_node.value] = self.convert(value_node, line, join(path, key_node.value))
        return {**own, **{key: value for key, value in merged.items() if key not in own}}

    def _merged(self, node: YamlNode, line: int, path: str) -> dict[str, Node]:
        value = self.convert(node, line, join(path, "<<")).value
        if isinstance(value, dict):
            return value
        if isinstance(value, list) and all(isinstance(item.value, dict) for item in value):
            return {key: entry for item in reversed(value) for key, entry in item.value.items()}
        self._mistakes.add(line, join(path, "<<"), "merges mappings only")
        return {}


def _tag(node: YamlNode) -> str:
    return "!!" + node.tag.removeprefix(_TAG) if node.tag.startswith(_TAG) else node.tag
