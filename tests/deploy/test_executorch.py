"""`asc-search export --format executorch`: the program is the int8 network, and predicts alone; a whole run in int8."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from int8_specs import SPECS, trained_a_little
from support import asc_search, noise_db

from asc_search.compress.pt2e import quantised
from asc_search.deploy.artefact import open_artefact
from asc_search.deploy.executorch import compiled, open_program
from asc_search.deploy.from_run import deploy_run
from asc_search.deploy.models import torch_run
from asc_search.deploy.qdq import qdq_graph
from asc_search.deploy.session import open_session
from asc_search.errors import ArtefactError
from asc_search.files import read_json
from asc_search.job import Wishes, run_job
from asc_search.space.load import load
from asc_search.study.records import FinalistRow
from asc_search.study.retrain import MODEL
from asc_search.study.run_folder import RunFolder
from asc_search.train.clip_scores import softmax
from asc_search.train.model_file import load_model

pytest.importorskip("executorch")
pytest.importorskip("onnxscript")

SPACE = """
data: {source: demo, validation_fraction: 0.34}
frontend: {mels: 32, hop: 2000, window: 2048, n_fft: 2048}
network:
  stem: cp
  base: 16
  multiplier: 1.5
  stages:
    - {family: bc_res, depth: 1, stride: "1x2"}
weight_type: int8
training: {batch: 16, freq_mask: 0, mixstyle_p: 0}
search: {trials: 1, rungs: [1], startup: 1, enqueue: []}
retrain: {epochs: 10, seeds: 1, finalists: 1, references: [], int8_tolerance: -100, qat_epochs: 2}
"""


@pytest.fixture(scope="module")
def int8_run(tmp_path_factory: pytest.TempPathFactory, demo_folder: Path) -> Path:
    """The folder of a run whose only weight type is int8, its finalist trained with fake quantisation."""
    root = tmp_path_factory.mktemp("int8")
    (root / "small.yaml").write_text(SPACE.replace("source: demo", f"source: 'folder:{demo_folder}'"))
    run_job(load(root / "small.yaml"), RunFolder(root / "run"), Wishes())
    return root / "run"


@pytest.fixture(scope="module")
def program(int8_run: Path) -> Path:
    """The folder `asc-search export --format executorch` writes of it."""
    folder = int8_run.parent / "program"
    done = deploy_run(RunFolder(int8_run), "executorch", folder)
    assert list(done.models) == ["model_int8.pte"]
    return folder


def test_the_front_tells_all_versions_of_an_int8_finalist(int8_run: Path) -> None:
    (row,) = (FinalistRow.from_json(one) for one in read_json(int8_run / "front.json"))
    assert row.weight_bytes == row.params and row.weight_type == "int8"
    assert list(row.versions) == ["fp32", "fp16", "ptq", "qat"]
    for version in row.versions.values():
        assert {"all", "unseen"} <= version["test"].keys() and len(version["test"]["all"]) == 1
    assert row.test[0] in (row.versions["ptq"]["test"]["all"][0], row.versions["qat"]["test"]["all"][0])
    (path,) = int8_run.glob(f"finalists/*/seed-0/{MODEL}")
    assert row.params < row.stored_bytes < 2 * row.params, "int8 weights, float32 biases and scales"
    assert path.stat().st_size > row.stored_bytes
    with (int8_run / "front.csv").open() as file:
        (written,) = csv.DictReader(file)
    assert float(written["qat_test_values"]) == pytest.approx(row.versions["qat"]["test"]["all"][0], rel=1e-5)


@pytest.mark.parametrize(
    "what",
    ["se", "eca", "grn", "sub-spectral norm", "splits, resnorm over frequency", "norm of a sum, half the frequencies"],
)
def test_program_and_graph_compute_what_the_reference_does(what: str) -> None:
    spec = SPECS[what]
    network = trained_a_little(spec)
    x = np.random.default_rng(0).normal(-1, 2, (48, *spec.input)).astype(np.float32)
    reference = quantised(network, x)
    expected = torch_run(reference)(x)
    program, left = compiled(reference, spec.input)
    assert not left, "all of it is XNNPACK's"
    assert noise_db(open_session(qdq_graph(reference, spec.input).SerializeToString())(x), expected) < -60
    # Of a mean that gates a map halves go away from zero in the reference, in XNNPACK where they happen to.
    assert noise_db(open_program(program)(x), expected) < (-40 if what in ("se", "eca") else -60)
    assert not any("dropout" in str(node.target) for node in reference.graph.nodes)


def test_the_program_is_the_network_and_predicts_alone(int8_run: Path, program: Path) -> None:
    assert not list(program.glob("*.onnx"))
    manifest = read_json(program / "artefacts.json")["models"]["model_int8.pte"]
    assert manifest["reference"]["top1_agreement"] >= 0.99 and abs(manifest["reference"]["accuracy_drop"]) <= 0.5
    assert manifest["latency_ms"] > 0 and manifest["size_bytes"] == (program / "model_int8.pte").stat().st_size
    (path,) = int8_run.glob(f"finalists/*/seed-0/{MODEL}")
    features = np.load(program / "golden_features.npy")[None]
    expected = load_model(path).network(torch.from_numpy(features)).numpy()
    found = open_program(program / "model_int8.pte")(np.concatenate([features, features]))
    assert found.shape == (2, 10) and np.array_equal(found[0], found[1])
    assert np.abs(found[0] - expected[0]).max() < 0.1 * np.ptp(expected)
    said = asc_search("predict", program, program / "golden.wav", "--json")
    assert said.returncode == 0, said.stderr
    scores = json.loads(said.stdout)["files"][0]["windows"][0]["scores"]
    assert scores == pytest.approx(softmax(found[:1])[0].tolist(), abs=0.02)


def test_a_program_keeps_the_bytes_it_runs_in(program: Path) -> None:
    path = program / "model_int8.pte"
    run = open_program(path.read_bytes())
    others = [bytes([one]) * path.stat().st_size for one in range(1, 50)]  # where they lay
    features = np.load(program / "golden_features.npy")[None]
    assert np.array_equal(run(features), open_program(path)(features)) and others


def test_a_damaged_program_is_one_line(program: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.pte").write_bytes((program / "model_int8.pte").read_bytes()[:100])
    for name in ("bad.pte", "none.pte"):
        with pytest.raises(ArtefactError, match=name):
            open_program(tmp_path / name)


def test_onnx_of_an_int8_finalist_is_its_own_graph(int8_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "onnx"
    done = deploy_run(RunFolder(int8_run), "onnx", out)  # what int8 loses was allowed in the run
    for name in ("model_int8.onnx", "model_waveform_int8.onnx"):
        assert done.models[name].reference.top1_agreement >= 0.99
    told = read_json(out / "artefacts.json")
    (path,) = int8_run.glob("finalists/*/seed-0/test.json")
    assert told["pytorch"]["int8_accuracy"] == pytest.approx(read_json(path)["accuracy"], abs=1e-5)
    assert told["models"]["model_int8.onnx"]["reference"]["top1_agreement"] >= 0.99
    graph = onnx.load(out / "model_int8.onnx").graph
    kinds = {onnx.numpy_helper.to_array(one).dtype for one in graph.initializer}
    assert np.dtype(np.int8) in kinds and any(node.op_type == "DequantizeLinear" for node in graph.node)
    (path,) = int8_run.glob(f"finalists/*/seed-0/{MODEL}")

    features = np.load(out / "golden_features.npy")[None]

    expected = load_model(path).network(torch.from_numpy(features)).numpy()
    assert np.abs(open_session(out / "model_int8.onnx")(features) - expected).max() < 0.1 * np.ptp(expected)
    assert open_artefact(out, int8=True).run(np.zeros((1, 32_000), np.float32)).shape == (1, 10)
