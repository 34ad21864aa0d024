"""Windows: where they lie, which count, and that they are made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch
from support import cut

from asc_search.data.clips import Clips
from asc_search.train.batches import epoch_rows
from asc_search.train.clip_scores import heard, window_count
from asc_search.train.windows import transformed_windows

RATE = 8000


def clips_of(root: Path, sounds: list[np.ndarray]) -> Clips:
    names = tuple(f"{index}.wav" for index in range(len(sounds)))
    for name, samples in zip(names, sounds, strict=True):
        soundfile.write(root / name, samples, RATE, subtype="PCM_16")
    blank = ("",) * len(names)
    return Clips(root, ("one",), names, (0,) * len(names), blank, blank, ("train",) * len(names))


def test_windows_start_every_half_length_and_short_clips_are_repeated() -> None:
    samples = np.arange(20.0)
    np.testing.assert_array_equal(cut(samples, 8, 3), [np.arange(8), np.arange(4, 12), np.arange(8, 16)])
    np.testing.assert_array_equal(cut(np.arange(3.0), 8, 1)[0], [0, 1, 2, 0, 1, 2, 0, 1])
    assert [window_count(duration, 1.0) for duration in (0.2, 1.0, 1.49, 1.5, 5.0)] == [1, 1, 1, 2, 9]


def test_silence_is_neither_learnt_from_nor_scored() -> None:
    level = np.array([-20.0, -30, -90, -90, -90, -50, -30, -120])
    clip_of = np.array([0, 0, 0, 0, 0, 1, 1, 2])
    index = np.array([0, 1, 2, 3, 4, 0, 1, 0])
    audible, scored = heard(level, clip_of, index)
    np.testing.assert_array_equal(audible, [True, True, False, False, False, True, True, True])
    np.testing.assert_array_equal(scored, [True, False, False, False, False, True, False, True])
    audible, scored = heard(np.array([-90.0, -20]), np.array([0, 0]), np.array([0, 1]))
    np.testing.assert_array_equal(scored, [False, True])


def test_values_belong_to_their_clip_and_are_made_once(tmp_path: Path) -> None:
    sounds = [np.full(RATE, 0.1), np.full(2 * RATE, 0.2), np.full(RATE // 2, 0.4)]
    clips, calls = clips_of(tmp_path, sounds), []

    def mean_level(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return x.mean(1, keepdim=True)

    for _ in range(2):
        windows = transformed_windows(tmp_path / "store", clips, RATE, 1.0, mean_level, {"transform": "mean"}, "test")
        np.testing.assert_array_equal(windows.clip_of, [0, 1, 1, 1, 2])
        np.testing.assert_allclose(windows.values[:, 0], [0.1, 0.2, 0.2, 0.2, 0.4], atol=1e-3)
    assert calls == [5]
    store = next((tmp_path / "store").glob("*[0-9a-f].npy"))
    store.write_bytes(store.read_bytes()[:-3])
    windows = transformed_windows(tmp_path / "store", clips, RATE, 1.0, mean_level, {"transform": "mean"}, "test")
    np.testing.assert_allclose(windows.values[:, 0], [0.1, 0.2, 0.2, 0.2, 0.4], atol=1e-3)
    assert calls == [5, 5], "a cut file is made again"


def test_an_epoch_takes_the_asked_crops_of_every_clip(tmp_path: Path) -> None:
    clips = clips_of(tmp_path, [np.full(RATE * length, 0.1) for length in (1, 3, 5)])
    windows = transformed_windows(tmp_path / "store", clips, RATE, 1.0, lambda x: x[:, :1], {"transform": "x"}, "test")
    rows = epoch_rows(windows, 2, np.random.default_rng(0))
    np.testing.assert_array_equal(np.bincount(windows.clip_of[rows]), [2, 2, 2])
    later = np.concatenate([epoch_rows(windows, 2, np.random.default_rng(seed)) for seed in range(40)])
    assert set(later) == set(range(len(windows.clip_of))), "in time every window is heard"
    long_clip = rows[windows.clip_of[rows] == 2]
    assert len(set(long_clip)) == 2
