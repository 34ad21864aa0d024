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
from asc_search.data import memory, store
from asc_search.data.clips import Clips
from asc_search.errors import DataError
from asc_search.space.candidate import Training
from asc_search.train.batches import epoch_batches
from asc_search.train.features import frontend_windows
from asc_search.train.inputs import Inputs, open_inputs
from asc_search.train.mixtures import Mixtures
from asc_search.train.resident import DeviceFeatures, resident_features
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


def sounds(folder: Path, channels: int) -> Clips:
    """Clips of several lengths between half a second and three, one with a silent end."""
    rng, names = np.random.default_rng(1), tuple(f"{i}.wav" for i in range(6))
    for i, name in enumerate(names):
        samples = rng.uniform(-0.4, 0.4, (8_000 * (i + 1), channels))
        samples[20_000:] *= 1e-4 if i == 4 else 1
        soundfile.write(folder / name, samples, 16_000, subtype="PCM_16")
    blank = ("",) * len(names)
    return Clips(folder, ("one", "two"), names, (0, 1) * 3, blank, blank, ("train",) * len(names))


@pytest.mark.parametrize("channels", [1, 2])
def test_waveforms_are_cut_from_the_store_and_not_kept_again(tmp_path: Path, channels: int) -> None:
    clips = sounds(tmp_path, channels)
    frontend = replace(FRONT, channels=channels)
    windows = opened(clips, tmp_path / "run", replace(STILL, gain_db=3.0), frontend).windows
    cuts, levels = [], []
    for row, name in enumerate(clips.files):
        samples = soundfile.read(clips.root / name, dtype="float32", always_2d=True)[0].T
        for start in range(0, max(samples.shape[1] - 16_000, 0) + 1, 8_000):
            cut = samples[:, (start + np.arange(16_000)) % samples.shape[1]]
            cuts.append((row, cut if channels > 1 else cut[0]))
            levels.append(10 * np.log10(np.square(cut.astype(np.float64)).mean() + 1e-12))
    np.testing.assert_array_equal(windows.clip_of, [row for row, _ in cuts])
    rows = np.random.default_rng(0).permutation(len(cuts))
    np.testing.assert_array_equal(windows.values[rows].numpy(), np.stack([cuts[row][1] for row in rows]))
    loudest = [max(level for level, (row, _) in zip(levels, cuts, strict=True) if row == clip) for clip in range(6)]
    audible = [level >= loudest[row] - 40 for level, (row, _) in zip(levels, cuts, strict=True)]
    np.testing.assert_array_equal(windows.audible, audible)
    assert 0 < np.sum(~windows.audible) < 4
    kept = frontend_windows(tmp_path / "run", clips, frontend)  # the same windows count where features are kept
    for mine, theirs in ((windows.audible, kept.audible), (windows.scored, kept.scored), (windows.index, kept.index)):
        np.testing.assert_array_equal(mine, theirs)
    audio = sum(path.stat().st_size for path in (tmp_path / "run" / "audio").glob("*/samples.i16"))
    assert audio == 2 * channels * 8_000 * 21
    made = frontend.shape[0] * frontend.shape[1] * frontend.shape[2] * 2 * len(windows)
    others = sum(path.stat().st_size for path in (tmp_path / "run" / "features").iterdir())
    assert others < made + 3_000, "beside the kept features there are levels and notes alone"


@pytest.mark.parametrize("frontend", [FRONT, replace(FRONT, channels=2), replace(FRONT, kind="raw", channels=2)])
def test_a_store_on_the_device_gives_the_same_batches(tmp_path: Path, frontend: FrontEnd) -> None:
    """On the CPU as the device; CUDA goes the same way."""
    clips = sounds(tmp_path, frontend.channels)
    recipe = Training(batch=4, response_p=0.5, stretch=0.1, gain_db=6, time_mask=5)
    inputs = opened(clips, tmp_path, recipe, frontend)
    store = inputs.windows.values.store
    moved = replace(inputs.windows.values, store=store.to_device("cpu"))
    on_device = replace(inputs, windows=replace(inputs.windows, values=moved))
    batch = heard(inputs)
    assert batch.shape[1:] == frontend.shape and torch.isfinite(batch).all()
    assert torch.equal(batch, heard(on_device))


def test_the_audio_is_held_once_for_all_trials(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = replace(STILL, gain_db=1.0)
    first, again = (opened(clips, tmp_path, recipe).windows.values.store for _ in range(2))
    assert first is again and not isinstance(first.samples.base, np.memmap)
    assert capsys.readouterr().err.count("go into memory") == 1
    monkeypatch.setattr(store, "free_bytes", lambda: 1_000)
    mapped = opened(clips, tmp_path / "other", recipe).windows.values.store
    assert isinstance(mapped.samples.base, np.memmap)
    assert "memory-mapped" in capsys.readouterr().err
    assert np.array_equal(mapped.samples, first.samples)


def test_two_ears_reach_the_front_end_as_two_channels(tmp_path: Path) -> None:
    clips = sounds(tmp_path, 2)
    both = frontend_windows(tmp_path, clips, replace(FRONT, channels=2)).values
    assert both.shape[1:] == (2, *FRONT.shape[1:])
    for row, name in ((0, "0.wav"), (len(both) - 1, "5.wav")):
        samples = soundfile.read(clips.root / name, dtype="float32")[0].T
        window = samples[:, np.arange(-16_000, 0) % samples.shape[1]]
        alone = [front_end(FRONT)(torch.from_numpy(ear.copy())[None])[0, 0].numpy() for ear in window]
        np.testing.assert_allclose(both[row], alone, rtol=2e-2, atol=2e-2)
    raw = frontend_windows(tmp_path, clips, replace(FRONT, kind="raw", channels=2, scale=3.0))
    samples = soundfile.read(clips.root / "1.wav", dtype="float32")[0].T
    np.testing.assert_allclose(raw.values[np.array([1])][0, :, 0], 3 * samples, rtol=1e-6)


def test_features_go_to_a_device_in_blocks_and_are_held_for_all_trials(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    windows = frontend_windows(tmp_path, clips, FRONT, Mixtures(np.array([0]), np.array([5]), np.array([0.7])))
    kept = np.asarray(windows.values[np.arange(len(windows))])
    monkeypatch.setattr(memory, "BLOCK", 3 * kept[0].nbytes)
    held = DeviceFeatures(memory.on_device(windows.values, torch.device("cpu"), "features"))
    rows = np.array([len(windows) - 1, 2, 2, 7])
    assert held.all.dtype == torch.float16 and len(held) == len(windows)
    assert np.array_equal(held.all.numpy(), kept) and np.array_equal(held[rows].numpy(), kept[rows])
    assert resident_features(windows, "a", torch.device("cpu")) is windows
    there = torch.device("meta")
    first, again, other = (resident_features(windows, name, there) for name in "aab")
    assert first is again is not other and first.values.all.device == there
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (kept.nbytes, 10 * kept.nbytes))
    capsys.readouterr()
    assert resident_features(windows, "a", torch.device("cuda")) is windows
    assert f"features, {memory.size(kept.nbytes)}, stay off the GPU" in capsys.readouterr().err
