"""Miniature TAU sets in the official layout: two scenes, ten locations each, a few devices, wav files of 400 Hz."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc_search.data.tau_facts import PARTS, TAU_SETS, TauSet

RATE_HZ = 400
Row = tuple[str, str, str, str, str]  # file, scene, identifier, device, part


def rows_of(tau: TauSet) -> list[Row]:
    """Locations 0 to 5 are for training, 6 and 7 for test, 8 and 9 in neither; device b is at even ones, s4 at 7."""
    rows = []
    for s, scene in enumerate(("metro_station", "tram")):
        for place in range(10):
            part = "train" if place < 6 else "test" if place < 8 else "neither"
            devices = ["a"]
            if tau.name != "tau2019":
                devices += ["b"] * (place % 2 == 0) + ["s4"] * (place == 7)
            for device in devices:
                for second in range(10) if tau.split_in_seconds else [""]:
                    where = f"lyon-{10 * s + place}"
                    number = f"-{second}" if tau.split_in_seconds else ""
                    file = f"audio/{scene}-{where}-{40_000 + 10 * s + place}{number}-{device}.wav"
                    rows.append((file, scene, where, device, part))
    return rows


def make_tree(parent: Path, name: str, monkeypatch: pytest.MonkeyPatch | None = None) -> Path:
    """Write the miniature of the set ``name`` below ``parent``; ``monkeypatch`` makes its counts the published ones."""
    tau = TAU_SETS[name]
    rows, root = rows_of(tau), parent / tau.folder
    (root / "audio").mkdir(parents=True)
    (root / "evaluation_setup").mkdir()
    rng = np.random.default_rng(0)
    for file, *_ in rows:
        samples = rng.uniform(-0.5, 0.5, (tau.seconds * RATE_HZ, tau.channels))
        soundfile.write(root / file, samples, RATE_HZ, subtype="PCM_24")
    mobile = name != "tau2019"
    write_table(
        root / "meta.csv",
        ["filename", "scene_label", "identifier", *["source_label"] * mobile],
        [row[: 4 if mobile else 3] for row in rows],
    )
    for part, file in (("train", "fold1_train"), ("test", "fold1_evaluate")):
        listed = [row[:2] for row in rows if row[4] == part]
        write_table(root / "evaluation_setup" / f"{file}.csv", ["filename", "scene_label"], listed)
    tests = [row[:1] for row in rows if row[4] == "test"]
    write_table(root / "evaluation_setup" / "fold1_test.csv", ["filename"], tests)
    if monkeypatch:
        devices = {part: dict(Counter(row[3] for row in rows if row[4] == part)) for part in PARTS}
        classes = {part: dict(Counter(row[1] for row in rows if row[4] == part)) for part in PARTS}
        monkeypatch.setitem(TAU_SETS, name, replace(tau, rate_hz=RATE_HZ, devices=devices, classes=classes))
    return root


def write_table(path: Path, header: list[str], rows: list[tuple[str, ...]]) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in [header, *rows]), encoding="utf-8")
