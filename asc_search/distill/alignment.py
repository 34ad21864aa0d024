"""Which of a teacher's longer windows belongs to each of the students' windows."""

from __future__ import annotations

import numpy as np

from asc_search.train.windows import OVERLAP, numbered


def around(student_counts: np.ndarray, student_s: float, teacher_counts: np.ndarray, teacher_s: float) -> np.ndarray:
    """The row of the teacher's window that covers most of each student's window, (students' windows,).

    ``counts`` (clips,) are the windows of each clip, of ``student_s`` and ``teacher_s`` >= ``student_s`` seconds. Of windows
    that cover it alike the one whose middle is nearest, the earlier of two; at the end of a clip, where none may reach the
    student's window, the last.
    """
    clip_of, index = numbered(student_counts)
    middle = (index / OVERLAP + 0.5) * student_s
    nearest = np.ceil((middle / teacher_s - 0.5) * OVERLAP - 0.5 - 1e-9).astype(np.int64)
    first = np.cumsum(teacher_counts) - teacher_counts
    return first[clip_of] + np.clip(nearest, 0, np.asarray(teacher_counts)[clip_of] - 1)
