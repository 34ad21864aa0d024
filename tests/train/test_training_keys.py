"""Every augmentation that a space can name: what it changes in a training's inputs, and that it changes nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import tone_clips

from asc_search.audio.filterbank_jitter import jittered
from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.logmel import LogMel
from asc_search.data.clips import Clips
from asc_search.errors import AscSearchError
from asc_search.space.candidate import Training
from asc_search.train.features import frontend_windows
from asc_search.train.inputs import Inputs, open_inputs
from asc_search.train.responses import Responses

CPU = torch.device("cpu")
FRONT = FrontEnd(rate_hz=16_000, window=512, hop=250, n_fft=512, mels=40, fmax_hz=7_500)
RAW = replace(FRONT, kind="raw")
STILL = Training(roll_s=0, freq_mask=0, mixstyle_p=0)
COUNT = 64


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return tone_clips(tmp_path_factory.mktemp("tones"), 8, 16_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


def opened(folder: Path, clips: Clips, frontend: FrontEnd = FRONT, **keys: object) -> Inputs:
    return open_inputs(folder, clips, frontend, replace(STILL, **keys), Responses(), CPU)


def heard(inputs: Inputs, seed: int = 0) -> torch.Tensor:
    """``COUNT`` windows, each clip several times."""
    rows = np.arange(COUNT) % len(inputs.windows.values)
    return inputs.batch(rows, 0.0, torch.Generator().manual_seed(seed), CPU)[0]


def changed(
    folder: Path, clips: Clips, frontend: FrontEnd = FRONT, **keys: object
) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows with ``keys``, and the cells in which they differ from those without."""
    out = heard(opened(folder, clips, frontend, **keys))
    return out, out != heard(opened(folder, clips, frontend))


def test_frequency_stripes_are_whole_bands_of_silence(clips: Clips, folder: Path) -> None:
    out, cells = changed(folder, clips, freq_stripes=2, freq_width=3)
    assert torch.equal(cells, cells[..., :1].expand_as(cells))
    assert 0 < cells[:, 0, :, 0].sum(1).max() <= 6
    assert (out[cells] == FRONT.fill).all()


def test_time_stripes_are_whole_frames_of_silence(clips: Clips, folder: Path) -> None:
    out, cells = changed(folder, clips, time_stripes=1, time_mask=5)
    assert torch.equal(cells, cells[:, :, :1].expand_as(cells))
    frames = cells[:, 0, 0]
    assert 0 < frames.sum(1).max() <= 5
    assert frames.int().diff(dim=1).abs().sum(1).max() <= 2, "one stripe a window"
    assert (out[cells] == FRONT.fill).all()


def test_stripes_have_their_probability_and_may_be_of_the_mean(clips: Clips, folder: Path) -> None:
    keys = {"freq_stripes": 3, "freq_width": 20, "fill_mean": True}
    out, cells = changed(folder, clips, **keys, stripes_p=0.5)
    assert 0.3 < cells.flatten(1).any(1).float().mean() < 0.7
    mean = heard(opened(folder, clips)).mean((2, 3), keepdim=True).expand_as(out)
    assert torch.equal(out[cells], mean[cells])
    assert not changed(folder, clips, **keys, stripes_p=0.0)[1].any()


def test_stripes_and_jitter_are_not_for_raw_waveforms(clips: Clips, folder: Path) -> None:
    keys = {"freq_width": 5, "time_mask": 50, "freq_mask": 9, "correction_p": 1.0, "jitter_fmax_hz": 1000}
    assert not changed(folder, clips, RAW, **keys)[1].any()


@pytest.mark.parametrize("others", [{}, {"gain_db": 1e-9}], ids=["frames", "samples"])
def test_a_roll_has_its_probability(clips: Clips, folder: Path, others: dict[str, float]) -> None:
    def share(probability: float) -> float:
        plain = heard(opened(folder, clips, roll_s=0.0, **others))
        rolled = heard(opened(folder, clips, roll_s=1.0, roll_p=probability, **others))
        return ((rolled - plain).abs().amax((1, 2, 3)) > 0.1).float().mean().item()

    assert share(0.0) == 0 and 0.3 < share(0.5) < 0.7 and share(1.0) > 0.9


def test_a_shift_lets_silence_in(clips: Clips, folder: Path) -> None:
    plain = heard(opened(folder, clips, RAW))[:, 0, 0]
    out = heard(opened(folder, clips, RAW, shift_s=0.25, shift_p=0.5))[:, 0, 0]
    moved = 0
    for before, after in zip(plain, out, strict=True):
        if torch.equal(before, after):
            continue
        moved += 1
        sounding = after.nonzero().flatten()
        first, last = int(sounding[0]), int(sounding[-1])
        silent = max(first, 15_999 - last)
        assert 0 < silent <= 4000
        kept = after[first : last + 1]
        start = 0 if first else silent
        assert (kept - before[start : start + len(kept)]).abs().max() < 1e-3
    assert 0.3 < moved / COUNT < 0.7
    assert not changed(folder, clips, RAW, shift_s=0.25, shift_p=0.0)[1].any()


def test_a_gain_has_its_probability(clips: Clips, folder: Path) -> None:
    plain = heard(opened(folder, clips, RAW)).flatten(1).norm(dim=1)
    out = heard(opened(folder, clips, RAW, gain_db=6.0, gain_p=0.5)).flatten(1).norm(dim=1)
    level_db = 20 * (out / plain).log10().abs()
    assert 0.3 < (level_db > 1e-3).float().mean() < 0.7 and level_db.max() <= 6.01


def test_a_stretch_has_its_probability(clips: Clips, folder: Path) -> None:
    cells = changed(folder, clips, RAW, stretch=0.2, stretch_p=0.5)[1]
    assert 0.3 < cells.flatten(1).any(1).float().mean() < 0.7


@pytest.mark.parametrize(
    "keys", [{"stretch": 0.2, "stretch_p": 0}, {"gain_db": 6, "gain_p": 0}, {"shift_s": 0.1, "shift_p": 0}]
)
def test_what_has_no_probability_needs_no_waveforms(clips: Clips, folder: Path, keys: dict[str, float]) -> None:
    inputs = opened(folder, clips, **keys)
    assert inputs.waves is None
    assert torch.equal(heard(inputs), heard(opened(folder, clips)))


def test_one_lambda_mixes_a_whole_batch(clips: Clips, folder: Path) -> None:
    keys = {"mixup_alpha": 0.2, "mixup_full_until": 0.6}
    for one, expected in ((False, COUNT // 2), (True, 1)):
        inputs = opened(folder, clips, **keys, mixup_one_lambda=one)
        _, mix = inputs.batch(np.arange(COUNT) % 8, 0.7, torch.Generator().manual_seed(0), CPU)
        assert mix is not None and len(set(mix.lam[: COUNT // 2].tolist())) == expected
        assert (mix.lam[COUNT // 2 :] == 1).all()


def test_jitter_moves_the_filters_of_a_batch_and_leaves_their_middle_to_evaluation(clips: Clips, folder: Path) -> None:
    waves = torch.from_numpy(frontend_windows(folder, clips, RAW).values[np.arange(8)][:, 0, 0])
    inputs = opened(folder, clips, jitter_fmin_hz=10, jitter_fmax_hz=1000)
    batches = [inputs.batch(np.arange(8), 0.0, torch.Generator().manual_seed(seed), CPU)[0] for seed in range(6)]
    source = torch.Generator().manual_seed(0)
    specs = [jittered(FRONT, 10, 1000, source) for _ in range(32)]
    banks = [LogMel(spec)(waves) for spec in specs]
    used = [next(k for k, bank in enumerate(banks) if torch.equal(bank, batch)) for batch in batches]
    assert len(set(used)) > 2
    assert {7_000 < spec.fmax_hz <= 8_000 and 0 <= spec.fmin_hz < 10 for spec in specs} == {True}
    kept = frontend_windows(folder, clips, FRONT).values
    np.testing.assert_allclose(kept, LogMel(FRONT)(waves).numpy(), rtol=2e-2, atol=2e-2)


def test_jitter_without_room_says_what_to_write(clips: Clips, folder: Path) -> None:
    with pytest.raises(AscSearchError, match=r"training.jitter_fmax_hz: 1000 Hz .* write frontend.fmax_hz: 7500 or"):
        opened(folder, clips, replace(FRONT, fmax_hz=0.0), jitter_fmax_hz=1000)
