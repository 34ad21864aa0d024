"""`asc-search predict` from the artefact alone: as evaluation scores clips, for any file, without PyTorch."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from support import ENVIRONMENT, asc_search, cut

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.data.audio_io import UnreadableAudio, blocks_mono, read_mono
from asc_search.deploy.artefact import Artefact, open_artefact
from asc_search.deploy.predict import predict_file, windows
from asc_search.files import read_json
from asc_search.study.retrain import MODEL
from asc_search.train.model_file import load_model

RATE = 32_000


def noise(path: Path, seconds: float, rate_hz: int = RATE, channels: int = 1, subtype: str = "PCM_16") -> Path:
    samples = 0.1 * np.random.default_rng(0).standard_normal((round(seconds * rate_hz), channels))
    soundfile.write(path, samples, rate_hz, subtype=subtype)
    return path


def by_level(waves: np.ndarray) -> np.ndarray:
    """A stand-in for a network: its two logits say how loud a window is, and of which sign its mean."""
    return np.stack([np.abs(waves).mean(1) * 10, waves.mean(1) * 10], axis=1).astype(np.float32)


@pytest.fixture
def listener(tmp_path: Path) -> Artefact:
    return Artefact(tmp_path, FrontEnd(rate_hz=RATE, seconds=1.0), ("loud", "positive"), by_level)


@pytest.mark.parametrize(("rate_hz", "channels", "seconds"), [(44_100, 2, 25.3), (8_000, 1, 3.0), (32_000, 1, 12.0)])
def test_blocks_are_the_file_read_at_once(tmp_path: Path, rate_hz: int, channels: int, seconds: float) -> None:
    path = noise(tmp_path / "a.wav", seconds, rate_hz, channels)
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    expected = soxr.resample(samples.mean(1), rate_hz, RATE, quality="HQ")
    found = np.concatenate(list(blocks_mono(path, RATE)))
    assert abs(len(found) - len(expected)) <= 1
    length = min(len(found), len(expected))
    np.testing.assert_allclose(found[:length], expected[:length], atol=1e-5)


@pytest.mark.parametrize("total", [3_000, 10_000, 14_999, 15_000, 52_345])
def test_windows_are_cut_every_half_and_wrap_at_the_end(total: int) -> None:
    samples = np.random.default_rng(0).standard_normal(total).astype(np.float32)
    count = 1 + max(0, (total - 10_000) // 5_000)
    blocks = [samples[start : start + 7_001] for start in range(0, total, 7_001)]
    found = dict(windows(blocks, 10_000, count))
    assert list(found) == list(range(count))
    np.testing.assert_array_equal(np.stack(list(found.values())), cut(samples, 10_000, count))


def test_a_clip_is_the_mean_over_its_audible_windows(tmp_path: Path, listener: Artefact) -> None:
    levels = [0.5, 0.1, 0.0005, 0.3]  # the third is more than 40 dB below the first
    samples = np.concatenate([np.full(RATE, level, np.float32) for level in levels])
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    found = predict_file(listener, tmp_path / "a.wav")
    each = np.array([np.exp([10 * level, 10 * level]) / (2 * np.exp(10 * level)) for level in levels])
    np.testing.assert_allclose(found.probabilities, each, atol=1e-6)
    assert found.counted.tolist() == [True, True, False, True]
    np.testing.assert_allclose(found.clip, each[[0, 1, 3]].mean(0), atol=1e-6)
    assert found.starts_s.tolist() == [0, 1, 2, 3]


def test_what_is_audible_in_the_last_half_window_alone_counts(tmp_path: Path, listener: Artefact) -> None:
    samples = np.full(round(1.5 * RATE), 1e-5, np.float32)
    samples[RATE:] = 0.5
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    found = predict_file(listener, tmp_path / "a.wav")
    logits = by_level(samples[None, RATE // 2 :]).astype(np.float64)[0]
    np.testing.assert_allclose(found.clip, np.exp(logits) / np.exp(logits).sum(), atol=1e-6)
    assert not found.counted.any()


def test_predictions_are_those_of_the_run(finished: Path, artefact: Path) -> None:
    """Clip by clip what the stored network says of the features of the module, computed here window by window."""
    import torch

    from asc_search.audio.frontends import front_end

    (path,) = finished.glob(f"finalists/*/seed-0/{MODEL}")
    model, opened = load_model(path), open_artefact(artefact)
    front = front_end(model.candidate.frontend)
    source = Path(read_json(finished / "run.json")["source"].partition(":")[2])
    for file in sorted((source / "audio").glob("*.wav"))[::15]:
        wave = torch.from_numpy(read_mono(file, RATE))[None, :RATE]
        with torch.inference_mode():
            expected = torch.softmax(model.network(front(wave)), 1)[0].numpy()
        np.testing.assert_allclose(predict_file(opened, file).clip, expected, atol=1e-3)


def test_golden_clip_has_the_noted_scores(artefact: Path) -> None:
    note = read_json(artefact / "golden.json")
    found = predict_file(open_artefact(artefact), artefact / "golden.wav")
    np.testing.assert_allclose(found.clip, note["scores"]["pytorch"], atol=1e-3)
    int8 = predict_file(open_artefact(artefact, int8=True), artefact / "golden.wav")
    np.testing.assert_allclose(int8.clip, note["scores"]["model_waveform_int8.onnx"], atol=1e-4)
    features = np.load(artefact / "golden_features.npy", allow_pickle=False)
    assert list(features.shape) == note["features"]["shape"]


def test_no_torch_is_imported(artefact: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None; from asc_search.cli import app; "
        f"app(['predict', {str(artefact)!r}, {str(artefact / 'golden.wav')!r}, '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["files"][0]["scores"]) == 10


def test_a_missing_extra_is_one_line(artefact: Path) -> None:
    program = (
        "import sys; sys.modules['onnxruntime'] = None; from asc_search.cli import main; "
        f"sys.argv = ['asc-search', 'predict', {str(artefact)!r}, 'a.wav']; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 1 and "pip install 'asc-search[deploy]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_files_are_named_and_the_others_classified(artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "nan.wav", np.full(RATE, np.nan, np.float32), RATE, subtype="FLOAT")
    noise(tmp_path / "stereo.flac", 2.6, 48_000, 2)
    noise(tmp_path / "8k.wav", 1.0, 8_000)
    noise(tmp_path / "short.wav", 0.3, 22_050)
    bad, good = ["text.wav", "empty.wav", "nan.wav", "absent.wav"], ["stereo.flac", "8k.wav", "short.wav"]
    files = [tmp_path / name for name in (*bad, *good)]
    done = asc_search("predict", artefact, *files, "--json")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    found = json.loads(done.stdout)
    assert [Path(one["file"]).name for one in found["files"]] == good
    assert [Path(one["file"]).name for one in found["failed"]] == bad
    assert all(sum(name in line for line in done.stderr.splitlines()) == 1 for name in bad)
    assert [len(one["windows"]) for one in found["files"]] == [2, 1, 1]
    for one in found["files"]:
        assert abs(sum(one["scores"]) - 1) < 1e-4
        assert one["label"] == found["classes"][int(np.argmax(one["scores"]))] == one["top"][0]["label"]
        assert len(one["top"]) == 3

    table = asc_search("predict", artefact, *good, "--top", 2, cwd=tmp_path)
    assert table.returncode == 0 and "short.wav" in table.stdout and table.stdout.count("%") == 6
    rows = list(csv.DictReader(io.StringIO(asc_search("predict", artefact, *files[4:], "--csv", "--int8").stdout)))
    assert [row["part"] for row in rows] == ["clip", "0", "1", "clip", "0", "clip", "0"]


def test_memory_does_not_grow_with_the_file(tmp_path: Path, listener: Artefact) -> None:
    peaks = []
    for seconds in (40, 400):
        path = noise(tmp_path / "long.wav", seconds, 16_000)
        tracemalloc.start()
        assert len(predict_file(listener, path).probabilities) == seconds
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("labels.txt", "one\ntwo\n", "10 scores, labels.txt has 2 labels"),
        ("frontend.json", "{}", "not an artefact"),
        ("frontend.json", '{"frontend": {"colour": 3}}', "not a front end of this version"),
        ("model_waveform.onnx", "no graph", "onnxruntime cannot run it"),
    ],
)
def test_a_damaged_artefact_says_what_is_wrong(artefact: Path, tmp_path: Path, name: str, text: str, said: str) -> None:
    for file in artefact.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_text(text)
    done = asc_search("predict", tmp_path, artefact / "golden.wav")
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr


def test_a_folder_that_is_no_artefact(finished: Path, artefact: Path, tmp_path: Path) -> None:
    assert "not an artefact" in asc_search("predict", finished, artefact / "golden.wav").stderr
    with pytest.raises(UnreadableAudio, match="no such file"):
        predict_file(open_artefact(artefact), tmp_path / "absent.wav")
