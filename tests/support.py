"""What several tests use: where the shared data lies, a tiny space, and the command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from asc_search.data.audio_io import write_wav
from asc_search.data.clips import Clips
from asc_search.nets.spec import Scalar
from asc_search.space.candidate import Candidate
from asc_search.space.columns import draw_columns, recorded
from asc_search.space.draw import FixedSuggest, draw
from asc_search.space.space import Space

GPUS = {key: os.environ[key] for key in ("CUDA_VISIBLE_DEVICES",) if key in os.environ}  # as the person has it
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # tests run on the CPU, where trainings repeat to the bit

SHARED = Path(__file__).resolve().parents[1].parent / "shared"

TINY_SPACE = """
data: {source: demo, validation_fraction: 0.34}
frontend: {mels: 32, hop: 2000, window: 2048, n_fft: 2048}
network:
  stem: cp
  base: {int: [8, 64], step: 8}
  multiplier: 1.5
  stages:
    - {family: {choice: [cp, sscp]}, depth: 1, stride: "1x2", expansion: {float: [1.5, 3]}}
    - {family: {choice: [cp, sscp]}, depth: 1, expansion: 2.0}
pruning: {ratio: {choice: [0, 0.5]}}
distillation:
  temperature: {float: [1, 4]}
  weight: 0.2
  teachers: {subset_of: [one, two], min: 1}
  pool:
    one: {kind: network, family: cp, base: 16, multiplier: 1.5, expansion: 2, epochs: 2, lr: 0.005}
    two: {kind: network, family: sscp, base: 16, multiplier: 1.5, expansion: 2, epochs: 2, lr: 0.005}
training: {batch: 16, freq_mask: 4}
budget: {macs: 400_000}
search: {trials: 4, rungs: [1, 2], startup: 2, enqueue: []}
retrain: {epochs: 2, seeds: 2, finalists: 3, references: [], undistilled: true, dense_twins: true, tta: 2}
"""


def points(space: Space, seed: int, count: int, classes: int = 10) -> Iterator[tuple[Candidate, dict[str, Scalar]]]:
    """``count`` random points of ``space``: candidate and what was drawn for it."""
    columns = draw_columns(space, np.random.default_rng(seed), count)
    for index in range(count):
        params = recorded(space, columns, index)
        yield draw(space, FixedSuggest(params), classes), params


def noise_db(found: np.ndarray, expected: np.ndarray) -> float:
    """Power of what ``found`` is off by over that of ``expected``, in dB; equal arrays have -300 or less."""
    return float(10 * np.log10(np.square(found - expected).mean() / np.square(expected).mean() + 1e-30))


def asc_search(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line and wait for it."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=ENVIRONMENT, cwd=cwd, timeout=280)


def command(*arguments: object) -> list[str]:
    """The command line as a list for ``subprocess``."""
    return [sys.executable, "-m", "asc_search", *map(str, arguments)]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", "TERM": "dumb"}


def tone_clips(folder: Path, count: int, rate_hz: int) -> Clips:
    """``count`` seconds of noisy tones as wav files, of two classes and the devices a and b in turn."""
    rng = np.random.default_rng(0)
    time = np.arange(rate_hz) / rate_hz
    for index in range(count):
        tone = 0.3 * np.sin(2 * np.pi * 200 * (index + 1) * time) + 0.05 * rng.standard_normal(rate_hz)
        write_wav(folder / f"{index}.wav", tone.astype(np.float32), rate_hz)
    files = tuple(f"{index}.wav" for index in range(count))
    labels, devices = tuple(index // 2 % 2 for index in range(count)), tuple("ab"[index % 2] for index in range(count))
    return Clips(folder, ("one", "two"), files, labels, devices, ("",) * count, ("train",) * count)


def cut(samples: np.ndarray, length: int, count: int) -> np.ndarray:
    """``count`` windows of ``length`` samples, each half a window on; the clip is repeated where it is too short."""
    step = length // 2
    filled = np.resize(samples, max(len(samples), length + step * (count - 1)))
    return np.stack([filled[i * step : i * step + length] for i in range(count)])
