"""What is not a space at all: files that cannot be read, texts that are not YAML, values of the wrong shape."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from asc_search.errors import SpaceError
from asc_search.space.load import load, loads

STUDENT = Path(__file__).resolve().parents[2] / "spaces" / "student.yaml"
NETWORK = "network:\n  stem: cp\n  base: 32\n  stages:\n    - {family: cp, depth: 1}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(SpaceError) as caught:
        loads(text, "s.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "where", "phrase"),
    [
        ("", "1", "the file is empty"),
        ("# only a comment\n", "1", "the file is empty"),
        ("- network\n", "1", "a space is a mapping of sections"),
        ("network:\n  stem: [cp\n  base: 3\n", "3", "not YAML"),
        ("network:\n\tstem: cp\n", "2", "not YAML"),
        ("network: *base\n", "1", "undefined alias"),
        ("network: 1\n---\nnetwork: 2\n", "2", "single document"),
        ("network: " + "[" * 1000, "1", "nested too deeply"),
        ("network: \x00\n", "1", "not YAML"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_not_a_document_is_one_message(text: str, where: str, phrase: str) -> None:
    (message,) = problems(text)
    assert message.startswith(f"s.yaml:{where}: ")
    assert phrase in message


def test_an_alias_to_itself_is_refused() -> None:
    assert any("contains itself" in problem for problem in problems(NETWORK + "data: &a {labels: *a}\n"))


def test_aliases_that_multiply_are_read_once() -> None:
    levels = "\n".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 60))
    found = problems(f"x0: &x0 [a]\n{levels}\n")
    assert len(found) == 61  # 60 unknown sections and no network, in no time


@pytest.mark.parametrize(
    ("name", "phrase"),
    [("spce.yaml", "no such file; did you mean 'space.yaml'?"), ("none/at/all.yaml", "no such file"), ("", "a folder")],
)
def test_a_file_that_is_not_there(tmp_path: Path, name: str, phrase: str) -> None:
    (tmp_path / "space.yaml").write_text(NETWORK)
    with pytest.raises(SpaceError) as caught:
        load(tmp_path / name)
    (problem,) = caught.value.problems
    assert problem.where == str(tmp_path / name)
    assert phrase in problem.what


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(NETWORK.encode() + b"data: caf\xe9\n")
    with pytest.raises(SpaceError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{path}:6: byte 0xe9 is not UTF-8")


def places(tree: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every value in a tree."""
    yield path
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(value, (*path, key))


@pytest.mark.parametrize("wrong", [None, [{}], -1, {"when": {"a": [1, {}]}}], ids=str)
def test_a_wrong_shape_anywhere_is_reported_and_never_a_crash(wrong: object) -> None:
    tree = YAML(typ="safe", pure=True).load(STUDENT.read_text(encoding="utf-8"))
    tree["network"]["stages"] = tree["network"]["stages"][:1]
    tree["export"] = {"authors": [{"lastname": "Doe"}]}
    refused = 0
    for path in [path for path in places(tree) if path]:
        changed = copy.deepcopy(tree)
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = wrong
        try:
            loads(json.dumps(changed))
        except SpaceError as error:
            refused += bool(error.problems)
    assert refused > 30
