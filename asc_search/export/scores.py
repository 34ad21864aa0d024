"""Scores of an evaluation set of any size: read once, block by block, for all models at a time, and kept as they come.

Nothing is decoded to disk and no block waits for another, so memory stays as it is however many clips there are. A run that
is killed goes on after the last block it kept.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.frontends import front_end
from asc_search.data import store_files as files
from asc_search.data.clips import Clips
from asc_search.data.int16 import FULL_SCALE
from asc_search.data.store import Store
from asc_search.errors import ExportError, Problem
from asc_search.files import write_atomically
from asc_search.progress import bar, console
from asc_search.train.clip_scores import heard, level_db
from asc_search.train.fit import device
from asc_search.train.model_file import Model
from asc_search.train.predict import predict_clips
from asc_search.train.windows import Cuts, StoredWaves, numbered, save_array, window_counts, with_values

VERSION = 1  # raise when the scores of the same models and clips change
BLOCK = 512  # clips; what a kill costs at most
WINDOWS_AT_ONCE = 64


def evaluation_scores(folder: Path, models: Mapping[str, Model], clips: Clips) -> dict[str, np.ndarray]:
    """Clip probabilities (clips, classes) float32 of each of ``models``, which share one front end, by their names.

    Blocks are kept under ``folder``/evaluation until all are there, then the whole; keyed by the weights and the clips.

    Raises:
        UnreadableAudio: names the file; what was scored before is kept.
        ExportError: the models have different front ends.
    """
    frontends = {model.candidate.frontend for model in models.values()}
    if len(frontends) != 1:
        what = "the models hear through different front ends; please report this"
        raise ExportError("The evaluation clips cannot be scored:", [Problem("models", what)])
    place = folder / "evaluation" / _key(models, clips)
    whole = place / "scores.npy"
    if not whole.exists():
        place.mkdir(parents=True, exist_ok=True)
        _score_blocks(place, list(models.values()), clips, frontends.pop())
        scores = np.concatenate([np.load(path) for path in _paths(place, len(clips))], axis=1)
        write_atomically(whole, lambda aside: save_array(aside, scores))
        shutil.rmtree(place / "blocks")
    return dict(zip(models, np.load(whole), strict=True))


def _key(models: Mapping[str, Model], clips: Clips) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, BLOCK, clips.digest()]).encode())
    for model in models.values():
        digest.update(json.dumps([model.candidate.to_json(), model.classes]).encode())
        for name, value in model.whole.state_dict().items():
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _paths(place: Path, clips: int) -> list[Path]:
    return [place / "blocks" / f"{start:07d}.npy" for start in range(0, clips, BLOCK)]


def _score_blocks(place: Path, models: list[Model], clips: Clips, frontend: FrontEnd) -> None:
    paths = _paths(place, len(clips))
    left = [index for index, path in enumerate(paths) if not path.exists()]
    done = sum(_size(index, clips) for index in range(len(paths)) if index not in set(left))
    if done:
        console.print(f"evaluation: {done:,} of {len(clips):,} clips were scored before", soft_wrap=True)
    networks = [model.whole.to(device()).eval() for model in models]
    front = front_end(frontend).to(device())
    rows = [row for index in left for row in range(index * BLOCK, index * BLOCK + _size(index, clips))]
    with bar() as progress, ThreadPoolExecutor(files.workers()) as pool:
        task = progress.add_task("evaluation clips", total=len(clips), completed=done)
        decoded = files.ahead(pool, lambda row: _decode(clips, row, frontend), rows)
        try:
            for index in left:
                size = _size(index, clips)
                some = clips.take(range(index * BLOCK, index * BLOCK + size))
                store = _store(list(islice(decoded, size)), frontend)
                scores = _scores(networks, front, some, store, frontend)
                write_atomically(paths[index], lambda aside, scores=scores: save_array(aside, scores))
                progress.advance(task, size)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _size(index: int, clips: Clips) -> int:
    return min(BLOCK, len(clips) - index * BLOCK)


def _decode(clips: Clips, row: int, frontend: FrontEnd) -> tuple[np.ndarray, int]:
    def source(name: str) -> files.Source:
        size, at = files.stamp_of(clips.root / name).split(" ")
        return files.Source(clips.root / name, int(size), int(at), "")

    return files.decode((source(clips.files[row]),), frontend.rate_hz, frontend.channels)


def _store(decoded: list[tuple[np.ndarray, int]], frontend: FrontEnd) -> Store:
    """Clips in memory in the form that trainings read, so that a score is what it would be there."""
    lengths = np.asarray([len(samples) // frontend.channels for samples, _ in decoded])
    offsets = np.concatenate([[0], np.cumsum(np.repeat(lengths, frontend.channels))])
    gains = (2.0 ** np.asarray([exponent for _, exponent in decoded]) / FULL_SCALE).astype(np.float32)
    samples = np.concatenate([samples for samples, _ in decoded])
    return Store("evaluation", frontend.rate_hz, frontend.channels, Path(), samples, offsets, gains)


@torch.inference_mode()
def _scores(
    networks: list[torch.nn.Module], front: torch.nn.Module, clips: Clips, store: Store, frontend: FrontEnd
) -> np.ndarray:
    """Probabilities (models, clips, classes) float32 of one block."""
    clip_of, index = numbered(window_counts(clips, frontend.seconds))
    every = np.ones(len(index), bool)
    waves = StoredWaves(store, Cuts(clips, clip_of, index, every, every, None), frontend.samples)
    levels, features = [], []
    for wave in _batches(waves):
        levels.append(level_db(wave.flatten(1).numpy()).astype(np.float32))
        made = front(wave.to(device())).cpu().numpy()
        # log-mels are kept in half precision, raw waveforms are not kept (train.features)
        features.append(made if frontend.kind == "raw" else made.astype("<f2"))
    audible, scored = heard(np.concatenate(levels), clip_of, index)
    windows = with_values(Cuts(clips, clip_of, index, audible, scored, None), np.concatenate(features))
    return np.stack([predict_clips(network, windows, device()) for network in networks]).astype(np.float32)


def _batches(waves: StoredWaves) -> Iterator[torch.Tensor]:
    for start in range(0, len(waves), WINDOWS_AT_ONCE):
        yield waves[np.arange(start, min(start + WINDOWS_AT_ONCE, len(waves)))]
