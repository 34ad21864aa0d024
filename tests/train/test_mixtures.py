"""Mixtures of windows: who is mixed with whom, what it sounds like, how much of which label, and how often it is heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support import tone_clips

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.logmel import LogMel
from asc_search.data.audio_io import read_mono
from asc_search.nets.plan import mobile
from asc_search.space.candidate import Candidate, Distillation, Training
from asc_search.train.batches import epoch_rows, label_shares
from asc_search.train.candidate import Material, train_candidate
from asc_search.train.fit import device
from asc_search.train.inputs import open_inputs
from asc_search.train.mixtures import Mixtures, draw_mixtures
from asc_search.train.responses import ALL_GENERATED
from asc_search.train.targets import Lesson
from asc_search.train.windows import open_cuts

FRONTEND = FrontEnd(rate_hz=8_000, window=512, n_fft=512, hop=400, mels=16, seconds=0.5)
PLAIN = Training(batch=4, roll_s=0, freq_mask=0, mixstyle_p=0)


def test_every_audible_window_is_mixed_with_those_of_other_clips() -> None:
    clip_of = np.repeat(np.arange(20), 3)
    audible = np.arange(60) % 7 != 0
    mixtures = draw_mixtures(clip_of, audible, seed=1, per_window=50)
    counts = np.bincount(mixtures.first, minlength=60)
    assert (counts == 50 * audible).all()
    assert audible[mixtures.second].all() and (clip_of[mixtures.first] != clip_of[mixtures.second]).all()
    heard = np.bincount(mixtures.second, minlength=60)[audible]
    assert heard.min() > 20 and heard.max() < 90, "partners are drawn evenly"
    assert mixtures.share.min() >= 0.5 and mixtures.share.max() < 1
    assert mixtures.share.mean() == pytest.approx(0.75, abs=0.01)
    again, other = (draw_mixtures(clip_of, audible, seed, 50) for seed in (1, 2))
    assert again.digest == mixtures.digest != other.digest


def test_one_clip_alone_has_nothing_to_be_mixed_with() -> None:
    assert len(draw_mixtures(np.zeros(4, int), np.ones(4, bool), 0)) == 0


@pytest.mark.parametrize("on_waves", [False, True])
def test_a_mixture_is_two_windows_at_one_level_in_their_shares(tmp_path: Path, on_waves: bool) -> None:
    clips = tone_clips(tmp_path, 4, 8_000)
    mixtures = Mixtures(np.array([0, 4]), np.array([7, 11]), np.array([0.8, 0.6], np.float32))
    recipe = Training(batch=4, roll_s=0, freq_mask=0, mixstyle_p=0, gain_db=1e-9 if on_waves else 0)
    inputs = open_inputs(tmp_path, clips, FRONTEND, recipe, ALL_GENERATED, device(), mixtures)
    assert (inputs.waves is not None) == on_waves
    assert len(inputs.windows) == 14 and inputs.windows.unmixed == 12
    x, _ = inputs.batch(np.array([12, 5, 13]), 0.0, torch.Generator(), torch.device("cpu"))

    def window(row: int) -> np.ndarray:
        clip, index = divmod(row, 3)
        return read_mono(tmp_path / clips.files[clip], 8_000)[2000 * index :][:4000]

    def mixture(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
        level = np.sqrt(np.mean(a**2)), np.sqrt(np.mean(b**2))
        return share * a + (1 - share) * level[0] / level[1] * b

    expected = np.stack([mixture(window(0), window(7), 0.8), window(5), mixture(window(4), window(11), 0.6)])
    heard = LogMel(FRONTEND)(torch.from_numpy(expected.astype(np.float32)))
    torch.testing.assert_close(x, heard, rtol=0, atol=0.02)


def test_labels_are_mixed_in_the_same_shares(tmp_path: Path) -> None:
    clips = tone_clips(tmp_path, 4, 8_000)  # labels 0, 0, 1, 1
    mixtures = Mixtures(np.array([0, 4]), np.array([7, 2]), np.array([0.8, 0.6], np.float32))
    cuts = open_cuts(tmp_path / "features", clips, 8_000, 0.5).with_mixtures(mixtures)
    shares = label_shares(cuts, np.array([13, 1, 12, 9]))
    np.testing.assert_allclose(shares, [[1, 0], [1, 0], [0.8, 0.2], [0, 1]], atol=1e-7)


def test_an_epoch_takes_the_wanted_share_of_mixtures_each_for_a_window_of_its_clip(tmp_path: Path) -> None:
    clips = tone_clips(tmp_path, 4, 8_000)
    plain = open_cuts(tmp_path / "features", clips, 8_000, 0.5)
    cuts = plain.with_mixtures(draw_mixtures(plain.clip_of, plain.audible, 0, per_window=3))
    rows = np.concatenate([epoch_rows(cuts, 2, np.random.default_rng(seed), 0.25) for seed in range(200)])
    assert len(rows) == 200 * 8
    assert (rows >= cuts.unmixed).mean() == pytest.approx(0.25, abs=0.04)
    assert (np.bincount(cuts.clip_of[rows]) == 400).all(), "every clip is heard as often as the others"
    assert len(np.unique(rows[rows >= cuts.unmixed])) == len(cuts) - cuts.unmixed
    none = epoch_rows(cuts, 2, np.random.default_rng(0))
    np.testing.assert_array_equal(none, epoch_rows(plain, 2, np.random.default_rng(0)))


def test_a_taught_training_on_mixtures_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    clips = tone_clips(tmp_path, 8, 8_000)
    cuts = open_cuts(tmp_path / "features", clips, 8_000, 0.5)
    mixtures = draw_mixtures(cuts.clip_of, cuts.audible, 0, per_window=2)
    rng = np.random.default_rng(0)
    rows = len(cuts) + len(mixtures)
    lessons = {
        name: Lesson(rng.normal(size=(rows, 2)).astype(np.float16), rng.normal(size=(rows, 6)).astype(np.float16))
        for name in ("one", "two")
    }
    plan = Distillation(("one", "two"), features=0.5, mixed=0.5, average="probabilities")
    candidate = Candidate(FRONTEND, mobile("cp", FRONTEND.shape, 2, 8, 1.5, 2.0), training=PLAIN, distillation=plan)
    material = Material(tmp_path, clips, lessons, mixtures=mixtures)
    whole = train_candidate(candidate, material, tmp_path / "a.safetensors", seed=3, epochs=3)
    train_candidate(candidate, material, tmp_path / "b.safetensors", seed=3, epochs=3, until=1)
    resumed = train_candidate(candidate, material, tmp_path / "b.safetensors", seed=3, epochs=3)
    ours, theirs = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert whole.regressor is not None and whole.regressor.out_features == 12
