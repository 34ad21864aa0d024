"""What a training hears: kept features and waveforms agree, augmentations reach the clips they are meant for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import fftconvolve
from support import tone_clips

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.frontends import front_end
from asc_search.data.clips import Clips
from asc_search.errors import DataError
from asc_search.space.candidate import Training
from asc_search.train.batches import epoch_batches
from asc_search.train.features import frontend_windows
from asc_search.train.inputs import Inputs, open_inputs
from asc_search.train.responses import TAPS_S, Responses

CPU = torch.device("cpu")
FRONT = FrontEnd(rate_hz=16_000, window=512, hop=250, n_fft=512, mels=40)
STILL = Training(roll_s=0, freq_mask=0, mixstyle_p=0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return tone_clips(tmp_path_factory.mktemp("tones"), 8, 16_000)


def opened(clips: Clips, folder: Path, training: Training, frontend: FrontEnd = FRONT, **given: object) -> Inputs:
    return open_inputs(folder, clips, frontend, training, Responses(**given), CPU)


def heard(inputs: Inputs, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return inputs.batch(np.arange(len(inputs.windows)), 0.0, generator, CPU)[0]


@pytest.mark.parametrize(
    "frontend", [FRONT, replace(FRONT, deltas=True, standardise="sample"), replace(FRONT, kind="raw")]
)
def test_waveforms_and_kept_features_are_the_same_input(clips: Clips, tmp_path: Path, frontend: FrontEnd) -> None:
    kept = torch.as_tensor(frontend_windows(tmp_path, clips, frontend).values[np.arange(len(clips))]).float()
    on_waves = opened(clips, tmp_path, replace(STILL, gain_db=1e-9), frontend)
    assert on_waves.waves is not None
    assert tuple(kept.shape[1:]) == frontend.shape
    torch.testing.assert_close(heard(on_waves), kept, rtol=2e-2, atol=2e-2)


def test_responses_reach_the_named_devices_alone(clips: Clips, tmp_path: Path) -> None:
    plain = heard(opened(clips, tmp_path, STILL))
    recipe = replace(STILL, response_p=1.0)
    coloured = heard(opened(clips, tmp_path, recipe, devices=("a",)))
    changed = (coloured - plain).abs().amax((1, 2, 3)) > 0.5
    assert changed.tolist() == [device == "a" for device in clips.devices]
    assert (heard(opened(clips, tmp_path, recipe)) - plain).abs().amax((1, 2, 3)).min() > 0.5


def test_a_response_is_a_convolution(clips: Clips, tmp_path: Path) -> None:
    inputs = opened(clips, tmp_path, replace(STILL, response_p=1.0), replace(FRONT, kind="raw"))
    waves = inputs.windows.values[np.arange(len(clips))].double().numpy()
    bank = Responses().at(16_000).double().numpy()
    assert bank.shape[1] == TAPS_S * 16_000
    for one, wave in zip(heard(inputs)[:, 0, 0].double().numpy(), waves, strict=True):
        could_be = [fftconvolve(wave, response)[: len(wave)] for response in bank]
        assert min(np.abs(one - other).max() for other in could_be) < 1e-3


def test_batches_derive_from_seed_and_epoch_alone(clips: Clips, tmp_path: Path) -> None:
    recipe = Training(batch=4, response_p=0.5, stretch=0.1, gain_db=6, time_mask=5, mixup_alpha=0.3)
    inputs = opened(clips, tmp_path, recipe)

    def epoch(seed: int, number: int) -> torch.Tensor:
        return torch.cat([batch.x for batch in epoch_batches(inputs, None, recipe, seed, number, 3, CPU)])

    assert torch.equal(epoch(0, 1), epoch(0, 1))
    assert not torch.equal(epoch(0, 1), epoch(0, 2))
    assert not torch.equal(epoch(0, 1), epoch(1, 1))
    assert torch.isfinite(epoch(0, 0)).all()


def test_kept_windows_are_never_augmented(clips: Clips, tmp_path: Path) -> None:
    inputs = opened(clips, tmp_path, Training(time_mask=9))
    before = np.array(inputs.windows.values)
    heard(inputs)
    assert np.array_equal(before, inputs.windows.values)
    audio = np.stack([soundfile.read(clips.root / name, dtype="float32")[0] for name in clips.files])
    expected = front_end(FRONT)(torch.from_numpy(audio))
    np.testing.assert_allclose(before, expected.numpy(), rtol=2e-2, atol=2e-2)


def test_a_folder_without_responses_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: is not a folder"):
        Responses(str(tmp_path / "nowhere")).at(16_000)
