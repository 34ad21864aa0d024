"""All teachers of a space at once: in order, those behind peers too, and a trial taught by them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from asc_search.data.source import open_source
from asc_search.progress import Stage
from asc_search.space.draw import FixedSuggest, draw
from asc_search.space.load import loads
from asc_search.study.objective import train_trial
from asc_search.study.run_folder import RunFolder
from asc_search.study.subsets import in_order, needed_by, teach_all

SPACE = """
data: {validation_fraction: 0.34}
frontend: {mels: 32, hop: 2000, window: 2048, n_fft: 2048}
network: {stem: cp, base: 8, stages: [{family: cp, depth: 1, expansion: 2}]}
training: {batch: 16, freq_mask: 4}
distillation:
  teachers: [special, table]
  average: probabilities
  shares: by_device
  features: 1.0
  mixed: 0.5
  pool:
    special: {kind: specialist, of: wide, epochs: 1, lr: 0.001}
    table: {kind: logits, file: table.csv}
    wide: {kind: network, family: cp, base: 8, epochs: 1, lr: 0.005}
  peers: [beside]
  peer_pool: {beside: {teacher: wide}}
"""


def test_a_trial_is_taught_by_a_specialist_a_table_and_a_pretrained_peer(tmp_path: Path, demo_folder: Path) -> None:
    clips = open_source(f"folder:{demo_folder}", tmp_path, validation_fraction=0.34).clips
    rng = np.random.default_rng(0)
    with (tmp_path / "table.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["filename", *clips.classes])
        for file, label in zip(clips.files, clips.labels, strict=True):
            writer.writerow([Path(file).name, *(4 * np.eye(10)[label] + rng.normal(size=10)).round(3)])
    space = loads(SPACE, str(tmp_path / "s.yaml"), tmp_path)
    candidate = draw(space, FixedSuggest({}), 10)
    names = needed_by(space, candidate)
    assert set(names) == {"special", "table", "wide"}
    assert in_order(space, ["special"]) == ["wide", "special"], "the generalist comes along, and first"
    training, validation = clips.split("train"), clips.split("validation")
    with Stage("teachers", 3) as stage:
        material = teach_all(space, RunFolder(tmp_path / "run"), names, training, validation, stage)
    assert {len(lesson.logits) for lesson in material.teachers.values()} == {len(training) + len(material.mixtures)}
    again = teach_all(space, RunFolder(tmp_path / "run"), names, training, validation, None)
    for name, lesson in material.teachers.items():
        np.testing.assert_array_equal(lesson.logits, again.teachers[name].logits)
    for shares in ("by_device", "learned", "equal"):
        plan = replace(candidate.distillation, shares=shares)
        results = train_trial(
            replace(candidate, distillation=plan),
            material,
            validation,
            tmp_path / shares,
            [1, 2],
            0,
            lambda rung, result: True,
            lambda epoch: None,
        )
        assert [result.epochs for result in results] == [1, 2] and all(np.isfinite(one.log_loss) for one in results)
