"""The studies that come with the project: each loads, has networks within its limits, and runs from end to end in small."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from support import SHARED, asc_search

from asc_search.data.clips import Clips
from asc_search.oracle.budget import price_candidate
from asc_search.oracle.feasibility import estimate
from asc_search.space.load import load
from asc_search.space.rows import load_study
from asc_search.study.row_results import Bench
from asc_search.study.run_folder import RunFolder

STUDIES = Path(__file__).resolve().parents[1] / "studies"
WEIGHTS = SHARED / "data" / "weights" / "mn04_as_mAP_432.pt"
EVERY = sorted(STUDIES.rglob("*.yaml"))
ROWS = [file for file in EVERY if "\nrows:" in file.read_text()]
FILES = [file for file in EVERY if file not in ROWS]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_study_loads_and_most_of_it_is_within_its_limits(file: Path, tmp_path: Path) -> None:
    text = file.read_text()
    if "pretrained:" in text:
        if not WEIGHTS.is_file():
            pytest.skip("the tagger's weights are not beside the checkout (../shared/data/weights)")
        shutil.copy(WEIGHTS, tmp_path)
    (tmp_path / file.name).write_text(text)
    found = estimate(load(tmp_path / file.name), 10, 500)
    assert found.share > 0.05


@pytest.mark.parametrize("file", ROWS, ids=lambda file: file.stem)
def test_a_study_of_rows_loads_and_its_table_is_that_of_its_figures(file: Path, tmp_path: Path) -> None:
    if WEIGHTS.is_file():
        shutil.copy(WEIGHTS, tmp_path)
    elif "kind: tagger" in file.read_text():
        pytest.skip("the tagger's weights are not beside the checkout (../shared/data/weights)")
    (tmp_path / file.name).write_text(file.read_text())
    study = load_study(tmp_path / file.name)
    assert all(row.space.retrain.seeds == 3 for row in study.rows)
    classes = tuple(map(str, range(50 if file.parent.name == "esc50" else 10)))
    bench = Bench(study, RunFolder(tmp_path / "run"), {"100%": Clips(Path(), classes, *(((),) * 5))})
    costs = {row.name: price_candidate(bench.candidate(row)).params for row in study.rows if not row.ensemble}
    if file.with_suffix(".csv").is_file():
        with file.with_suffix(".csv").open() as lines:
            told = {line["row"].removeprefix("'"): line for line in csv.DictReader(lines)}  # else + would be a formula
        table = file.with_suffix(".md").read_text()
        assert [*told] == [name for row in study.rows for name in (row.name, *row.versions.values()) if name in told]
        assert {row.name for row in study.rows} <= {*told}
        assert {name: int(told[name]["params"]) for name in costs} == costs
        for name, line in told.items():
            values = 100 * np.array(line["overall_values"].split(";"), float)
            (shown,) = [one for one in table.splitlines() if one.startswith(f"| {name} |")]
            assert f"| {int(line['params']):,} |" in shown
            mean, spread = map(float, re.findall(r"([\d.]+) ± ([\d.]+)", shown)[1])
            assert mean == pytest.approx(values.mean(), abs=0.051)
            assert spread == pytest.approx(values.std(ddof=1) if len(values) > 1 else 0.0, abs=0.051)


def small(text: str) -> str:
    """The study in seconds: one or two epochs everywhere, small inputs and networks."""
    text = re.sub(r"\n( *)mels: \d+", r"\n\1mels: 32", text).replace("mels: 256}", "mels: 32}")
    text = re.sub(r"epochs: \d+", "epochs: 1", text).replace("base: 64, multiplier: 1.8", "base: 8, multiplier: 1.0")
    text = re.sub(r"hop: 500", "hop: 2000", text)
    text = re.sub(
        r"search: {trials: \d+, rungs: \[[\d, ]+\], startup: \d+",
        "search: {trials: 2, rungs: [1, 2], startup: 2",
        text,
    )
    return re.sub(r"retrain: {epochs: 1, seeds: \d, finalists: \d", "retrain: {epochs: 2, seeds: 1, finalists: 1", text)


@pytest.mark.parametrize("name", ["sjtu_2024", "scut_2023", "esc50/pretrained"])
def test_a_study_runs_from_end_to_end(name: str, tmp_path: Path, demo_folder: Path) -> None:
    text = small((STUDIES / f"{name}.yaml").read_text())
    if name != "scut_2023":
        if not WEIGHTS.is_file():
            pytest.skip("the tagger's weights are not beside the checkout (../shared/data/weights)")
        shutil.copy(WEIGHTS, tmp_path)
        text = re.sub(r"  (train|test)_folds: .*\n", "", text).replace(
            "base: {choice: [48, 64, 80, 96]}", "base: {choice: [48, 64]}"
        )
        text = text.replace("weight_bytes: 128_000", "weight_bytes: 40_000").replace('value: "64"', 'value: "32"')
    else:
        text = text.replace("correction_p: 0.92", "correction_p: 0")  # the demo has no moment on two devices
    file = tmp_path / "study.yaml"
    file.write_text(text)
    done = asc_search("run", file, "--data", f"folder:{demo_folder}", "--out", tmp_path / "run", "--threads", 1)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "run" / "front.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    roles = [row["role"] for row in rows]
    twins = ["undistilled", "undistilled", "dense"]
    expected = {"sjtu_2024": ["reference", *twins], "esc50/pretrained": twins}
    assert roles == ["finalist", *expected.get(name, [])]
    if "dense" in roles:
        finalist, twin = rows[0], rows[-1]
        assert finalist["params"] == twin["params"] and "pruned" in finalist["description"]
        assert ("begun as mn04" in finalist["description"]) == (name == "esc50/pretrained")
        assert "begun" not in twin["description"]
    if name == "esc50/pretrained":  # of the twins without teachers one still begins as the tagger, one is from scratch
        alone = sorted((row for row in rows if row["role"] == "undistilled"), key=lambda row: "dense" in row["name"])
        assert [("begun" in row["description"], "dense" in row["name"]) for row in alone] == [
            (True, False),
            (False, True),
        ]
        assert alone[1]["params"] == rows[0]["params"] and alone[1]["teachers"] == ""
