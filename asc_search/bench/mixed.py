"""The mixed space: every registered stem, block and head with all its options, at searched widths and strides."""

from __future__ import annotations

from collections.abc import Mapping

from asc_search.nets.blocks import Family, Option, families
from asc_search.space.load import loads
from asc_search.space.space import Space

MOST = 64  # upper end of whole numbers that have no natural one
STAGES = 3


def mixed_space() -> Space:
    """A space over all layer families there are, so that a new one is measured by being registered."""
    lines = [
        "frontend: {hop: {choice: [500, 1000]}, mels: {choice: [64, 128, 256]}}",
        "pruning: {ratio: {choice: [0, 0.5]}}",
        "network:",
        f"  stem: {_choice(families('stem'))}",
        "  stem_stride: {choice: [1x1, 2x1, 2x2]}",
        "  base: {int: [8, 64]}",
        "  multiplier: {float: [1.0, 2.0]}",
        f"  head: {_choice(families('head'))}",
        *(f"  {end}_{line}" for end in ("stem", "head") for line in _options(families(end))),
        "  stages:",
    ]
    for _ in range(STAGES):
        stage = [
            f"family: {_choice(families('block'))}",
            "depth: {int: [1, 3]}",
            "stride: {choice: [1x1, 1x2, 2x1, 2x2]}",
            "stride_at: {choice: [first, last]}",
            *_options(families("block")),
        ]
        lines += [f"    {'-' if index == 0 else ' '} {line}" for index, line in enumerate(stage)]
    return loads("\n".join(lines), "mixed")


def _options(members: Mapping[str, Family]) -> list[str]:
    """A line for each option of ``members``, with what all that offer it allow; none where they agree on nothing."""
    lines = []
    for key in dict.fromkeys(key for member in members.values() for key in member.options):
        offered = [member.options[key] for member in members.values() if key in member.options]
        values = _common(offered)
        if values:
            lines.append(f"{key}: {values}")
    return lines


def _common(offered: list[Option]) -> str:
    first = offered[0]
    if first.kind == "bool":
        return "{choice: [false, true]}"
    if first.choices is not None:
        shared = [value for value in first.choices if all(value in (option.choices or ()) for option in offered[1:])]
        return f"{{choice: [{', '.join(map(str, shared))}]}}" if shared else ""
    low = max(option.low or 0 for option in offered)
    high = min(MOST if option.high is None else option.high for option in offered)
    if first.kind == "int":
        return f"{{int: [{int(low)}, {int(min(high, MOST))}]}}"
    return f"{{float: [{float(low)}, {float(high)}]}}"


def _choice(members: Mapping[str, Family]) -> str:
    return f"{{choice: [{', '.join(members)}]}}"
