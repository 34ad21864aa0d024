"""Test-time augmentation: the mean over passes of what SciPy makes of a clip heard through a response."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve
from scipy.special import softmax
from support import tone_clips

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.frontends import front_end
from asc_search.compress.weights import stored_state
from asc_search.data.audio_io import read_mono
from asc_search.data.clips import Clips
from asc_search.files import read_json
from asc_search.nets.network import build
from asc_search.nets.plan import mobile
from asc_search.space.candidate import Candidate
from asc_search.study.objective import measure
from asc_search.study.tta import averaged, measure_averaged
from asc_search.train.metrics import evaluate
from asc_search.train.model_file import Model, save_model

RATE = 8_000
FRONTEND = FrontEnd(rate_hz=RATE, window=512, n_fft=512, hop=400, mels=16)


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    return tone_clips(tmp_path, 6, RATE)


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    candidate = Candidate(FRONTEND, mobile("cp", FRONTEND.shape, 2, 8, 1.5, 2.0), weight_type="fp32")
    return Model(candidate, ("one", "two"), build(candidate.network).eval(), None)


def expected(model: Model, clips: Clips, response: np.ndarray) -> np.ndarray:
    """Clip probabilities of 1-s clips through ``response``, by SciPy and NumPy."""
    scores = []
    for file in clips.files:
        wave = read_mono(clips.root / file, RATE).astype(np.float64)
        heard = fftconvolve(wave, response)[: len(wave)]
        heard *= np.ptp(wave) / np.ptp(heard)
        with torch.no_grad():
            features = front_end(FRONTEND)(torch.from_numpy(heard[None].astype(np.float32)))
            scores.append(softmax(model.network(features)[0].double().numpy()))
    return np.stack(scores)


def test_a_clip_is_heard_through_the_response_and_scores_are_averaged(
    model: Model, clips: Clips, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    bank = rng.standard_normal((2, 200)) * np.exp(-np.arange(200) / 20)
    one, two = (expected(model, clips, response) for response in bank)
    assert np.abs(one - two).max() > 1e-3, "responses that matter"
    responses = torch.from_numpy(bank.astype(np.float32))
    assert np.allclose(averaged(model, tmp_path, clips, responses[:1], 3), one, atol=2e-4)
    # Of both, a clip's score is a mean of k times the one and the rest the other, and not the same k for all clips.
    found = averaged(model, tmp_path, clips, responses, 4)
    shares = ((found - two) / (one - two))[:, 0]
    assert np.allclose(shares * 4, np.round(shares * 4), atol=0.1) and len(set(np.round(shares * 4))) > 1


def test_accuracies_are_kept_beside_the_model(model: Model, clips: Clips, tmp_path: Path) -> None:
    path = tmp_path / "seed" / "model.safetensors"
    path.parent.mkdir()
    save_model(path, stored_state(model.network, "fp32"), model)
    found = measure_averaged([path, path], {"test": clips}, tmp_path, torch.eye(1, 50), 2, {"a"})
    plain = measure(model, tmp_path, clips, {"a"})
    assert found["test"]["all"] == [plain.accuracy] * 2, "a response that changes nothing"
    assert found["test"]["unseen"] == [plain.groups["unseen"]["accuracy"]] * 2
    scores = np.mean([expected(model, clips, np.eye(1, 50)[0])], axis=0)
    metrics = evaluate(scores, clips.label_array(), clips.classes, clips.devices, {"a"})
    assert read_json(path.with_name("tta-2.json"))["test"]["accuracy"] == metrics.accuracy
