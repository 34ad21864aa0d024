"""Test-time augmentation: scores averaged over passes of a clip through random device responses (GZHU 2023, submissions 2, 4).

An option of the evaluation, beside the accuracies that count: it chooses nothing, and its MACs are those of all passes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from asc_search.audio.device_ir import convolved
from asc_search.audio.frontends import front_end
from asc_search.data.clips import Clips
from asc_search.files import read_json, write_json
from asc_search.study.int8 import by_group
from asc_search.study.objective import network_as_stored
from asc_search.study.seeds import derived_seed
from asc_search.train.band_path import raw, waveforms_of
from asc_search.train.features import frontend_windows
from asc_search.train.fit import device
from asc_search.train.metrics import Metrics, evaluate
from asc_search.train.model_file import Model, load_model
from asc_search.train.predict import predict_clips
from asc_search.train.windows import Windows


@dataclass(frozen=True)
class _Through:
    """Windows (windows, channel, freq, time) of waveforms heard through one of ``responses`` (count, taps) each."""

    waves: Windows
    front: nn.Module
    responses: torch.Tensor
    choice: np.ndarray

    def __len__(self) -> int:
        return len(self.choice)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        heard = convolved(waveforms_of(self.waves, rows), self.responses[self.choice[rows]], "range")
        return self.front(heard).numpy()


def averaged(model: Model, folder: Path, clips: Clips, responses: torch.Tensor, passes: int) -> np.ndarray:
    """Clip probabilities (clips, classes) of ``model`` as stored: the mean over ``passes``, in each of which every clip is heard
    through one of ``responses`` (count, taps) drawn at random, its range kept.
    """
    frontend = model.candidate.frontend
    network = network_as_stored(model)
    waves, front = frontend_windows(folder, clips, raw(frontend)), front_end(frontend)
    total = np.zeros((len(clips), len(model.classes)))
    for number in range(passes):
        rng = np.random.default_rng(derived_seed("test-time augmentation", number))
        choice = rng.integers(len(responses), size=len(clips))[waves.clip_of]
        heard = replace(waves, values=_Through(waves, front, responses, choice))
        total += predict_clips(network, heard, device())
    return total / passes


def measure_averaged(
    models: Sequence[Path],
    splits: dict[str, Clips],
    folder: Path,
    responses: torch.Tensor,
    passes: int,
    seen_devices: Collection[str],
) -> dict[str, dict[str, list[float | None]]]:
    """Accuracies of the stored ``models`` (files, one for each seed) with test-time augmentation, by split and group of devices
    as ``study.int8`` has them; read once, then kept beside each model.
    """
    found: dict[str, list[dict[str, Any]]] = {split: [] for split in splits}
    for path in models:
        note = path.with_name(f"tta-{passes}.json")
        known = read_json(note)
        if known is None:
            model, known = load_model(path), {}
            for split, clips in splits.items():
                scores = averaged(model, folder, clips, responses, passes)
                metrics: Metrics = evaluate(scores, clips.label_array(), clips.classes, clips.devices, seen_devices)
                known[split] = metrics.to_json()
            write_json(note, known)
        for split in splits:
            found[split].append(known[split])
    return {split: by_group(metrics) for split, metrics in found.items()}
