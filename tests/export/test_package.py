from __future__ import annotations

import csv
import io
import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from ruamel.yaml import YAML

from asc_search.errors import ExportError
from asc_search.export.package import write
from asc_search.export.profile import PROFILES
from asc_search.export.submission import ExternalDataset, SplitOutput
from asc_search.export.zip_check import check_zip

LABEL = "Nunez-Ost_NTU_task1_2"
SPLITS = ("5", "10", "25", "50", "100")
SCENES = ["airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall"]
SCENES += ["street_pedestrian", "street_traffic", "tram"]
HEADER = ["filename", "scene_label", *SCENES]


def officially_valid(path, clips: int) -> None:
    """The checks of the organisers' validator, written from their description of the format."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".pdf"):
                continue
            task, label, file = name.split("/")
            assert task == "task1" and re.fullmatch(r"[^_]+_[^_]+_task1_[1-3]", label) and file.startswith(f"{label}.")
            text = archive.read(name).decode()
            if file.endswith(".meta.yaml"):
                validate_meta(YAML(typ="safe").load(text), label)
                continue
            assert re.fullmatch(r"output\.split_(5|10|25|50|100)\.csv", file.removeprefix(f"{label}."))
            reader = csv.DictReader(io.StringIO(text), delimiter="\t")
            rows = list(reader)
            assert set(reader.fieldnames) == set(HEADER)
            assert sorted(int(row["filename"].removesuffix(".wav")) for row in rows) == list(range(clips))
            for row in rows:
                values = [float(row[scene]) for scene in SCENES]
                assert abs(sum(values) - 1) <= 1e-3 and min(values) >= 0 and max(values) <= 1
                assert row["scene_label"] == SCENES[int(np.argmax(values))]


def validate_meta(meta: dict, label: str) -> None:
    assert meta["submission"]["label"] == label
    assert len(meta["submission"]["abbreviation"]) <= 10
    authors = meta["submission"]["authors"]
    assert sum("corresponding" in author and bool(author["corresponding"]) for author in authors) == 1
    for author in authors:
        assert all(isinstance(author[key], str) for key in ("lastname", "firstname", "email"))
        assert {"abbreviation", "institute", "location"} <= set(author["affiliation"])
    assert set(meta["system"]["description"]) == {
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
    }
    assert set(meta["system"]["complexity"]) == {"total_model_size", "total_parameters", "macs"}
    assert int(meta["system"]["complexity"]["total_parameters"]) > 0
    assert "source_code" in meta["system"] and "external_datasets" in meta["system"]
    results = meta["results"]["development_dataset"]
    assert set(results) == {f"split_{split}" for split in SPLITS}
    for block in results.values():
        assert set(block["overall"]) == {"logloss", "accuracy"}
        assert set(block["class_wise"]) == set(SCENES)
        assert set(block["device_wise"]) == {"a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6"}
        scores = [block["overall"], *block["class_wise"].values(), *block["device_wise"].values()]
        assert all(value is None or isinstance(value, float) for score in scores for value in score.values())


def rows(path, split: str) -> list[list[str]]:
    with zipfile.ZipFile(path) as archive:
        text = archive.read(f"task1/{LABEL}/{LABEL}.output.split_{split}.csv").decode()
    return list(csv.reader(io.StringIO(text), delimiter="\t"))


def test_a_full_submission_has_the_exact_layout(submission, profile, tmp_path):
    report = tmp_path / "any name.pdf"
    report.write_bytes(b"%PDF-1.7 report")
    out = write(replace(submission, technical_report=report), profile, tmp_path / "new folder" / "Nunez.zip")
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted(
            [
                *(f"task1/{LABEL}/{LABEL}.output.split_{split}.csv" for split in SPLITS),
                f"task1/{LABEL}/{LABEL}.meta.yaml",
                f"task1/{LABEL}.technical_report.pdf",
            ]
        )
        assert archive.read(f"task1/{LABEL}.technical_report.pdf") == b"%PDF-1.7 report"
    officially_valid(out, 12)
    assert check_zip(out, profile) == []


def test_practice_without_results_or_report(submission, tmp_path):
    outputs = tuple(replace(output, development=None) for output in submission.outputs)
    out = write(replace(submission, practice=True, outputs=outputs), PROFILES["dcase2024"], tmp_path / "p.zip")
    officially_valid(out, 12)
    assert check_zip(out, PROFILES["dcase2024"], practice=True) == []
    problems = check_zip(out, PROFILES["dcase2024"])
    assert any("135,718 of 135,730 clips are missing" in str(problem) for problem in problems)
    assert any("must be a number" in str(problem) for problem in problems)


def test_every_output_is_what_was_predicted(submission, profile, tmp_path):
    out = write(submission, profile, tmp_path / "s.zip")
    for output in submission.outputs:
        header, *lines = rows(out, output.split)
        assert header == HEADER
        assert [line[0] for line in lines] == [f"{index}.wav" for index in range(12)]
        for name, probabilities in zip(output.files, output.probabilities, strict=True):
            line = lines[int(name.removeprefix("audio/").removesuffix(".wav"))]
            expected = dict(zip(submission.classes, probabilities.tolist(), strict=True))
            assert line[1] == max(expected, key=expected.get)
            assert [np.float32(value) for value in line[2:]] == [np.float32(expected[scene]) for scene in SCENES]


def test_close_and_equal_probabilities_keep_the_label_at_the_largest_column(submission, profile, tmp_path):
    close = np.full((12, 10), 0.1)
    close[:, 3] += 1e-12
    close[:6, 7] = np.nextafter(np.float32(0.1), np.float32(1))
    outputs = (replace(submission.outputs[0], probabilities=close), *submission.outputs[1:])
    out = write(replace(submission, outputs=outputs), profile, tmp_path / "s.zip")
    assert check_zip(out, profile) == []
    officially_valid(out, 12)


def test_equal_submissions_are_equal_bytes_and_overwrite_whole(submission, profile, tmp_path):
    first = write(submission, profile, tmp_path / "a.zip").read_bytes()
    (tmp_path / "b.zip").write_bytes(b"old")
    assert write(submission, profile, tmp_path / "b.zip").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip"]


def test_a_failed_write_keeps_the_old_file(submission, profile, tmp_path, monkeypatch):
    (tmp_path / "a.zip").write_bytes(b"old")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("asc_search.export.package.dump", full)
    with pytest.raises(ExportError, match="No space left"):
        write(submission, profile, tmp_path / "a.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    assert (tmp_path / "a.zip").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["a.tar", "folder.zip"])
def test_only_a_zip_file_is_written(name, submission, profile, tmp_path):
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(ExportError, match=r"must name a \.zip file"):
        write(submission, profile, tmp_path / name)


def test_meta_tells_what_was_measured(submission, profile, tmp_path, development):
    data = (ExternalDataset("MicIRP", "https://micirp.example", 0.5), ExternalDataset("AudioSet", "https://as.example"))
    out = write(replace(submission, external_datasets=data), profile, tmp_path / "s.zip")
    with zipfile.ZipFile(out) as archive:
        meta = YAML(typ="safe").load(archive.read(f"task1/{LABEL}/{LABEL}.meta.yaml").decode())
    assert meta["system"]["complexity"] == {"total_model_size": 122_296, "total_parameters": 61_148, "macs": 29_419_156}
    assert meta["system"]["external_datasets"] == [
        {"name": "MicIRP", "url": "https://micirp.example", "total_audio_length": 0.5},
        {"name": "AudioSet", "url": "https://as.example", "total_audio_length": None},
    ]
    assert meta["system"]["source_code"] is None and meta["system"]["description"]["pipeline"] is None
    block = meta["results"]["development_dataset"]["split_25"]
    recalls = [100 * row[index] / sum(row) for index, row in enumerate(development.confusion)]
    assert block["overall"]["accuracy"] == pytest.approx(np.mean(recalls), abs=1e-3)
    assert [block["class_wise"][scene]["accuracy"] for scene in SCENES] == pytest.approx(recalls, abs=1e-3)


def test_the_real_size_is_written_and_accepted(submission, tmp_path):
    official = PROFILES["dcase2024"]
    probabilities = np.random.default_rng(0).dirichlet(np.full(10, 0.1), official.evaluation_clips).astype(np.float32)
    files = tuple(f"{index}.wav" for index in range(official.evaluation_clips))
    one_split = replace(official, splits=("25",))
    output = SplitOutput("25", files, probabilities, submission.outputs[0].development)
    out = write(replace(submission, outputs=(output,)), one_split, tmp_path / "real.zip")
    with zipfile.ZipFile(out) as archive:
        assert archive.read(f"task1/{LABEL}/{LABEL}.output.csv").count(b"\n") == 135_731
    assert check_zip(out, one_split) == []
