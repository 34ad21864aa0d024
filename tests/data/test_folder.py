"""Reading folders with a meta.csv: what is accepted, and what every mistake is answered with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc_search.data.folder import read_folder, tau_name
from asc_search.errors import DataError

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def make_folder(root: Path, table: str, files: Sequence[str]) -> Path:
    """A folder with short noise files and ``table`` as its meta.csv."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, np.random.default_rng(len(name)).standard_normal(400) / 10, 8_000)
    (root / "meta.csv").write_bytes(table.encode())
    return root


def mistakes(root: Path, labels: Sequence[str] | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read_folder(root, labels)
    return str(caught.value)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_table_dialects(tmp_path: Path, delimiter: str, mark: str, end: str) -> None:
    rows = [("filename", "scene_label", "identifier", "source_label"), ("x/1.wav", "park", "lyon-7", "b")]
    table = mark + "".join(delimiter.join(row) + end for row in rows)
    folder = read_folder(make_folder(tmp_path, table, ["x/1.wav"]))
    clips = folder.clips
    assert (clips.files, clips.classes, clips.labels) == (("x/1.wav",), ("park",), (0,))
    assert (clips.devices, clips.locations, clips.splits, folder.folds) == (("b",), ("lyon-7",), ("",), ("",))


def test_classes_follow_the_given_order(tmp_path: Path) -> None:
    make_folder(tmp_path, "filename,label,fold\n1.wav,cat,2\n2.wav,dog,1\n", ["1.wav", "2.wav"])
    assert read_folder(tmp_path).clips.classes == ("cat", "dog")
    given = read_folder(tmp_path, ["dog", "cat", "cow"])
    assert given.clips.classes == ("dog", "cat", "cow")
    assert given.clips.labels == (1, 0)
    assert given.folds == ("2", "1")


@pytest.mark.parametrize(
    ("header", "fields", "location"),
    [
        ("location,location_id,identifier", "here,7,there", "here"),
        ("location_id,city,identifier", "7,lyon,there", "lyon-7"),
        ("location_id,identifier", "7,there", "7"),
        ("identifier,source_id", "there,s", "there"),
        ("source_id,location", "s,", "s"),
    ],
)
def test_location_columns_in_order_of_preference(tmp_path: Path, header: str, fields: str, location: str) -> None:
    make_folder(tmp_path, f"filename,label,{header}\n1.wav,cat,{fields}\n", ["1.wav"])
    assert read_folder(tmp_path).clips.locations == (location,)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("audio/airport-lisbon-1000-40000-0-a.wav", ("airport", "lisbon-1000", "a")),
        ("audio/street_traffic-paris-52-1549-s3.wav", ("street_traffic", "paris-52", "s3")),
        ("audio/1-100032-A-0.ogg", None),
        ("metro_station-paris.flac", None),
        ("17.wav", None),
    ],
)
def test_tau_names(file: str, expected: tuple[str, str, str] | None) -> None:
    name = tau_name(file)
    assert (name and (name.scene, name.location, name.device)) == expected


def test_empty_fields_are_taken_from_tau_names(tmp_path: Path) -> None:
    files = ["bus-milan-190-4489-3-c.wav", "bus-milan-191-4490-s1.wav"]
    make_folder(tmp_path, f"filename,label,device,location\n{files[0]},bus,,\n{files[1]},bus,x,y\n", files)
    clips = read_folder(tmp_path).clips
    assert clips.devices == ("c", "x")
    assert clips.locations == ("milan-190", "y")


def test_missing_columns_are_named_with_those_found(tmp_path: Path) -> None:
    message = mistakes(make_folder(tmp_path, "file_name;lable\n", []))
    assert "file_name;lable" in message
    message = mistakes(make_folder(tmp_path, "filenames,labels,x\n1.wav,cat,1\n", []))
    assert (
        "meta.csv:1: no column 'filename' (did you mean 'filenames'?); columns found: filenames, labels, x" in message
    )
    assert "no column 'label' or 'scene_label' (did you mean 'labels'?)" in message


def test_mistakes_in_rows_are_listed_together(tmp_path: Path) -> None:
    table = (
        "filename,label,split\n"
        "1.wav,prak,train\n"
        "/etc/passwd,park,train\n"
        "../2.wav,park,train\n"
        "C:\\x.wav,park,train\n"
        "1.wav,park,trian\n"
        "2.wav,park\n"
        ",park,test\n"
        "3.wav,,test\n"
    )
    message = mistakes(make_folder(tmp_path, table, ["1.wav"]), ["park", "bus"])
    for line in [
        "meta.csv:2: 1.wav: unknown label 'prak' (did you mean 'park'?); allowed: park, bus",
        "meta.csv:3: '/etc/passwd' leads out of the folder",
        "meta.csv:4: '../2.wav' leads out of the folder",
        "meta.csv:5: 'C:\\\\x.wav' leads out of the folder",
        "meta.csv:6: 1.wav is listed already at line 2",
        "meta.csv:6: unknown split 'trian' (did you mean 'train'?)",
        "meta.csv:7: has 2 fields, the header has 3",
        "meta.csv:8: the filename is empty",
        "meta.csv:9: the label is empty",
    ]:
        assert line in message


def test_paths_out_of_the_folder_are_refused_even_when_skipping(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", "filename,label\na/../../1.wav,cat\n", ["2.wav"])
    make_folder(tmp_path, "", ["1.wav"])
    with pytest.raises(DataError, match="leads out of the folder"):
        read_folder(root, skip_bad_files=True)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """One good file among: one missing, one empty, one of text, and (only seen when decoded) one with NaN."""
    names = ["good.wav", "gone.wav", "empty.wav", "text.wav", "nan.wav"]
    table = "filename,label\n" + "".join(f"{name},cat\n" for name in names)
    make_folder(tmp_path, table, ["good.wav"])
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8_000)
    (tmp_path / "text.wav").write_text("no audio in here")
    soundfile.write(tmp_path / "nan.wav", np.full(10, np.nan, dtype=np.float32), 8_000, subtype="FLOAT")
    return tmp_path


def test_bad_files_are_listed_together(damaged: Path) -> None:
    message = mistakes(damaged)
    assert "meta.csv:3: gone.wav: no such file" in message
    assert "meta.csv:4: empty.wav: has no samples" in message
    assert "meta.csv:5: text.wav: cannot be read as audio" in message
    assert "good.wav" not in message
    assert "--skip-bad-files" in message


def test_nan_is_found_by_decoding(damaged: Path) -> None:
    (damaged / "meta.csv").write_text("filename,label\ngood.wav,cat\nnan.wav,cat\n")
    assert "nan.wav: has 10 NaN or infinite samples" in mistakes(damaged)
    assert len(read_folder(damaged, check_samples=False).clips) == 2


def test_bad_files_can_be_skipped(damaged: Path) -> None:
    folder = read_folder(damaged, skip_bad_files=True)
    assert folder.clips.files == ("good.wav",)
    assert len(folder.folds) == 1
    skipped = "\n".join(str(problem) for problem in folder.skipped)
    assert [skipped.index(name) for name in ("gone", "empty", "text", "nan")] == sorted(
        skipped.index(name) for name in ("gone", "empty", "text", "nan")
    )
    (damaged / "good.wav").unlink()
    with pytest.raises(DataError, match="no clip is left"):
        read_folder(damaged, skip_bad_files=True)


def test_a_long_list_is_cut_with_its_count(tmp_path: Path) -> None:
    message = mistakes(make_folder(tmp_path, "filename,label\n" + "".join(f"{i}.wav,cat\n" for i in range(33)), []))
    assert message.count("no such file") == 20
    assert "13 more (33 in all)" in message


def test_tables_that_are_none(tmp_path: Path) -> None:
    assert "no such file" in mistakes(tmp_path)
    for content, reason in [(b"", "no header"), (b"filename,label\n", "no rows"), (b"\xff\xfe\x00f", "not a csv file")]:
        (tmp_path / "meta.csv").write_bytes(content)
        assert reason in mistakes(tmp_path)


def test_esc50() -> None:
    root = SHARED / "esc50_16k"
    if not root.is_dir():
        pytest.skip("the ESC-50 folder is not beside the checkout")
    folder = read_folder(root, check_samples=False)
    assert (len(folder.clips), len(folder.clips.classes)) == (1_600, 50)
    assert sorted(set(folder.folds)) == ["1", "2", "3", "4"]
    assert folder.clips.locations[0] == "freesound:100032"
    assert set(folder.clips.devices) == {""}


def test_tau_mini() -> None:
    root = SHARED / "tau_mini"
    if not root.is_dir():
        pytest.skip("the TAU smoke set is not beside the checkout")
    clips = read_folder(root).clips
    assert (len(clips), len(clips.classes)) == (29, 10)
    rows = dict(zip(clips.files, zip(clips.devices, clips.locations, strict=True), strict=True))
    assert rows["audio/bus-milan-190-4489-c.flac"] == ("c", "milan-190")
    assert rows["audio/unnamed_bus.flac"] == ("", "")
