"""The terminal table as a reader sees it."""

from __future__ import annotations

from rich.console import Console

from asc_search.report.front_table import front_table, ordered, percent

NAMES = ["large", "small", "beaten", "dcase2024-baseline", "twin", "scratch"]


def printed(rows, width=100, macs=30_000_000, weight_bytes=128_000) -> str:
    console = Console(width=width, record=True, color_system=None)
    with console.capture() as capture:
        console.print(front_table(rows, macs, weight_bytes))
    return capture.get()


def test_order_is_by_role_then_validation_and_never_by_test(rows):
    assert [row.name for row in ordered(rows)] == NAMES
    assert [row.name for row in ordered(list(reversed(rows)))] == NAMES


def test_every_row_is_whole_at_100_columns(rows):
    text = printed(rows)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    line = next(line for line in text.splitlines() if "large" in line)
    assert " ".join(line.split()) == "large 60,000 29.70 (0.30) 120,000 fp16 61.0±1.0 59.0±1.0 56.0 3 passt-1, bcbl"
    assert [name for word in text.split() for name in NAMES if word == name] == NAMES


def test_many_teachers_and_long_names_are_folded_not_lost(row):
    teachers = tuple(f"teacher-number-{i}" for i in range(6))
    text = printed([row("a-name-much-longer-than-its-column", "finalist", 10**6, (0.5,), teachers=teachers)])
    squeezed = "".join(text.split())
    assert max(map(len, text.splitlines())) <= 100
    assert all(teacher.rsplit("-", 1)[0][:8] in squeezed for teacher in teachers)
    assert text.count("teacher-") == 6


def test_overrun_shows_as_negative_margin(row):
    text = printed([row("big", "reference", 31_204_556, (0.5,))])
    assert "31.20 (-1.20)" in text


def test_markup_in_a_name_is_text(row):
    assert "[red]x" in printed([row("[red]x", "finalist", 10**6, (0.5,))])


def test_missing_measurements_are_dashes(row):
    text = printed([row("plain", "finalist", 10**6, (0.5,), unseen_test=(), teachers=())])
    assert text.splitlines()[-1].split()[-3:] == ["-", "1", "-"]


def test_percent_is_mean_and_sample_deviation():
    # Deviations -1, 0, 1 percentage points: sample standard deviation 1.
    assert percent((0.60, 0.61, 0.62), 2) == "61.00±1.00"
    assert percent((0.5,)) == "50.0"
    assert percent(()) == "-"


def test_no_rows_is_an_empty_table():
    assert "role, name" in printed([])
