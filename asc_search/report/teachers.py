"""What the kept teacher files tell: each teacher's metrics on validation, and how far teachers agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asc_search.files import read_json
from asc_search.train.metrics import Metrics

MOST_WINDOWS = 20_000  # of which agreement is measured


@dataclass(frozen=True)
class KeptTeacher:
    """A teacher's files: metrics on the validation clips, and the file of its logits of the training windows."""

    name: str
    validation: Metrics
    logits: Path


def kept_teachers(folder: Path, names: tuple[str, ...]) -> list[KeptTeacher]:
    """The teachers ``names`` as kept in the run ``folder``, in that order; those not taught yet are left out.

    Of a teacher taught on several parts of the training clips, the one that heard most.
    """
    found: dict[str, tuple[int, KeptTeacher]] = {}
    for note_path in sorted((folder / "logits").glob("*.json")):
        note = read_json(note_path)
        logits = note_path.with_suffix(".logits.npy")
        if note is None or not logits.is_file():
            continue
        name, size = note["teacher"], logits.stat().st_size
        if size > found.get(name, (0, None))[0]:
            found[name] = size, KeptTeacher(name, Metrics.from_json(note["validation"]), logits)
    return [found[name][1] for name in names if name in found]


def agreement(teachers: list[KeptTeacher]) -> np.ndarray | None:
    """Share of training windows (and mixtures, where the run has them) in which two teachers name the same class.

    (teachers, teachers); None where their files do not speak of the same windows.
    """
    kept = [np.load(one.logits, mmap_mode="r") for one in teachers]
    if len({len(logits) for logits in kept}) != 1 or not len(kept[0]):
        return None
    rows = np.linspace(0, len(kept[0]) - 1, min(len(kept[0]), MOST_WINDOWS)).round().astype(int)
    classes = np.stack([np.asarray(logits[rows]).argmax(axis=1) for logits in kept])
    return (classes[:, None] == classes[None]).mean(axis=2)
