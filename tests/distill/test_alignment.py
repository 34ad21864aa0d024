"""A student's window is taught by the teacher's window that covers most of it."""

from __future__ import annotations

import numpy as np
import pytest

from asc_search.distill.alignment import around
from asc_search.train.windows import window_count


def test_ten_seconds_teach_all_windows_inside() -> None:
    """Clips of 10 s and 3 s: one window of the teacher each, 19 and 5 of the student."""
    rows = around(np.array([19, 5]), 1.0, np.array([1, 1]), 10.0)
    np.testing.assert_array_equal(rows, [0] * 19 + [1] * 5)
    # Clips of 20 s: windows of 10 s at 0, 5 and 10 s, their middles at 5, 10 and 15 s
    rows = around(np.array([39]), 1.0, np.array([3]), 10.0)
    middles = np.arange(39) / 2 + 0.5
    np.testing.assert_array_equal(rows, np.where(middles <= 7.5, 0, np.where(middles <= 12.5, 1, 2)))


@pytest.mark.parametrize(("student_s", "teacher_s"), [(1, 10), (1, 1), (1, 1.5), (2, 3), (0.7, 4), (1, 2), (10, 10)])
def test_no_other_window_covers_more(student_s: float, teacher_s: float) -> None:
    durations = np.array([0.4, 1, 1.6, 3, 4.2, 9.9, 10, 12, 20, 31.3])
    student, teacher = ([window_count(d, s) for d in durations] for s in (student_s, teacher_s))
    rows = iter(around(np.array(student), student_s, np.array(teacher), teacher_s))
    first = 0
    for count, most in zip(student, teacher, strict=True):
        starts = np.arange(most) * teacher_s / 2
        for index in range(count):
            start = index * student_s / 2
            covered = np.minimum(starts + teacher_s, start + student_s) - np.maximum(starts, start)
            covered = np.clip(covered, 0, None)
            row = next(rows) - first
            assert 0 <= row < most
            assert covered[row] >= covered.max() - 1e-9
        first += most
    assert next(rows, None) is None


def test_equal_windows_teach_themselves() -> None:
    counts = np.array([3, 1, 7])
    np.testing.assert_array_equal(around(counts, 2.0, counts, 2.0), np.arange(11))
