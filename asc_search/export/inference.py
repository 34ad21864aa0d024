"""From audio files to the scores of a trained network, as an inference package needs it.

The package of a submission (``inference_package``) holds this file as it stands, so it imports nothing but NumPy, soundfile,
soxr, torch and what is copied with it; a test runs it without asc_search.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from torch import nn

from asc_search.data.int16 import FULL_SCALE, as_int16
from asc_search.train.clip_scores import OVERLAP, heard, level_db, window_count

THREADS = 8
CLIPS_AT_ONCE = 256


class SceneClassifier(nn.Module):
    """A network ``model`` with its weights as they are stored, the ``front`` end before it, and the names of its classes.

    ``spec`` describes the front end. One network serves every device.
    """

    def __init__(self, model: nn.Module, front: nn.Module, spec: Any, classes: Sequence[str]) -> None:
        super().__init__()
        self.model, self.front, self.spec, self.classes = model, front, spec, list(classes)

    def features(self, waves: torch.Tensor) -> torch.Tensor:
        """Windows (n, samples) or (n, channels, samples) -> (n, channel, freq, time) float32, as the network was trained on.

        Log-mels were kept in half precision.
        """
        with torch.inference_mode():
            made = self.front(waves.to(next(self.model.parameters()).device))
            return made if self.spec.kind == "raw" else made.half().float()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(n, channel, freq, time) -> logits (n, classes)."""
        return self.model(features)


def load_weights(network: nn.Module, path: str | Path) -> nn.Module:
    """``network`` with the state_dict in ``path``, in the types it is stored in; nothing pickled is run."""
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), assign=True)
    return network.requires_grad_(False).eval()


def read_windows(path: str | Path, spec: Any) -> torch.Tensor:
    """The windows of a file whose mean is its score: (n, samples), of several channels (n, channels, samples), float32."""
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    if spec.channels == 1:
        samples = samples.mean(axis=1, dtype=np.float32)
    count = window_count(len(samples) / rate_hz, spec.seconds)
    if rate_hz != spec.rate_hz:
        samples = soxr.resample(samples, rate_hz, spec.rate_hz, quality="HQ")
    tracks = np.atleast_2d(samples.T)
    whole, exponent = as_int16(tracks.reshape(-1))
    tracks = whole.reshape(tracks.shape) * np.float32(2.0**exponent / FULL_SCALE)
    length = round(spec.rate_hz * spec.seconds)
    index = np.arange(count)
    rows = index[:, None] * (length // OVERLAP) + np.arange(length)
    windows = tracks.take(rows, axis=1, mode="wrap").swapaxes(0, 1)  # (n, channels, samples)
    level = level_db(windows.reshape(count, -1)).astype(np.float32)
    _, scored = heard(level, np.zeros(count, int), index)
    kept = torch.from_numpy(np.ascontiguousarray(windows[scored]))
    return kept[:, 0] if spec.channels == 1 else kept


def inputs(file_paths: Sequence[str | Path], classifier: SceneClassifier) -> Iterator[torch.Tensor]:
    """What the network hears of each file, in order: (n, channel, freq, time), n = 1 for a clip as long as a window."""
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(file_paths), CLIPS_AT_ONCE):
            some = file_paths[start : start + CLIPS_AT_ONCE]
            windows = list(pool.map(lambda path: read_windows(path, classifier.spec), some))
            counts = [len(each) for each in windows]
            yield from classifier.features(torch.cat(windows)).cpu().split(counts)


def logits(
    file_paths: Sequence[str | Path], classifier: SceneClassifier, device: torch.device
) -> Iterator[torch.Tensor]:
    """The logits (classes,) of each file, in order; of several windows, the logarithm of their mean probability.

    Computed in float32 from the weights as they are stored.
    """
    network = copy.deepcopy(classifier.model).float().to(device)
    held: list[torch.Tensor] = []
    for heard_of_file in inputs(file_paths, classifier):
        held.append(heard_of_file)
        if len(held) == CLIPS_AT_ONCE:
            yield from _scores(held, network, device)
            held = []
    if held:
        yield from _scores(held, network, device)


@torch.inference_mode()
def _scores(held: Sequence[torch.Tensor], network: nn.Module, device: torch.device) -> list[torch.Tensor]:
    made = network(torch.cat(list(held)).to(device)).float().cpu().split([len(each) for each in held])
    return [each[0] if len(each) == 1 else each.softmax(1).mean(0).log() for each in made]
