"""The CSV read back with the standard library."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from asc_search.report.front_csv import write_front_csv


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_network_is_one_row_with_its_seeds(rows, tmp_path):
    path = tmp_path / "deeper" / "front.csv"
    write_front_csv(rows, path)
    found = {line["name"]: line for line in read(path)}
    assert list(found) == ["large", "small", "beaten", "dcase2024-baseline", "twin", "scratch"]
    large = found["large"]
    values = [float(value) for value in large["validation_values"].split(";")]
    assert values == [0.60, 0.62, 0.61]
    assert float(large["validation_mean"]) == pytest.approx(np.mean(values))
    assert float(large["validation_std"]) == pytest.approx(np.std(values, ddof=1))
    assert (large["seeds"], large["teachers"], large["macs"]) == ("3", "passt-1;bcbl", "29700000")
    assert found["dcase2024-baseline"]["trial"] == ""


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_is_a_formula(row, tmp_path, start):
    text = f'{start}HYPERLINK("x";"y"),\nz'
    write_front_csv([row(text, "finalist", 1, (0.5,), description=text, teachers=(text,))], tmp_path / "front.csv")
    (line,) = read(tmp_path / "front.csv")
    assert line["name"] == line["description"] == line["teachers"] == f"'{text}"


def test_unmeasured_is_empty(row, tmp_path):
    write_front_csv([row("a", "finalist", 1, (0.5,), unseen_test=())], tmp_path / "front.csv")
    (line,) = read(tmp_path / "front.csv")
    assert {line[f"unseen_test_{part}"] for part in ("mean", "std", "values")} == {""}


def test_failed_write_leaves_the_old_file_and_nothing_else(rows, tmp_path, monkeypatch):
    path = tmp_path / "front.csv"
    path.write_text("old")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("asc_search.files.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_front_csv(rows, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
