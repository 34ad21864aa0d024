"""What the dashboard offers beside a trial: pictures drawn from the run folder and the files in it, never copied."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial

from asc_search.files import read_json
from asc_search.report.confusion_section import summed
from asc_search.report.drawings import Curve, confusion_svg, curve_svg
from asc_search.report.report import REPORT
from asc_search.study.objective import METRICS
from asc_search.study.run_folder import RunFolder
from asc_search.train.metrics import Metrics

SVG, BYTES = "image/svg+xml", "application/octet-stream"
STUDY_FILES = {"front.csv": "text/csv", "space.yaml": "text/plain", REPORT: "text/html"}
MOST_CURVES = 100


@dataclass
class RunFiles:
    """An artifact store for optuna-dashboard over the run folder: what it has offered of it, and what people upload."""

    run: RunFolder
    _offered: dict[str, tuple[dict[str, Any], Callable[[], BinaryIO]]] = field(default_factory=dict)

    def of_trial(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
        """What there is of ``trial``: learning curve beside those of ``trials``, confusion matrix, checkpoint."""
        attrs, found = trial.user_attrs, []
        if "digest" not in attrs:
            return []
        folder = self.run.trial(trial.number, attrs["digest"])
        if rungs := attrs.get("rungs"):
            found.append(self._offer(f"{trial.number}-curve.svg", SVG, lambda: _bytes(_curve(rungs, trials))))
            metrics = folder / METRICS.format(len(rungs) - 1)
            if metrics.exists():
                found.append(self._offer(f"{trial.number}-confusion.svg", SVG, lambda: _bytes(_confusion(metrics))))
        checkpoint = folder / "checkpoint.safetensors"
        if checkpoint.exists():
            found.append(self._offer(f"{trial.number}-checkpoint.safetensors", BYTES, lambda: checkpoint.open("rb")))
        return found

    def of_study(self) -> list[dict[str, Any]]:
        """The run's tables, space and report, as far as they are written."""
        return [
            self._offer(name, kind, (self.run.root / name).open, "rb")
            for name, kind in STUDY_FILES.items()
            if (self.run.root / name).exists()
        ]

    def meta(self, artifact_id: str) -> dict[str, Any] | None:
        """What was offered under ``artifact_id``."""
        return self._offered[artifact_id][0] if artifact_id in self._offered else None

    def open_reader(self, artifact_id: str) -> BinaryIO:
        if artifact_id not in self._offered:
            return self._uploads().open_reader(artifact_id)
        try:
            return self._offered[artifact_id][1]()
        except OSError as error:
            raise ArtifactNotFound(artifact_id) from error

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Keep what a person uploads."""
        self._uploads().write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        """Remove an upload; the run's own files are not removed from here."""
        self._uploads().remove(artifact_id)

    def _uploads(self) -> FileSystemArtifactStore:
        folder = self.run.root / "uploads"
        folder.mkdir(exist_ok=True)
        return FileSystemArtifactStore(folder)

    def _offer(self, name: str, kind: str, opened: Callable[..., BinaryIO], *arguments: Any) -> dict[str, Any]:
        # The dashboard's address of an artefact takes hexadecimal names only.
        artifact_id = hashlib.sha256(f"{self.run.root.resolve()}\0{name}".encode()).hexdigest()[:32]
        meta = {"artifact_id": artifact_id, "filename": name, "mimetype": kind, "encoding": None}
        self._offered[artifact_id] = meta, lambda: opened(*arguments)
        return meta


def _curve(rungs: Sequence[dict[str, Any]], trials: Sequence[FrozenTrial]) -> str:
    def points(some: Sequence[dict[str, Any]]) -> Curve:
        return [(rung["epochs"], rung["accuracy"]) for rung in some]

    others = [points(trial.user_attrs["rungs"]) for trial in trials if trial.user_attrs.get("rungs")]
    return curve_svg(points(rungs), others[-MOST_CURVES:])


def _confusion(path: Path) -> str:
    known = read_json(path)
    if known is None:
        raise FileNotFoundError(path)
    return confusion_svg(*summed([Metrics.from_json(known)]))


def _bytes(drawn: str) -> BinaryIO:
    return io.BytesIO(drawn.encode())
