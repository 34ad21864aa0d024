"""Classifying audio files with an artefact: any length, rate and number of channels, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asc_search.data.audio_io import UnreadableAudio, blocks_mono, duration_s
from asc_search.deploy.artefact import Artefact
from asc_search.errors import Problem
from asc_search.train.clip_scores import OVERLAP, heard, level_db, softmax, window_count

BATCH = 8  # windows at a time: the front end needs some 10 MB for each


@dataclass(frozen=True)
class Prediction:
    """The scores of one file.

    ``starts_s`` (windows,) and ``probabilities`` (windows, classes) are those of its windows end to end; ``counted``
    marks the audible ones, whose mean is ``clip`` (classes,), as in evaluation.
    """

    file: Path
    duration_s: float
    starts_s: np.ndarray
    probabilities: np.ndarray
    counted: np.ndarray
    clip: np.ndarray


def predict_files(
    artefact: Artefact, files: Iterable[Path], failed: Callable[[Problem], object]
) -> Iterator[Prediction]:
    """Predictions of the ``files`` that can be read; ``failed`` is told of each other one."""
    for file in files:
        try:
            yield predict_file(artefact, file)
        except UnreadableAudio as error:
            failed(Problem(str(file), str(error)))


def predict_file(artefact: Artefact, file: Path) -> Prediction:
    """Classify one file as evaluation does: the mean of softmax over its audible windows, which do not overlap.

    A file shorter than a window is repeated to fill it.

    Raises:
        UnreadableAudio: the reason alone, the caller knows the file.
    """
    if not file.is_file():
        raise UnreadableAudio("is a folder; give the files in it" if file.is_dir() else "no such file")
    seconds, frontend = duration_s(file), artefact.frontend
    count = window_count(seconds, frontend.seconds)
    levels, scored, waiting = np.zeros(count), [], []
    loudest: tuple[float, np.ndarray] = (-np.inf, np.empty(0))
    for index, window in windows(blocks_mono(file, frontend.rate_hz), frontend.samples, count):
        levels[index] = level_db(window[None])[0]
        if index % OVERLAP == 0:
            waiting.append(window)
        elif levels[index] > loudest[0]:
            loudest = levels[index], window.copy()
        if len(waiting) == BATCH:
            scored.append(softmax(artefact.run(np.stack(waiting))))
            waiting = []
    if waiting:
        scored.append(softmax(artefact.run(np.stack(waiting))))
    probabilities = np.concatenate(scored)
    counts = heard(levels, np.zeros(count, int), np.arange(count))[1]
    if counts[::OVERLAP].any():
        clip = probabilities[counts[::OVERLAP]].mean(axis=0)
    else:  # all that is audible lies in the last half window
        clip = softmax(artefact.run(loudest[1][None]))[0]
    starts_s = frontend.seconds * np.arange(len(probabilities))
    return Prediction(file, seconds, starts_s, probabilities, counts[::OVERLAP], clip)


def windows(blocks: Iterable[np.ndarray], length: int, count: int) -> Iterator[tuple[int, np.ndarray]]:
    """``count`` windows of ``length`` samples, numbered, each 1/OVERLAP of it on; past its end the clip begins again."""
    step, index = length // OVERLAP, 0
    held = head = np.empty(0, np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        if len(head) < length:
            head = np.concatenate([head, block])[:length]
        while len(held) >= length and index < count:
            yield index, held[:length]
            held, index = held[step:], index + 1
        if index == count:
            return
    for late in range(index, count):
        yield late, np.concatenate([held, np.resize(head, length - len(held))])
        held = held[step:]
