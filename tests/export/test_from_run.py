"""Training files of a split against the official lists."""

from __future__ import annotations

import gzip
from pathlib import Path

from asc_search.data.clips import Clips
from asc_search.export.parts import allowed_files, split_parts
from asc_search.export.profile import PROFILES

PROFILE = PROFILES["dcase2024"]


def test_parts_and_permission_come_from_the_lists(tmp_path: Path) -> None:
    for split, names in {"5": ["a"], "10": ["a", "b"], "25": ["a", "b", "c"], "50": ["a", "b", "c"]}.items():
        text = "filename\tscene_label\n" + "".join(f"audio/{name}.wav\tbus\n" for name in [*names, "elsewhere"])
        (tmp_path / f"split{split}.csv.gz").write_bytes(gzip.compress(text.encode()))
    blank = ("",) * 4
    files = tuple(f"audio/{name}.wav" for name in "abcd")
    training = Clips(tmp_path, ("bus",), files, (0,) * 4, blank, blank, ("train",) * 4)
    parts, allowed = split_parts(training, tmp_path, PROFILE), allowed_files(tmp_path, PROFILE)
    assert {split: len(part) for split, part in parts.items()} == {"5": 1, "10": 2, "25": 3, "50": 3, "100": 4}
    assert allowed["10"] == {"a.wav", "b.wav", "elsewhere.wav"} and "100" not in allowed
    assert allowed_files(None, PROFILE) == {}
