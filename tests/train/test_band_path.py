"""The fast path of device responses in a training: who takes it is measured, the others are convolved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import tone_clips

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.data.audio_io import write_wav
from asc_search.data.clips import Clips
from asc_search.space.candidate import Training
from asc_search.train.inputs import Inputs, open_inputs
from asc_search.train.responses import Responses

CPU = torch.device("cpu")
FRONT = FrontEnd(rate_hz=16_000, window=1536, hop=250, n_fft=2048, mels=40)
STILL = Training(roll_s=0, freq_mask=0, mixstyle_p=0, response_p=0.8)
DB = 10 / np.log(10)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return tone_clips(tmp_path_factory.mktemp("tones"), 40, 16_000)


@pytest.fixture(scope="module")
def responses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short response, and a room of a quarter of a second."""
    folder = tmp_path_factory.mktemp("responses")
    write_wav(folder / "a_short.wav", np.array([0.5, -0.2], np.float32), 16_000)
    tail = np.random.default_rng(0).standard_normal(4000) * np.exp(-np.arange(4000) / 1500)
    write_wav(folder / "b_room.wav", (0.1 * tail).astype(np.float32), 16_000)
    return folder


def opened(folder: Path, clips: Clips, responses: object, frontend: FrontEnd = FRONT, **keys: object) -> Inputs:
    return open_inputs(folder, clips, frontend, replace(STILL, **keys), Responses(str(responses), ("a",)), CPU)


def heard(inputs: Inputs) -> torch.Tensor:
    rows = np.arange(len(inputs.windows.values))
    return inputs.batch(rows, 0.0, torch.Generator().manual_seed(1), CPU)[0]


@pytest.mark.parametrize("frontend", [FRONT, replace(FRONT, log="log10", standardise="sample", deltas=True)])
def test_short_responses_are_gains_and_long_ones_convolved(
    clips: Clips, responses: Path, tmp_path: Path, frontend: FrontEnd
) -> None:
    fast = opened(tmp_path, clips, responses, frontend)
    exact = opened(tmp_path, clips, responses, frontend, response_path="exact")
    plain = heard(opened(tmp_path, clips, responses, frontend, response_p=0.0))
    assert fast.waves is None and fast.responses is not None and fast.responses.quick.tolist() == [True, False]
    assert exact.waves is not None and exact.responses is None
    got, wanted = heard(fast), heard(exact)
    touched = (wanted - plain).abs().amax((1, 2, 3)) > 0.1
    assert 10 < touched.sum() < 20 and not touched[1::2].any(), "device a alone"
    assert (got[~touched] - plain[~touched]).abs().max() < 0.02, "kept as they are"
    if frontend != FRONT:
        return
    error_db = (got - wanted)[touched].abs().flatten(1) * DB
    q95 = error_db.quantile(0.95, dim=1)
    convolved = error_db.amax(1) < 0.2
    assert 2 < convolved.sum() < len(convolved) - 2, "some were short, some convolved"
    assert (q95[~convolved] < 1.5).all() and q95[~convolved].median() < 1


def test_the_choice_is_told_once(
    clips: Clips, responses: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(tmp_path, clips, responses)
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("device responses")]
    assert told == [
        "device responses: 1 of 2 are gains on kept log-mels (95 % of the error below 1 dB on 24 training windows), "
        "the others by convolution"
    ]
    opened(tmp_path, clips, responses)
    assert "device responses" not in capsys.readouterr().err


def test_waveforms_are_used_where_gains_cannot_stand_for_it(clips: Clips, responses: Path, tmp_path: Path) -> None:
    for keys in ({"response_scaling": "range"}, {"gain_db": 3.0}, {"shift_s": 0.1}, {"stretch": 0.1}):
        inputs = opened(tmp_path, clips, responses, **keys)
        assert inputs.waves is not None and inputs.responses is None
    raw = opened(tmp_path, clips, responses, replace(FRONT, kind="raw"))
    assert raw.waves is not None and raw.responses is None
    (responses.parent / "only").mkdir(exist_ok=True)
    (responses.parent / "only" / "room.wav").write_bytes((responses / "b_room.wav").read_bytes())
    none = opened(tmp_path, clips, responses.parent / "only")
    assert none.waves is not None and none.responses is None, "no response qualifies"


def test_no_waveforms_are_kept_where_all_are_short(clips: Clips, responses: Path, tmp_path: Path) -> None:
    (responses.parent / "short").mkdir(exist_ok=True)
    (responses.parent / "short" / "one.wav").write_bytes((responses / "a_short.wav").read_bytes())
    inputs = opened(tmp_path, clips, responses.parent / "short")
    assert inputs.responses is not None and inputs.responses.waveforms is None
    assert torch.isfinite(heard(inputs)).all()
