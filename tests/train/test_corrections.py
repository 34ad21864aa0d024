"""Spectrum correction in a training: learnt from its own parallel recordings alone, and heard on device a alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import TINY_SPACE, asc_search, tone_clips

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.logmel import LogMel, finished
from asc_search.data.audio_io import read_mono, write_wav
from asc_search.data.clips import Clips
from asc_search.errors import DataError
from asc_search.space.candidate import Training
from asc_search.train.inputs import Inputs, open_inputs
from asc_search.train.responses import Responses

CPU = torch.device("cpu")
FRONT = FrontEnd(rate_hz=16_000, window=512, hop=250, n_fft=512, mels=40, log="log10")
CORRECTED = Training(roll_s=0, freq_mask=0, mixstyle_p=0, correction_p=1.0)
NAMES = ("0-0-a", "0-0-b", "0-0-s1", "1-1-a", "1-1-b", "1-2-a", "2-3-a", "2-3-b")
PAIRS = ((0, 1), (0, 2), (3, 4))


def parallel_clips(folder: Path) -> Clips:
    """Seconds of noise on devices a, b and s1, of which the last two are for validation."""
    rng, files = np.random.default_rng(0), tuple(f"park-rowanby-{name}.wav" for name in NAMES)
    devices = tuple(name.rpartition("-")[2] for name in NAMES)
    for name, device in zip(files, devices, strict=True):
        level = {"a": 0.1, "b": 0.05, "s1": 0.2}[device]
        write_wav(folder / name, (level * rng.standard_normal(16_000)).astype(np.float32), 16_000)
    places = tuple(f"rowanby-{name[0]}" for name in NAMES)
    splits = ("train",) * 6 + ("validation",) * 2
    return Clips(folder, ("park",), files, (0,) * 8, devices, places, splits)


def opened(folder: Path, clips: Clips, frontend: FrontEnd = FRONT, **keys: object) -> Inputs:
    return open_inputs(
        folder, clips.split("train"), frontend, replace(CORRECTED, **keys), Responses(devices=("none",)), CPU
    )


def heard(inputs: Inputs, seed: int = 0) -> torch.Tensor:
    return inputs.batch(np.arange(6), 0.0, torch.Generator().manual_seed(seed), CPU)[0]


def log_mels(clips: Clips) -> torch.Tensor:
    waves = np.stack([read_mono(clips.root / file, 16_000) for file in clips.files])
    return LogMel(FRONT).bare(torch.from_numpy(waves))


def differences(clips: Clips) -> np.ndarray:
    power = 10 ** log_mels(clips)[:, 0].double().numpy() - 1e-5
    mean = np.log10(power.mean(2) + 1e-5)
    return np.stack([mean[other] - mean[row] for row, other in PAIRS])


@pytest.mark.parametrize("others", [{}, {"gain_db": 1e-9}], ids=["kept", "waveforms"])
def test_windows_of_device_a_alone_get_a_difference_of_the_training_part(
    tmp_path: Path, others: dict[str, float]
) -> None:
    clips = parallel_clips(tmp_path)
    bank = differences(clips)
    plain, seen = log_mels(clips)[:6], set()
    for seed in range(12):
        added = (heard(opened(tmp_path / "kept", clips, **others), seed) - plain)[:, 0].numpy()
        for one, device in zip(added, clips.devices, strict=False):
            if device != "a":
                assert np.abs(one).max() < 5e-3
                continue
            distance = np.abs(one[None] - bank[:, :, None]).max((1, 2))
            assert distance.min() < 1e-2, "one of the differences, constant over time"
            seen.add(int(distance.argmin()))
    assert seen == {0, 1, 2}


def test_it_comes_before_deltas_and_standardisation_and_has_its_probability(tmp_path: Path) -> None:
    clips = parallel_clips(tmp_path)
    front = replace(FRONT, deltas=True, standardise="sample")
    plain = finished(log_mels(clips)[:6], front)
    got = torch.stack([heard(opened(tmp_path / "kept", clips, front, correction_p=0.5), seed) for seed in range(40)])
    assert got.shape[1:] == (6, *front.shape)
    moved = (got - plain).abs().amax((2, 3, 4)) > 0.1
    assert not moved[:, [1, 2, 4]].any() and 0.3 < moved[:, [0, 3, 5]].float().mean() < 0.7
    torch.testing.assert_close(got.mean((3, 4)), torch.zeros(40, 6, 2), atol=1e-3, rtol=0)


def test_a_batch_may_share_one_correction(tmp_path: Path) -> None:
    clips = parallel_clips(tmp_path)
    inputs = opened(tmp_path / "kept", clips, correction_per_batch=True, correction_p=0.7)
    plain, kinds = log_mels(clips)[:6], set()
    for seed in range(20):
        added = (heard(inputs, seed) - plain)[[0, 3, 5], 0].mean(2)
        assert (added - added[:1]).abs().max() < 1e-2
        kinds.add(round(added[0, 0].item(), 1))
    assert len(kinds) > 2 and 0 in kinds


def test_a_poisoned_validation_clip_changes_nothing(tmp_path: Path) -> None:
    clips = parallel_clips(tmp_path)
    before = opened(tmp_path / "one", clips).corrections
    for name in clips.split("validation").files:
        write_wav(tmp_path / name, np.full(16_000, 0.9, np.float32) * np.sign(np.arange(16_000) % 7 - 3), 16_000)
    after = opened(tmp_path / "two", clips).corrections
    assert before is not None and after is not None and torch.equal(before.bank, after.bank)
    assert before.bank.shape == (3, 40)
    write_wav(tmp_path / clips.files[1], np.zeros(16_000, np.float32), 16_000)
    poisoned = opened(tmp_path / "three", clips).corrections
    assert poisoned is not None and not torch.equal(poisoned.bank, before.bank)


def test_data_without_parallel_recordings_are_told(tmp_path: Path, demo_folder: Path) -> None:
    clips = tone_clips(tmp_path, 4, 16_000)
    with pytest.raises(DataError, match=r"training.correction_p.*\n.*no clip of device a.*2 of a, 2 of b") as caught:
        opened(tmp_path / "kept", clips)
    assert "Write correction_p: 0, or use data with parallel recordings" in str(caught.value)
    space = tmp_path / "space.yaml"
    text = TINY_SPACE.replace("source: demo", f'source: "folder:{demo_folder}"')
    space.write_text(text.replace("training: {", "training: {correction_p: {float: [0, 0.9]}, "))
    run = asc_search("run", space, "--out", tmp_path / "run")
    assert run.returncode != 0 and "training.correction_p" in run.stderr and "Traceback" not in run.stderr
    assert "teacher" not in run.stderr.lower(), "before anything is trained"
