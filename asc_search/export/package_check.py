"""An inference package is written and run as the organisers will run it, before it is left there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from asc_search.data.clips import Clips
from asc_search.errors import ExportError, Problem
from asc_search.export.inference_package import team_module, write_package
from asc_search.export.submission import Complexity
from asc_search.study.retrain import Finalist
from asc_search.train.model_file import Model

SOME_CLIPS = 64
TOLERANCE = 1e-5  # of a probability
# Runs where asc_search cannot be imported; calls the four functions as evaluate_submission.py and test_complexity.py do.
PROBE = """
import importlib, json, sys
sys.modules["asc_search"] = None
name, files = sys.argv[1], json.load(sys.stdin)
api = importlib.import_module(name)
model, devices = api.load_model(), ["a", "b", "c", *(f"s{i}" for i in range(1, 11)), "unknown"]
spread = [devices[index % len(devices)] for index in range(len(files))]
logits, classes = api.predict(file_paths=files, device_ids=spread, model_file_path=None, use_cuda=False)
sizes = {id_: sum(p.numel() * p.element_size() for p in api.get_model_for_device(model, id_).parameters()) for id_ in devices}
shapes = [list(one.shape) for one in api.load_inputs(files[:2], spread[:2], model)]
print(json.dumps({"scores": [one.softmax(0).tolist() for one in logits], "classes": classes, "sizes": sizes, "shapes": shapes}))
"""


def check_package(
    folder: Path,
    label: str,
    model: Model,
    complexity: Complexity,
    test: Clips,
    finalist: Finalist,
    clips: Clips,
    scores: np.ndarray,
) -> None:
    """Write the inference package of ``model`` to ``folder``, and hold what it answers against ``scores`` of ``clips``.

    Raises:
        ExportError: it cannot be written, does not run alone, or answers otherwise; then nothing is left.
    """
    said = f"{finalist.name} of a search with asc-search, {finalist.candidate.describe()}"
    with tempfile.TemporaryDirectory() as name:
        trial = Path(name) / "package"
        write_package(trial, label, model, complexity, test, said)
        problems = package_problems(trial, label, complexity, clips, scores)
    if problems:
        raise ExportError(
            "The inference package is not the network, it was not written (please report this):", problems
        )
    write_package(folder, label, model, complexity, test, said)


def package_problems(
    folder: Path, label: str, complexity: Complexity, clips: Clips, scores: np.ndarray
) -> list[Problem]:
    """Run the package in ``folder`` on some of ``clips``, in a process that cannot import asc_search."""
    some = np.linspace(0, len(clips) - 1, min(SOME_CLIPS, len(clips))).round().astype(int)
    files = [str((clips.root / clips.files[row]).resolve()) for row in some]
    module = f"{team_module(label)}.{label.replace('-', '_')}"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, module],
        input=json.dumps(files),
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return [Problem(str(folder), f"does not run alone: {last}")]
    answer = json.loads(done.stdout.splitlines()[-1])
    problems = []
    if answer["classes"] != list(clips.classes):
        problems.append(Problem(str(folder), f"names the classes {answer['classes']}"))
    far = np.abs(np.asarray(answer["scores"]) - scores[some]).max()
    if not far <= TOLERANCE:
        problems.append(Problem(str(folder), f"its probabilities differ by up to {far:.2g}, more than {TOLERANCE:g}"))
    sizes = set(answer["sizes"].values())
    if sizes != {complexity.weight_bytes}:
        problems.append(Problem(str(folder), f"its parameters take {sizes} bytes, not {complexity.weight_bytes:,}"))
    return problems
