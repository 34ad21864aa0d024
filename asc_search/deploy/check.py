"""Is an artefact the network it was made of? Both on the test split, clip by clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.frontends import front_end
from asc_search.data.clips import Clips
from asc_search.deploy.session import Run
from asc_search.errors import Problem
from asc_search.progress import track
from asc_search.train.band_path import raw, waveforms_of
from asc_search.train.clip_scores import clip_probabilities
from asc_search.train.features import frontend_windows
from asc_search.train.metrics import evaluate
from asc_search.train.windows import Windows

AGREEMENT = 0.99  # share of clips with the same top class, at least
TOLERANCE = 0.5  # points of accuracy
BATCH = 64


@dataclass(frozen=True)
class Parity:
    """An artefact beside the PyTorch network: macro ``accuracy`` in [0, 1], the share of clips with the same top class,
    and the points of accuracy lost (negative: gained)."""

    accuracy: float
    top1_agreement: float
    accuracy_drop: float

    def to_json(self) -> dict[str, Any]:
        return {name: round(value, 5) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Reference:
    """The clips of the test split, their windows (kept under ``folder``) and how the PyTorch network scored them."""

    folder: Path
    clips: Clips
    frontend: FrontEnd
    windows: Windows
    probabilities: np.ndarray

    @property
    def accuracy(self) -> float:
        """Macro accuracy of the PyTorch network."""
        return self._accuracy(self.probabilities)

    def _accuracy(self, probabilities: np.ndarray) -> float:
        return evaluate(probabilities, self.clips.label_array(), self.clips.classes).accuracy

    def parity(self, probabilities: np.ndarray) -> Parity:
        """How far ``probabilities`` (clips, classes) are from the PyTorch network's."""
        agreement = float((probabilities.argmax(1) == self.probabilities.argmax(1)).mean())
        accuracy = self._accuracy(probabilities)
        return Parity(accuracy, agreement, 100 * (self.accuracy - accuracy))

    def probabilities_of(self, run: Run, what: str, waveforms: bool = False) -> np.ndarray:
        """The probabilities (clips, classes) by a graph that takes features, or ``waveforms``."""
        heard = self._waveforms(what) if waveforms else _features(self.windows, what)
        return _probabilities(self.windows, [run(batch) for batch in heard])

    def front_end_difference(self, front: Run) -> float:
        """Largest difference of the graph's features from the PyTorch front end's, in the unit of the features."""
        module = front_end(self.frontend)
        worst = 0.0
        with torch.inference_mode():
            for waves in self._waveforms("the front end"):
                worst = max(worst, float(np.abs(module(torch.from_numpy(waves)).numpy() - front(waves)).max()))
        return worst

    def _waveforms(self, what: str) -> Iterator[np.ndarray]:
        """Batches of the scored windows' samples."""
        waves = frontend_windows(self.folder, self.clips, raw(self.frontend))
        for rows in _batches(self.windows, what):
            yield waveforms_of(waves, rows).squeeze(1).numpy()


def open_test(folder: Path, clips: Clips, frontend: FrontEnd, run: Run) -> Reference:
    """The test split ``clips`` as scored by the PyTorch network ``run``, a function of features."""
    windows = frontend_windows(folder, clips, frontend)
    logits = [run(batch) for batch in _features(windows, "the PyTorch network")]
    return Reference(folder, clips, frontend, windows, _probabilities(windows, logits))


def _features(windows: Windows, what: str) -> Iterator[np.ndarray]:
    """Batches of the scored windows' features, float32."""
    return (windows.values[rows].astype(np.float32) for rows in _batches(windows, what))


def _batches(windows: Windows, what: str) -> Iterator[np.ndarray]:
    """The scored windows' rows, some at a time, while showing that ``what`` is tested."""
    rows = np.flatnonzero(windows.scored)
    return track(
        (rows[start : start + BATCH] for start in range(0, len(rows), BATCH)), f"testing {what}", -(-len(rows) // BATCH)
    )


def _probabilities(windows: Windows, logits: list[np.ndarray]) -> np.ndarray:
    """Of clips, from the logits of their scored windows in order."""
    clip_of = windows.clip_of[np.flatnonzero(windows.scored)]
    return clip_probabilities(np.concatenate(logits), clip_of, len(windows.clips))


def float_problems(name: str, parity: Parity) -> list[Problem]:
    """Why a float artefact must not be written."""
    problems = []
    if parity.top1_agreement < AGREEMENT:
        what = f"same top class as the PyTorch network on {100 * parity.top1_agreement:.2f} % of the test clips"
        problems.append(Problem(name, f"{what}; at least {100 * AGREEMENT:g} % are needed"))
    if abs(parity.accuracy_drop) > TOLERANCE:
        what = f"accuracy {100 * parity.accuracy:.2f} %, the PyTorch network's {_original(parity):.2f} %"
        problems.append(Problem(name, f"{what}; they may differ by {TOLERANCE:g} points"))
    return problems


def int8_problems(name: str, parity: Parity, tolerance: float) -> list[Problem]:
    """Why an int8 artefact must not be written: it falls more than ``tolerance`` points of accuracy."""
    if parity.accuracy_drop <= tolerance:
        return []
    what = (
        f"accuracy {100 * parity.accuracy:.2f} %, the float network's {_original(parity):.2f} %: "
        f"{parity.accuracy_drop:.2f} points lost, {tolerance:g} are allowed"
    )
    return [Problem(name, what)]


def _original(parity: Parity) -> float:
    return 100 * parity.accuracy + parity.accuracy_drop
