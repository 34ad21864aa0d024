"""A finished run of one small network, made once, and the artefact exported from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import asc_search

SPACE = """
data: {source: demo, validation_fraction: 0.34}
frontend: {mels: 32, hop: 2000, window: 2048, n_fft: 2048}
network:
  stem: cp
  base: 16
  multiplier: 1.5
  stages:
    - {family: bc_res, depth: 1, stride: "1x2"}
    - {family: cp, depth: 1, expansion: 2.0}
training: {batch: 16, freq_mask: 0, mixstyle_p: 0}
search: {trials: 1, rungs: [1], startup: 1, enqueue: []}
retrain: {epochs: 20, seeds: 1, finalists: 1, references: []}
"""


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, demo_folder: Path) -> Path:
    """The run folder."""
    root = tmp_path_factory.mktemp("deploy")
    (root / "small.yaml").write_text(SPACE)
    done = asc_search(
        "run", root / "small.yaml", "--data", f"folder:{demo_folder}", "--out", root / "run", "--threads", 1
    )
    assert done.returncode == 0, done.stderr
    return root / "run"


@pytest.fixture(scope="session")
def artefact(finished: Path) -> Path:
    """The folder `asc-search export --format onnx` wrote."""
    folder = finished.parent / "artefact"
    done = asc_search("export", finished, "--format", "onnx", "--out", folder, "--int8-tolerance", 5)
    assert done.returncode == 0, done.stderr
    assert "model_waveform_int8.onnx" in done.stdout and "asc-search predict" in done.stderr
    return folder
