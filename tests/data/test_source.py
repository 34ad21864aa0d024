"""Opening sources by name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from asc_search.data.audio_io import write_wav
from asc_search.data.demo import SMALL
from asc_search.data.source import open_source
from asc_search.errors import DataError

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def make_folder(root: Path, header: str, rows: list[str]) -> str:
    """Files named in the first field of ``rows``; the source name of the folder."""
    root.mkdir()
    (root / "meta.csv").write_text("\n".join([header, *rows]) + "\n")
    for row in rows:
        write_wav(root / row.split(",")[0], np.random.default_rng(len(row)).standard_normal(80) / 9, 8_000)
    return f"folder:{root}"


@pytest.mark.parametrize("source", ["", "dem", "folder:", "tau", "http://example.org/x"])
def test_unknown_sources_say_what_is_allowed(tmp_path: Path, source: str) -> None:
    with pytest.raises(DataError, match="must be 'demo' or 'folder:PATH'"):
        open_source(source, tmp_path)
    with pytest.raises(DataError, match="there is no folder"):
        open_source("folder:nowhere/at/all", tmp_path)


def test_demo(tmp_path: Path) -> None:
    opened = open_source("demo", tmp_path, demo_size=SMALL, test_folds=[3])
    clips = opened.clips
    assert (opened.name, opened.synthetic, opened.skipped) == ("demo", True, ())
    assert len(clips.classes) == 10
    assert Counter(clips.splits) == {"train": 40, "validation": 20, "test": 70}
    assert not set(clips.split("train").locations) & set(clips.split("validation").locations)
    assert not set(clips.split("train").locations) & set(clips.split("test").locations)
    assert set(clips.seen_devices) <= {"a", "s1", "s2", "s3"}
    assert opened.evaluation is not None
    assert len(opened.evaluation) == 10
    assert set(opened.evaluation.labels) == {-1}
    assert all((opened.evaluation.root / name).is_file() for name in opened.evaluation.files)
    assert open_source("demo", tmp_path, demo_size=SMALL) == opened
    with pytest.raises(DataError, match="unknown label 'airport'"):
        open_source("demo", tmp_path, demo_size=SMALL, labels=["kitchen", "park"])


def test_folder_with_folds_and_a_bad_file(tmp_path: Path) -> None:
    rows = [f"{i}.wav,{'cat' if i % 2 else 'dog'},{i // 10},place{i // 2}" for i in range(40)]
    source = make_folder(tmp_path / "x", "filename,label,fold,location", rows)
    (tmp_path / "x" / "7.wav").unlink()
    with pytest.raises(DataError, match=r"meta.csv:9: 7.wav: no such file"):
        open_source(source, tmp_path, test_folds=[3])
    opened = open_source(source, tmp_path, test_folds=[3], skip_bad_files=True)
    assert [problem.where for problem in opened.skipped] == ["meta.csv:9"]
    assert opened.clips.split("test").files == tuple(f"{i}.wav" for i in range(30, 40))
    assert len(opened.clips) == 39
    assert (opened.evaluation, opened.synthetic) == (None, False)


def test_official_lists_decide_and_must_not_overlap(tmp_path: Path) -> None:
    rows = [f"{i}.wav,{'cat' if i % 2 else 'dog'},place{i // 2}" for i in range(24)]
    source = make_folder(tmp_path / "x", "filename,label,location", rows)
    setup = tmp_path / "x" / "evaluation_setup"
    setup.mkdir()
    (setup / "fold1_train.csv").write_text("filename\tscene_label\n" + "".join(f"{i}.wav\tx\n" for i in range(12)))
    (setup / "fold1_evaluate.csv").write_text("filename\n" + "".join(f"{i}.wav\n" for i in range(12, 18)))
    clips = open_source(source, tmp_path).clips
    assert clips.split("test").files == tuple(f"{i}.wav" for i in range(12, 18))
    assert len(clips) == 18
    (setup / "fold1_evaluate.csv").write_text("filename\n11.wav\n12.wav\n")
    with pytest.raises(DataError, match=r"11.wav: is in training and test list"):
        open_source(source, tmp_path)


def test_incomplete_evaluation_set(tmp_path: Path) -> None:
    rows = [f"{i}.wav,{'cat' if i % 2 else 'dog'},place{i // 2}" for i in range(24)]
    source = make_folder(tmp_path / "x", "filename,label,location", rows)
    setup = tmp_path / "x" / "evaluation" / "evaluation_setup"
    setup.mkdir(parents=True)
    (setup / "fold1_test.csv").write_text("filename\naudio/0.wav\n../../0.wav\n")
    with pytest.raises(DataError) as caught:
        open_source(source, tmp_path)
    assert "fold1_test.csv:2: audio/0.wav: no such file" in str(caught.value)
    assert "fold1_test.csv:3: '../../0.wav' leads out of the folder" in str(caught.value)


def test_esc50_by_folds(tmp_path: Path) -> None:
    root = SHARED / "esc50_16k"
    if not root.is_dir():
        pytest.skip("the ESC-50 folder is not beside the checkout")
    clips = open_source(f"folder:{root}", tmp_path, test_folds=[4], check_samples=False).clips
    counts = Counter(clips.splits)
    assert counts["test"] == 400
    assert abs(counts["validation"] / 1_200 - 0.2) < 0.02
    parts = [set(clips.split(name).locations) for name in ("train", "validation", "test")]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert all(len(set(clips.split(name).labels)) == 50 for name in ("train", "validation", "test"))
