"""Scores of an evaluation set: the run's own, kept block by block, taken up after a kill, keyed by model and clips."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support import ENVIRONMENT, tone_clips

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.data.audio_io import UnreadableAudio
from asc_search.data.clips import Clips
from asc_search.errors import ExportError
from asc_search.export import scores
from asc_search.export.int8 import in_int8, rounded
from asc_search.export.scores import evaluation_scores
from asc_search.nets.network import build
from asc_search.nets.plan import mobile
from asc_search.space.candidate import Candidate
from asc_search.train.features import frontend_windows
from asc_search.train.model_file import Model
from asc_search.train.predict import predict_clips

FRONT = FrontEnd(rate_hz=16_000, mels=16, hop=1000, window=1024, n_fft=1024)
CPU = torch.device("cpu")


def model_of(seed: int, frontend: FrontEnd = FRONT) -> Model:
    torch.manual_seed(seed)
    spec = mobile("cp", frontend.shape, 2, base=8, multiplier=1.5, expansion=2.0)
    return Model(Candidate(frontend, spec), ("one", "two"), build(spec).eval())


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    (tmp_path / "clips").mkdir()
    return tone_clips(tmp_path / "clips", 11, 16_000)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "BLOCK", 4)


def test_they_are_those_a_run_measures_with(clips: Clips, tmp_path: Path) -> None:
    models = {"a": model_of(0), "b": model_of(1)}
    found = evaluation_scores(tmp_path / "run", models, clips)
    for name, model in models.items():
        own = predict_clips(model.whole, frontend_windows(tmp_path / "own", clips, FRONT), CPU)
        np.testing.assert_allclose(found[name], own, atol=1e-6)
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()] == ["scores.npy"], "no audio is kept"


def test_what_was_scored_is_not_scored_again(clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = evaluation_scores(tmp_path / "undisturbed", {"a": model_of(0)}, clips)["a"]
    real, seen = scores._scores, []

    def counted(networks, front, some, store, frontend):
        if len(seen) == 2:
            seen.append(())
            raise KeyboardInterrupt
        seen.append(some.files)
        return real(networks, front, some, store, frontend)

    monkeypatch.setattr(scores, "_scores", counted)
    with pytest.raises(KeyboardInterrupt):
        evaluation_scores(tmp_path / "run", {"a": model_of(0)}, clips)
    resumed = evaluation_scores(tmp_path / "run", {"a": model_of(0)}, clips)["a"]
    assert [len(files) for files in seen] == [4, 4, 0, 3], "two blocks, the stop, the block that was left"
    np.testing.assert_array_equal(resumed, undisturbed)
    evaluation_scores(tmp_path / "run", {"a": model_of(0)}, clips)
    assert len(seen) == 4, "a third time nothing is left to do"
    evaluation_scores(tmp_path / "run", {"a": model_of(1)}, clips)
    assert len(seen) == 7, "another model"
    soundfile.write(clips.root / "0.wav", np.full(16_000, 0.1), 16_000)
    evaluation_scores(tmp_path / "run", {"a": model_of(0)}, clips)
    assert len(seen) == 10, "other clips"


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from asc_search.export import scores
import importlib.util
spec = importlib.util.spec_from_file_location("test_scores", sys.argv[3])
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
scores.BLOCK = 4
from asc_search.data.clips import Clips
root = Path(sys.argv[4])
blank = ("",) * 11
clips = Clips(root, ("one", "two"), tuple(f"{i}.wav" for i in range(11)), (-1,) * 11, blank, blank, ("test",) * 11)
save = scores.save_array
def cut(path, values):
    save(path, values)
    if path.name.startswith(".0000008"):
        path.write_bytes(path.read_bytes()[:50])
        os.kill(os.getpid(), signal.SIGKILL)
scores.save_array = cut
scores.evaluation_scores(Path(sys.argv[5]), {"a": tests.model_of(0)}, clips)
"""


def test_a_kill_in_the_middle_of_a_write(clips: Clips, tmp_path: Path) -> None:
    here = Path(__file__).resolve()
    arguments = [here.parents[2], here.parents[1], here, clips.root, tmp_path / "run"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], env=ENVIRONMENT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    left = sorted(path.name for path in (tmp_path / "run").rglob("*.npy"))
    assert left == ["0000000.npy", "0000004.npy"], "the block that was cut has another name"
    found = evaluation_scores(
        tmp_path / "run", {"a": model_of(0)}, replace(clips, labels=(-1,) * 11, splits=("test",) * 11)
    )
    own = evaluation_scores(tmp_path / "own", {"a": model_of(0)}, clips)
    np.testing.assert_array_equal(found["a"], own["a"])
    assert len(list((tmp_path / "run" / "evaluation").iterdir())) == 1, "it was taken up, not begun again"
    assert os.listdir(next((tmp_path / "run" / "evaluation").iterdir())) == ["scores.npy"]


def test_an_unreadable_clip_is_named_and_the_rest_kept(clips: Clips, tmp_path: Path) -> None:
    (clips.root / "9.wav").write_bytes(b"RIFF")
    with pytest.raises(UnreadableAudio, match=r"9\.wav"):
        evaluation_scores(tmp_path / "run", {"a": model_of(0)}, clips)
    assert len(list((tmp_path / "run").rglob("*.npy"))) == 2


def test_models_of_different_front_ends_are_refused(clips: Clips, tmp_path: Path) -> None:
    other = model_of(0, replace(FRONT, mels=24))
    with pytest.raises(ExportError, match="different front ends"):
        evaluation_scores(tmp_path, {"a": model_of(0), "b": other}, clips)


def test_int8_is_255_levels_and_a_scale(clips: Clips) -> None:
    value = torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    value[2] = 0
    for channel, made in zip(value, rounded(value), strict=True):
        scale = float(channel.abs().max()) / 127
        levels = (made / scale).numpy() if scale else made.numpy()
        np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
        assert np.abs(levels).max() <= 127.0001
        assert float((made - channel).abs().max()) <= scale / 2 + 1e-7
    model = model_of(0)
    made = in_int8(model)
    assert all(
        torch.equal(rounded(old), new)
        for old, new in zip(model.network.parameters(), made.network.parameters(), strict=True)
    )
    assert made.network is not model.network and made.candidate.weight_type == "fp32"
