"""`asc-search export --format`: what is written, that it is the network, and what is refused."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from support import asc_search

import asc_search.deploy.int8 as int8_module
import asc_search.deploy.onnx_network as network_module
from asc_search.compress.calibration import CALIBRATION_WINDOWS, calibration_features
from asc_search.deploy.check import Parity, float_problems, int8_problems
from asc_search.deploy.from_run import deploy_run
from asc_search.deploy.session import open_session
from asc_search.errors import ExportError
from asc_search.files import read_json
from asc_search.oracle.budget import price_candidate
from asc_search.study.finished import reopened
from asc_search.study.retrain import MODEL
from asc_search.study.run_folder import RunFolder
from asc_search.train.features import frontend_windows
from asc_search.train.model_file import load_model


def trained(run: Path) -> Path:
    (path,) = run.glob(f"finalists/*/seed-0/{MODEL}")
    return path


def test_the_folder_says_all_there_is_to_know(finished: Path, artefact: Path) -> None:
    model = load_model(trained(finished))
    assert (artefact / "labels.txt").read_text().split() == list(model.classes)
    note = read_json(artefact / "frontend.json")
    assert note["frontend"] == model.candidate.frontend.to_json() and note["input"]["samples"] == 32_000
    manifest = read_json(artefact / "artefacts.json")
    names = {"model.onnx", "model_waveform.onnx", "model_int8.onnx", "model_waveform_int8.onnx"}
    assert set(manifest["models"]) == names
    for name, one in manifest["models"].items():
        assert one["size_bytes"] == (artefact / name).stat().st_size > one["weight_bytes"]
        assert one["latency_ms"] > 0
        if "int8" not in name:
            assert one["top1_agreement"] >= 0.99 and abs(one["accuracy_drop"]) <= 0.5
    assert manifest["front_end_difference"] <= 1e-3
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((artefact / name).read_bytes()).hexdigest() == digest
    assert set(manifest["sha256"]) == {path.name for path in artefact.iterdir()} - {"artefacts.json"}
    card = (artefact / "model_card.md").read_text()
    cost = price_candidate(model.candidate)
    test = read_json(trained(finished).parent / "test.json")
    for said in (
        f"{cost.params:,} parameters", "20 epochs, seed 0", "A folder of recordings",
        f"{100 * test['accuracy']:.1f}", "unseen devices", "device s1", "Licence", "Limits",
    ):  # fmt: skip
        assert said in card
    samples, rate_hz = soundfile.read(artefact / "golden.wav")
    assert (len(samples), rate_hz) == (32_000, 32_000)


def test_the_same_run_gives_the_same_bytes(finished: Path, artefact: Path, tmp_path: Path) -> None:
    deploy_run(RunFolder(finished), "onnx", tmp_path / "again", int8_tolerance=100)
    for path in artefact.iterdir():
        if path.name != "artefacts.json":  # holds latencies
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_torch_format_is_read_back_and_predicts(finished: Path, artefact: Path, tmp_path: Path) -> None:
    done = asc_search("export", finished, "--format", "torch", "--out", tmp_path / "torch")
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "torch").glob("*.onnx")) and not list((tmp_path / "torch").glob("*.pt*"))
    said = [asc_search("predict", folder, artefact / "golden.wav").stdout for folder in (tmp_path / "torch", artefact)]
    assert said[0] == said[1] != ""


def test_calibration_hears_training_clips_alone(finished: Path) -> None:
    opened = reopened(RunFolder(finished))[1]
    training = opened.clips.split("train")
    frontend = load_model(trained(finished)).candidate.frontend
    features = calibration_features(finished, training, frontend)
    known = frontend_windows(finished, training, frontend).values
    rows = {row.tobytes() for row in known}
    assert len(features) == min(len(training), CALIBRATION_WINDOWS)
    assert all(row.tobytes() in rows for row in features)
    others = frontend_windows(finished, opened.clips.split("test"), frontend).values
    assert not any(row.tobytes() in {other.tobytes() for other in others} for row in features)


def spoiled(graph: onnx.ModelProto) -> onnx.ModelProto:
    """``graph`` with its last layer's weights turned around."""
    weights = [tensor for tensor in graph.graph.initializer if len(tensor.dims) > 1][-1]
    weights.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(weights), weights.name))
    return graph


def test_another_network_is_refused_and_nothing_is_left(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = network_module.network_graph
    monkeypatch.setattr(network_module, "network_graph", lambda *given, **named: spoiled(true(*given, **named)))
    with pytest.raises(
        ExportError, match=r"not the network[\s\S]*model.onnx: same top class[^\n]* % of the test clips"
    ):
        deploy_run(RunFolder(finished), "onnx", tmp_path / "out", int8=False)
    assert list(tmp_path.iterdir()) == []


def test_int8_that_loses_too_much_is_refused_with_the_ways_out(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_module, "quantised", lambda network, features: spoiled(network))
    with pytest.raises(ExportError, match=r"points lost, 0.5 are allowed[\s\S]*--int8-tolerance[\s\S]*--no-int8"):
        deploy_run(RunFolder(finished), "onnx", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    done = deploy_run(RunFolder(finished), "onnx", tmp_path / "out", int8_tolerance=100)
    assert done.models["model_int8.onnx"].parity.accuracy_drop > 0.5
    left = deploy_run(RunFolder(finished), "onnx", tmp_path / "float", int8=False)
    assert set(left.models) == {"model.onnx", "model_waveform.onnx"}


def test_limits_of_parity() -> None:
    assert float_problems("m", Parity(0.6, 0.99, 0.5)) == [] == int8_problems("m", Parity(0.6, 0.5, 0.5), 0.5)
    assert float_problems("m", Parity(0.6, 0.99, -3.0)), "better is another network, too"
    assert "98.90 %" in str(float_problems("m", Parity(0.6, 0.989, 0.0))[0])
    assert "59.40 %, the PyTorch network's 60.00 %" in str(float_problems("m", Parity(0.594, 1.0, 0.6))[0])
    assert "0.60 points lost" in str(int8_problems("m", Parity(0.594, 1.0, 0.6), 0.5)[0])
    assert int8_problems("m", Parity(0.7, 0.5, -10.0), 0.0) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--format", "tflite"], "one of onnx, executorch, torch"),
        (["--format", "onnx", "--trial", "99"], "not a finalist"),
        (["--format", "onnx", "--label", "A_B_task1_1"], "--label"),
        (["--format", "onnx", "--practice"], "--practice"),
        ([], "--format onnx"),
    ],
)
def test_mistakes_are_one_message(finished: Path, tmp_path: Path, options: list[str], said: str) -> None:
    done = asc_search("export", finished, "--out", tmp_path / "out", *options)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_and_a_run_without_finalists(finished: Path, artefact: Path, tmp_path: Path) -> None:
    refused = asc_search("export", finished, "--format", "onnx", "--out", artefact)
    assert refused.returncode == 1 and "is not empty" in refused.stderr
    assert "not a run folder" in asc_search("export", artefact, "--format", "onnx", "--out", tmp_path / "x").stderr
    for name in ("run.json", "space.yaml"):
        shutil.copyfile(finished / name, tmp_path / name)
    early = asc_search("export", tmp_path, "--format", "onnx", "--out", tmp_path / "x")
    assert early.returncode == 1 and "finish first" in early.stderr


def test_graphs_run_on_any_batch(finished: Path, artefact: Path) -> None:
    frontend = load_model(trained(finished)).candidate.frontend
    wave = 0.1 * np.random.default_rng(0).standard_normal((5, frontend.samples)).astype(np.float32)
    run = open_session(artefact / "model_waveform.onnx")
    np.testing.assert_allclose(run(wave), np.concatenate([run(wave[i : i + 1]) for i in range(5)]), atol=1e-4)
