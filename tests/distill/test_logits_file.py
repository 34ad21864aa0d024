"""Tables of logits as teachers: read by name, every mistake with its line, nothing pickled."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from support import tone_clips

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.data.clips import Clips
from asc_search.distill.logits_file import read_logits
from asc_search.distill.teachers import teach
from asc_search.errors import DataError
from asc_search.space.candidate import Training
from asc_search.space.teachers import LogitsTeacher
from asc_search.train.mixtures import draw_mixtures
from asc_search.train.windows import open_cuts

FRONTEND = FrontEnd(rate_hz=4_000, window=256, hop=200, n_fft=256, mels=16, seconds=0.5)
CLASSES = ("one", "two")


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    return tone_clips(tmp_path, 8, 4_000)


def write(file: Path, rows: dict[str, tuple[float, float]]) -> Path:
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["two", "filename", "one"])  # any order of columns
        writer.writerows([two, name, one] for name, (one, two) in rows.items())
    return file


def known(count: int) -> dict[str, tuple[float, float]]:
    return {f"{index}.wav": (index / 2, -float(index)) for index in range(count)}


def say(folder: Path, file: Path, clips: Clips, **keys):  # type: ignore[no-untyped-def]
    training, validation = clips.take(range(6)), clips.take([6, 7])
    teacher = LogitsTeacher("table", file, file.name)
    return teach(folder / "run", teacher, training, validation, FRONTEND, Training(), 0, lambda state: None, **keys)


def test_each_window_is_taught_its_clips_logits(tmp_path: Path, clips: Clips) -> None:
    taught = say(tmp_path, write(tmp_path / "t.csv", known(8)), clips)
    expected = np.repeat([[index / 2, -index] for index in range(6)], 3, axis=0)  # a second is three half-seconds
    np.testing.assert_allclose(taught.lesson.logits, expected, atol=2e-3)
    assert taught.lesson.embedding.shape == (18, 0)
    np.testing.assert_allclose(taught.lesson.held_out, [[3, -6], [3.5, -7]], atol=1e-2)
    assert taught.validation is not None and taught.validation.accuracy == 0, (
        "clips 6 and 7 are of class two, the table says one"
    )


def test_mixtures_are_in_the_shares_of_their_parts(tmp_path: Path, clips: Clips) -> None:
    training = clips.take(range(6))
    cuts = open_cuts(tmp_path / "run" / "features", training, FRONTEND.rate_hz, FRONTEND.seconds)
    mixtures = draw_mixtures(cuts.clip_of, cuts.audible, 0, per_window=2)
    taught = say(tmp_path, write(tmp_path / "t.csv", known(8)), clips, mixtures=mixtures)
    own = np.array([[index / 2, -index] for index in range(6)])[cuts.clip_of]
    share = mixtures.share[:, None]
    expected = share * own[mixtures.first] + (1 - share) * own[mixtures.second]
    np.testing.assert_allclose(taught.lesson.logits[len(cuts) :], expected, atol=4e-3)


def test_an_archive_of_arrays_says_the_same_and_pickles_are_refused(tmp_path: Path) -> None:
    columns = {"filename": np.array(["a", "b"]), "one": np.array([1.0, 2.0]), "two": np.array([3.0, 4.0])}
    np.savez(tmp_path / "t.npz", **columns)
    table = read_logits(tmp_path / "t.npz", CLASSES)
    assert table.files == ("a", "b")
    np.testing.assert_array_equal(table.logits, [[1, 3], [2, 4]])
    np.savez(tmp_path / "p.npz", **{**columns, "filename": np.array(["a", "b"], dtype=object)})
    with pytest.raises(DataError, match="not an archive of plain arrays"):
        read_logits(tmp_path / "p.npz", CLASSES)


def test_clips_that_are_missing_or_left_over_are_told(
    tmp_path: Path, clips: Clips, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match=r"lacks 2 of 6 training clips[\s\S]*4\.wav"):
        say(tmp_path, write(tmp_path / "few.csv", known(4)), clips)
    taught = say(tmp_path, write(tmp_path / "some.csv", {**known(7), "test.wav": (0.0, 0.0)}), clips)
    told = capsys.readouterr().err
    assert "lacks 1 of 2 validation clips (first: 7.wav)" in told and "1 rows of some.csv are about no" in told
    assert taught.validation is None and taught.lesson.held_out is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("filename,one\na,1\n", "t.csv:1: no column 'two'"),
        ("filename,one,two,tow\na,1,2,3\n", "t.csv:1: column 'tow' is no class of the data; did you mean 'two'?"),
        ("filename,one,two\na,1,2\nb,x,2\n", "t.csv:3: one: 'x' is not a finite number"),
        ("filename,one,two\na,1,nan\n", "t.csv:2: two: 'nan' is not a finite number"),
        ("filename,one,two\na,1,2\na,1,2\n", "t.csv:3: a stands twice, first on line 2"),
        ("filename,one,two\na,1\n", "t.csv:2: has 2 of 3 columns"),
    ],
)
def test_mistakes_are_named_with_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        read_logits(tmp_path / "t.csv", CLASSES)
    assert said in str(caught.value)
