"""`asc-search predict`: files in, a table, JSON or CSV out. Imports no PyTorch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from asc_search.deploy.artefact import open_artefact
from asc_search.deploy.predict import Prediction, predict_files
from asc_search.errors import Problem
from asc_search.progress import console, results, track

DIGITS = 6


def classify(root: Path, files: Sequence[Path], int8: bool, style: str, top: int) -> bool:
    """Classify ``files`` with the artefact in ``root`` and print them as ``style``: ``table``, ``json`` or ``csv``.

    False if a file could not be read, which stderr then says of each.

    Raises:
        ArtefactError: ``root`` is not an artefact.
        MissingExtraError: onnxruntime is not installed.
    """
    artefact = open_artefact(root, int8)
    failed: list[Problem] = []
    predictions = list(predict_files(artefact, track(files, "classifying", len(files)), failed.append))
    if style == "json":
        print(json.dumps(as_json(predictions, failed, artefact.classes, top, artefact.frontend.seconds)))
    elif style == "csv":
        print(as_csv(predictions, artefact.classes), end="")
    elif predictions:
        results.print(as_table(predictions, artefact.classes, top))
    for problem in failed:
        console.print(str(problem), markup=False, soft_wrap=True, style="red")
    return not failed


def as_table(predictions: Sequence[Prediction], classes: Sequence[str], top: int) -> Table:
    """One row a file: its length and the ``top`` classes with their probabilities."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("length", justify="right", no_wrap=True)
    table.add_column("windows", justify="right", no_wrap=True)
    table.add_column("scene")
    for one in predictions:
        best = np.argsort(-one.clip, kind="stable")[:top]
        told = ", ".join(f"{classes[index]} {100 * one.clip[index]:.1f} %" for index in best)
        counted = f"{np.count_nonzero(one.counted) or 1} of {len(one.counted)}"
        table.add_row(escape(str(one.file)), f"{one.duration_s:.1f} s", counted, escape(told))
    return table


def as_json(
    predictions: Sequence[Prediction], failed: Sequence[Problem], classes: Sequence[str], top: int, seconds: float
) -> dict[str, Any]:
    """Scores of each clip and of each window of ``seconds``, in the order of ``classes``, and the files that failed."""
    return {
        "classes": list(classes),
        "window_s": seconds,
        "files": [_file_json(one, classes, top) for one in predictions],
        "failed": [{"file": problem.where, "reason": problem.what} for problem in failed],
    }


def _file_json(one: Prediction, classes: Sequence[str], top: int) -> dict[str, Any]:
    best = np.argsort(-one.clip, kind="stable")[:top]
    return {
        "file": str(one.file),
        "duration_s": round(one.duration_s, 3),
        "label": classes[best[0]],
        "top": [{"label": classes[index], "probability": round(float(one.clip[index]), DIGITS)} for index in best],
        "scores": np.round(one.clip, DIGITS).tolist(),
        "windows": [
            {"start_s": round(float(start), 3), "counted": bool(counted), "scores": np.round(row, DIGITS).tolist()}
            for start, counted, row in zip(one.starts_s, one.counted, one.probabilities, strict=True)
        ],
    }


def as_csv(predictions: Sequence[Prediction], classes: Sequence[str]) -> str:
    """A line for each clip (``part`` is ``clip``) and, after it, one for each of its windows (``part`` is its start in s)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["file", "part", "counted", "label", *classes])
    for one in predictions:
        parts = zip([f"{start:g}" for start in one.starts_s], one.counted, one.probabilities, strict=True)
        for part, counted, scores in [("clip", True, one.clip), *parts]:
            label = classes[int(np.argmax(scores))]
            writer.writerow([str(one.file), part, int(counted), label, *(f"{score:.{DIGITS}f}" for score in scores)])
    return out.getvalue()
