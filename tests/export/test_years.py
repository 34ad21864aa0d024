"""Every year's submission, read again with zipfile, csv and PyYAML alone and held against the organisers' formats."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from asc_search.errors import ExportError
from asc_search.export.check import check
from asc_search.export.package import write
from asc_search.export.profile import PROFILES
from asc_search.export.submission import Complexity, Submission
from asc_search.export.zip_check import check_zip, profile_of

LABEL = "Nunez-Ost_NTU_task1_2"
HEADER = [
    "filename",
    "scene_label",
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
]
BEFORE_2024 = [
    "input_sampling_rate",
    "acoustic_features",
    "embeddings",
    "data_augmentation",
    "machine_learning_method",
    "ensemble_method_subsystem_count",
    "decision_making",
    "external_data_usage",
    "complexity_management",
    "pipeline",
    "framework",
]
SINCE_2024 = [
    "input_sampling_rate",
    "acoustic_features",
    "data_augmentation",
    "machine_learning_method",
    "external_data_usage",
    "complexity_management",
    "pipeline",
    "framework",
    "split_adaptations",
    "system_adaptations",
]
YEARS = {
    "dcase2022": {
        "clips": 118_800,
        "outputs": ["output"],
        "description": BEFORE_2024,
        "complexity": {"total_parameters": 61_148, "total_parameters_non_zero": 61_000, "memory_use": 61_148},
        "energy": None,
    },
    "dcase2023": {
        "clips": 118_800,
        "outputs": ["output"],
        "description": BEFORE_2024,
        "complexity": {
            "total_model_size": 122_296,
            "total_parameters": 61_148,
            "total_parameters_non_zero": 61_000,
            "memory_use": 122_296,
        },
        "energy": {"training": 0.21, "inference": 0.002, "baseline_inference": 0.0015},
    },
    "dcase2024": {
        "clips": 135_730,
        "outputs": [f"output.split_{split}" for split in (5, 10, 25, 50, 100)],
        "description": SINCE_2024,
        "complexity": {"total_model_size": 122_296, "total_parameters": 61_148},
        "energy": None,
    },
    "dcase2025": {
        "clips": 178_930,
        "outputs": ["output"],
        "description": SINCE_2024,
        "complexity": {"total_model_size": 122_296, "total_parameters": 61_148},
        "energy": None,
    },
}


@pytest.fixture
def of_year(submission) -> Callable[[str], tuple[Submission, Any]]:
    """A valid submission of a year, and the year's profile with a small evaluation set."""

    def made(name: str) -> tuple[Submission, Any]:
        profile = replace(PROFILES[name], evaluation_clips=12)
        kind, size = ("int8", 61_148) if name == "dcase2022" else ("fp16", 122_296)
        one = replace(
            submission,
            outputs=tuple(one for one in submission.outputs if one.split in profile.splits),
            complexity=Complexity(61_148, 29_419_156, size, kind, 61_000),
            energy=YEARS[name]["energy"] or {},
            source_code="https://github.com/nunez/Nunez_Ost_NTU_task1",
        )
        return one, profile

    return made


@pytest.mark.parametrize("name", YEARS)
def test_what_is_written_is_the_organisers_format(name: str, of_year, tmp_path: Path) -> None:
    submission, profile = of_year(name)
    year = YEARS[name]
    assert PROFILES[name].evaluation_clips == year["clips"]
    path = write(submission, profile, tmp_path / "s.zip")
    with zipfile.ZipFile(path) as archive:
        names = [f"task1/{LABEL}/{LABEL}.{kind}.csv" for kind in year["outputs"]]
        meta = f"task1/{LABEL}/{LABEL}.meta.yaml"
        assert sorted(archive.namelist()) == sorted([*names, meta])
        for entry in names:
            rows = list(csv.reader(io.TextIOWrapper(archive.open(entry), "utf-8"), delimiter="\t"))
            assert rows[0] == HEADER
            assert [row[0] for row in rows[1:]] == [f"{index}.wav" for index in range(12)]
            for row in rows[1:]:
                values = np.asarray(row[2:], dtype=float)
                assert abs(values.sum() - 1) < 1e-3 and row[1] == HEADER[2 + values.argmax()]
        content = yaml.safe_load(archive.read(meta))
    system = content["system"]
    assert list(system["description"]) == year["description"]
    assert system["complexity"] == {**year["complexity"], "macs": 29_419_156}
    assert system.get("energy_consumption") == year["energy"]
    results = content["results"]["development_dataset"]
    blocks = [results] if name != "dcase2024" else [results[f"split_{split}"] for split in (5, 10, 25, 50, 100)]
    for block in blocks:
        assert list(block["class_wise"]) == HEADER[2:]
        assert list(block["device_wise"]) == ["a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6"]
        mean = np.mean([score["accuracy"] for score in block["class_wise"].values()])
        assert block["overall"]["accuracy"] == pytest.approx(mean, abs=0.01) and mean > 1, "percent"
    assert check_zip(path, profile) == []
    assert profile_of(path) is PROFILES[name]


def complexity(submission: Submission, **changes: Any) -> Submission:
    return replace(submission, complexity=replace(submission.complexity, **changes))


REFUSALS = {
    "2022: parameters": (
        "dcase2022",
        lambda s: complexity(s, params=140_000, weight_bytes=140_000),
        ["140,000 bytes: 12,000 over the limit of 128,000", "140,000 parameters: 12,000 over the limit of 128,000"],
    ),
    "2022: fp16": (
        "dcase2022",
        lambda s: complexity(s, weight_type="fp16", weight_bytes=122_296),
        ["counts every parameter as int8", "weights are fp16, dcase2022 fixes int8"],
    ),
    "2022: not counted": (
        "dcase2022",
        lambda s: complexity(s, params_non_zero=None),
        ["total_parameters_non_zero null is not a whole number"],
    ),
    "2022: more than all": ("dcase2022", lambda s: complexity(s, params_non_zero=61_149), ["61,149 is above"]),
    "2023: bytes": (
        "dcase2023",
        lambda s: complexity(s, params=64_001, weight_bytes=128_002),
        ["128,002 bytes: 2 over the limit of 128,000 (total_model_size)", "(memory_use)"],
    ),
    "2023: MACs": ("dcase2023", lambda s: complexity(s, macs=31_000_000), ["31,000,000 MACs: 1,000,000 over"]),
    "2023: energy": (
        "dcase2023",
        lambda s: replace(s, energy={"training": 0.2, "inference": -1.0}),
        ["inference is -1.0, must be kWh", "baseline_inference is null, must be kWh"],
    ),
    "2024: energy": ("dcase2024", lambda s: replace(s, energy={"training": 1.0}), ["dcase2024 does not ask for it"]),
    "2024: system 4": (
        "dcase2024",
        lambda s: replace(s, label=LABEL.replace("_2", "_4")),
        ["must be one of 1, 2, 3"],
    ),
    "2025: no package": (
        "dcase2025",
        lambda s: replace(s, source_code=None),
        ["give the address the inference package"],
    ),
    "2025: key of 2022": (
        "dcase2025",
        lambda s: replace(s, description={"embeddings": "PaSST"}),
        ["is not a key of dcase2025"],
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_a_year_forbids_is_refused_with_the_figures(case: str, of_year, tmp_path: Path) -> None:
    name, change, messages = REFUSALS[case]
    submission, profile = of_year(name)
    with pytest.raises(ExportError) as refused:
        write(change(submission), profile, tmp_path / "s.zip")
    assert len(refused.value.problems) == len(messages), refused.value
    for message, problem in zip(messages, map(str, refused.value.problems), strict=True):
        assert message in problem
    assert not (tmp_path / "s.zip").exists()


@pytest.mark.parametrize("name", ["dcase2022", "dcase2023", "dcase2025"])
def test_four_systems_of_all_but_2024(name: str, of_year) -> None:
    submission, profile = of_year(name)
    assert check(replace(submission, label=LABEL.replace("_2", "_4")), profile) == []
    assert any("must be one of" in str(one) for one in check(replace(submission, label=LABEL[:-1] + "5"), profile))


@pytest.mark.parametrize("name", YEARS)
def test_a_zip_is_refused_by_other_years(name: str, of_year, tmp_path: Path) -> None:
    submission, profile = of_year(name)
    path = write(submission, profile, tmp_path / "s.zip")
    for other in YEARS.keys() - {name}:
        assert check_zip(path, replace(PROFILES[other], evaluation_clips=12)), (name, other)
