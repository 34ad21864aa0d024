"""Five hundred damaged YAML spaces: each is either a space that can be priced or one clear error with file and line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from asc_search.errors import AscSearchError, InfeasibleSpaceError, SpaceError
from asc_search.oracle.feasibility import estimate
from asc_search.space.load import loads

SPACES = sorted((Path(__file__).resolve().parents[2] / "spaces").glob("*.yaml"))
CASES, PARTS = 500, 10

# What people and broken editors put where something else should stand.
VALUES = (
    "-1", "0", "1", "1e400", "-.inf", ".nan", "2_0", "0x10", "99999999999999999999", "1.5", "true", "null", "~",
    "yes", "''", "'48'", "[]", "{}", "[1, 2]", "{a: b}", "[[]]", "{choice: []}", "{choice: [1]}", "{choice: 3}",
    "{choice: [a, [b]]}", "{int: [1, 4]}", "{int: [9, 1]}", "{int: [1, 8], step: 0}", "{int: [0, 8], log: true}",
    "{int: [1.5, 3]}", "{float: [0, 1], step: -1}", "{float: [.nan, 1]}", "{float: [0, .inf]}", "{float: [1]}",
    "{float: [0, 1], when: {lr: 1}}", "{subset_of: [a, a]}", "{subset_of: [], min: 2}",
    "{value: 3, when: {nothing: 1}}", "{value: {value: 1}}", "{int: [1, 2], float: [1, 2]}", "*nobody", "&me [*me]",
    "!!python/object/apply:os.system ['true']", "!thing 3", "2026-11-28", "'<script>alert(1)</script>'",
    "Stra\u00dfe", "\u65e5\u672c", "\u202e", "a: b: c", "|", "- x", '"unclosed', "[1, 2", "%YAML 9.9", "1x1", "axb",
    "'2x'", "/etc/passwd", "../../x",
)  # fmt: skip


def damaged(rng: np.random.Generator) -> str:
    """The text of a space with one to three things wrong, as typing, cutting or merging makes them."""
    lines = SPACES[rng.integers(len(SPACES))].read_text(encoding="utf-8").splitlines()
    for _ in range(rng.integers(1, 4)):
        index = int(rng.integers(len(lines)))
        match rng.integers(9):
            case 0:
                del lines[index]
            case 1:
                lines.insert(index, lines[int(rng.integers(len(lines)))])
            case 2:
                lines[index] = " " * int(rng.integers(9)) + lines[index].lstrip()
            case 3:
                lines[index] = re.sub(
                    r"(:\s*).*", lambda found: found[1] + str(rng.choice(VALUES)), lines[index], count=1
                )
            case 4:
                lines[index] = re.sub(r"[-\w.]+(?=[,}\]]|$)", lambda _: str(rng.choice(VALUES)), lines[index], count=1)
            case 5:
                at = int(rng.integers(len(lines[index]) + 1))
                lines[index] = (
                    lines[index][:at] + str(rng.choice(list("\t:{}[],&*#!|>'\"%@`\x00\x85é"))) + lines[index][at:]
                )
            case 6:
                lines = lines[:index] or [""]
            case 7:
                lines[index] = re.sub(r"\w+(?=:)", lambda found: found[0][:-1] + "x", lines[index], count=1)
            case 8:
                at = int(rng.integers(len(lines)))
                lines[index], lines[at] = lines[at], lines[index]
        lines = lines or [""]
    return "\n".join(lines)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_damaged_space_is_named_or_works(part: int) -> None:
    """No exception other than ours, every problem with ``file:line``; what still loads can be drawn and priced."""
    rng = np.random.default_rng(part)
    refused = 0
    for _ in range(CASES // PARTS):
        text = damaged(rng)
        try:
            space = loads(text, "space.yaml")
            estimate(space, 10, 200, 0)
        except SpaceError as error:
            refused += 1
            assert error.problems, text
            for problem in error.problems:
                assert re.match(r"space\.yaml:[1-9]\d*(: |$)", problem.where), f"{problem}\n{text}"
                assert problem.what.strip() and "\n" not in problem.what, f"{problem!r}\n{text}"
        except InfeasibleSpaceError as error:
            assert "fit" in str(error)
        except AscSearchError:
            raise
        except Exception as error:
            pytest.fail(f"{type(error).__name__}: {error}\n{text}")
    assert refused > CASES // PARTS // 4  # most damage is damage


def test_aliases_that_multiply_are_read_in_no_time() -> None:
    """Ten levels of ten aliases each are ten billion values when written out."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    with pytest.raises(SpaceError, match=r"space\.yaml:1"):
        loads("\n".join(levels), "space.yaml")
