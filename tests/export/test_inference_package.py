"""The inference package, run as the official scripts run it in a process that cannot import asc_search."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.standardise import Standardise
from asc_search.data.clips import Clips
from asc_search.data.tau_facts import SCENES
from asc_search.errors import ExportError
from asc_search.export.complexity import windows_of_a_clip
from asc_search.export.inference_package import team_module, write_package
from asc_search.export.package_check import package_problems
from asc_search.export.scores import evaluation_scores
from asc_search.export.submission import Complexity
from asc_search.nets.network import build
from asc_search.nets.plan import mobile
from asc_search.space.candidate import Candidate
from asc_search.train.features import frontend_windows
from asc_search.train.model_file import Model
from asc_search.train.predict import predict_clips

LABEL = "Nunez-Ost_IMT-Atlantique_task1_2"
TEAM, SYSTEM = "Nunez_Ost_IMT_Atlantique_task1", "Nunez_Ost_IMT_Atlantique_task1_2"
# Written from the description of test_complexity.py and evaluate_submission.py, which are not part of this repository.
OFFICIAL = """
import copy, importlib, importlib.resources, json, sys
import pandas, torch, torchinfo
sys.modules["asc_search"] = None  # cannot be imported, though it may be installed
name, index, dev, evaluation = sys.argv[1:]
api = importlib.import_module(f"{name}.{name}_{index}")
model = api.load_model()
per_device = {}
with importlib.resources.path(f"{name}.resources", "dummy.wav") as dummy:
    devices = ["a", "b", "c"] + [f"s{i}" for i in range(1, 11)]
    inputs = api.load_inputs([str(dummy)] * len(devices), devices, model)
    for one, device in zip(inputs, devices):
        network = api.get_model_for_device(model, device)
        summary = torchinfo.summary(copy.deepcopy(network).float(), input_size=tuple(one.shape), verbose=0)
        size = {torch.float32: 4, torch.float16: 2}
        per_device[device] = [summary.total_mult_adds, sum(p.numel() * size[p.dtype] for p in network.parameters())]
with importlib.resources.path(f"{name}.resources", "test.csv") as listed:
    test = pandas.read_csv(listed, sep="\\t").drop(columns=["scene_label"], errors="ignore")
test = test.merge(pandas.read_csv(f"{dev}/meta.csv", sep="\\t"), on="filename")
ask = dict(model_file_path=None, use_cuda=torch.cuda.is_available())
paths = [f"{dev}/{file}" for file in test["filename"]]
predictions, order = api.predict(file_paths=paths, device_ids=test["source_label"].tolist(), **ask)
right = [order[one.argmax().item()] for one in predictions]
table = pandas.read_csv(f"{evaluation}/evaluation_setup/fold1_test.csv", sep="\\t")
paths = [f"{evaluation}/{file}" for file in table["filename"]]
predictions, again = api.predict(file_paths=paths, device_ids=table["device_id"].tolist(), **ask)
assert again == order
scores = torch.nn.functional.softmax(torch.stack(predictions), dim=1)
torch.save(model.model.state_dict(), "state.pt")
own, _ = api.predict(file_paths=paths, device_ids=table["device_id"].tolist(), model_file_path="state.pt", use_cuda=False)
assert torch.equal(torch.stack(own), torch.stack(predictions))
print(json.dumps({"per_device": per_device, "order": order, "test": right, "scores": scores.tolist()}))
"""
FRONT_ENDS = {
    "log-mel": FrontEnd(mels=32, hop=2000, window=2048, n_fft=2048),
    "by statistics, slopes": FrontEnd(
        rate_hz=16_000, mels=24, hop=1000, window=1024, n_fft=1024, deltas=True, standardise="frequency", log="log10"
    ),
    "half a second": FrontEnd(mels=32, hop=2000, window=2048, n_fft=2048, seconds=0.5, pre_emphasis=0.9),
    "raw": FrontEnd(rate_hz=16_000, kind="raw", standardise="sample"),
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A development and an evaluation folder: clips of a second, one longer, one shorter, one stereo, one silent."""
    root = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(3)
    for part in ("dev", "eval"):
        (root / part / "audio").mkdir(parents=True)
        for index in range(6):
            length = {3: 70_000, 4: 20_000}.get(index, 44_100)
            shape = (length, 2) if index == 5 else (length,)
            noise = np.cumsum(rng.standard_normal(shape), axis=0)
            noise = (0.0 if index == 2 else 0.2 * (index + 1)) * noise / np.abs(noise).max()
            soundfile.write(root / part / "audio" / f"{index}.wav", noise, 44_100, subtype="PCM_24")
    lines = [f"audio/{index}.wav\tbus\tlyon-1\t{'abc'[index % 3]}\n" for index in range(6)]
    (root / "dev" / "meta.csv").write_text("filename\tscene_label\tidentifier\tsource_label\n" + "".join(lines))
    (root / "eval" / "evaluation_setup").mkdir()
    lines = [f"audio/{index}.wav\t{('a', 's10', 'unknown')[index % 3]}\n" for index in range(6)]
    (root / "eval" / "evaluation_setup" / "fold1_test.csv").write_text("filename\tdevice_id\n" + "".join(lines))
    return root


def clips_of(folder: Path, label: int) -> Clips:
    files = tuple(f"audio/{index}.wav" for index in range(6))
    blank = ("",) * 6
    return Clips(folder, SCENES, files, (label,) * 6, blank, blank, ("test",) * 6)


def model_with(frontend: FrontEnd) -> Model:
    torch.manual_seed(0)
    spec = mobile("cp", frontend.shape, 10, base=16, multiplier=1.5, expansion=2.0)
    if frontend.kind == "raw":
        spec = mobile("cp", frontend.shape, 10, base=16, multiplier=1.5, expansion=2.0, stem_stride=(1, 32))
    statistics = None
    if frontend.needs_statistics:
        statistics = Standardise(
            torch.randn(frontend.shape[0], frontend.mels, 1), torch.full((2, frontend.mels, 1), 2.0)
        )
    network = build(spec).eval()
    for name, value in network.named_buffers():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    network.load_state_dict({name: value.half().to(value.dtype) for name, value in network.state_dict().items()})
    return Model(Candidate(frontend, spec), SCENES, network, statistics)


def complexity_of(model: Model) -> Complexity:
    params = sum(one.numel() for one in model.network.parameters())
    return Complexity(params, 1, 2 * params, "fp16", params)


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_the_official_scripts_find_the_run_s_scores(name: str, recordings: Path, tmp_path: Path) -> None:
    model = model_with(FRONT_ENDS[name])
    package = tmp_path / "package"
    write_package(
        package, LABEL, model, complexity_of(model), clips_of(recordings / "dev", 1), "a 'test' \\ \"system\""
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    script = tmp_path / "official.py"
    script.write_text(OFFICIAL)
    done = subprocess.run(
        [sys.executable, script, TEAM, "2", recordings / "dev", recordings / "eval"],
        capture_output=True, text=True, cwd=tmp_path, env={**environment, "PYTHONPATH": str(package)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["order"] == list(SCENES)
    # what the run itself measures with: features kept on disk, the network that was trained
    clips = clips_of(recordings / "eval", -1)
    own = predict_clips(model.whole, frontend_windows(tmp_path, clips, model.candidate.frontend), torch.device("cpu"))
    np.testing.assert_allclose(answer["scores"], own, atol=1e-5)
    np.testing.assert_allclose(evaluation_scores(tmp_path, {"x": model}, clips)["x"], own, atol=1e-6)
    test = predict_clips(
        model.whole, frontend_windows(tmp_path, clips_of(recordings / "dev", 1), model.candidate.frontend),
        torch.device("cpu"),
    )  # fmt: skip
    assert answer["test"] == [SCENES[one] for one in test.argmax(1)]
    macs, size = answer["per_device"]["s10"]
    assert set(map(tuple, answer["per_device"].values())) == {(macs, size)}
    assert size == 2 * sum(one.numel() for one in model.network.parameters())
    import torchinfo

    a_second = windows_of_a_clip(model.candidate.frontend.seconds)
    once = torchinfo.summary(model.network, (1, *model.candidate.frontend.shape), verbose=0).total_mult_adds
    assert macs == pytest.approx(a_second * once, rel=0.02)  # BatchNorm counts once a call
    assert a_second == (2 if name == "half a second" else 1)


def test_it_holds_nothing_to_train_with_and_no_pickled_code(recordings: Path, tmp_path: Path) -> None:
    model = model_with(FRONT_ENDS["log-mel"])
    write_package(tmp_path / "p", LABEL, model, complexity_of(model), clips_of(recordings / "dev", 1), "a system")
    texts = {path.name: path.read_text() for path in (tmp_path / "p").rglob("*.py")}
    for name, text in texts.items():
        compile(text, name, "exec")
        assert "import asc_search" not in text and "from asc_search" not in text
        assert not any(word in text for word in ("optim", "backward(", "loss", "augment("))
    state = torch.load(tmp_path / "p" / TEAM / "ckpts" / f"{SYSTEM}.ckpt", weights_only=True)
    assert {value.dtype for name, value in state.items() if name.endswith(".weight")} == {torch.float16}
    dummy = soundfile.info(tmp_path / "p" / TEAM / "resources" / "dummy.wav")
    assert (dummy.samplerate, dummy.channels, dummy.subtype, dummy.frames) == (44_100, 1, "PCM_24", 44_100)


def test_it_installs_with_all_its_files(recordings: Path, tmp_path: Path) -> None:
    model = model_with(FRONT_ENDS["log-mel"])
    write_package(tmp_path / "p", LABEL, model, complexity_of(model), clips_of(recordings / "dev", 1), "a system")
    build_wheel = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build_wheel, tmp_path], cwd=tmp_path / "p", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith(TEAM)}
    written = {
        str(path.relative_to(tmp_path / "p"))
        for path in (tmp_path / "p" / TEAM).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in inside if ".dist-info" not in name} == written


def test_two_systems_of_a_team_share_a_package(recordings: Path, tmp_path: Path) -> None:
    model = model_with(FRONT_ENDS["log-mel"])
    clips = clips_of(recordings / "eval", -1)
    scores = evaluation_scores(tmp_path, {"x": model}, clips)["x"]
    for label in (LABEL, LABEL.replace("_2", "_3")):
        write_package(tmp_path / "p", label, model, complexity_of(model), clips_of(recordings / "dev", 1), "a system")
    for label in (LABEL, LABEL.replace("_2", "_3")):
        assert package_problems(tmp_path / "p", label, complexity_of(model), clips, scores) == []
    wrong = replace(complexity_of(model), weight_bytes=1)
    (first, second) = package_problems(tmp_path / "p", LABEL, wrong, clips, scores + 1e-3)
    assert "differ by up to 0.001" in first.what and "not 1" in second.what


def test_names_and_folders_that_cannot_be(recordings: Path, tmp_path: Path) -> None:
    assert team_module(LABEL) == TEAM
    with pytest.raises(ExportError, match="no name of a module"):
        team_module("3M_INST_task1_1")
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "thesis.txt").write_text("mine")
    model = model_with(FRONT_ENDS["log-mel"])
    with pytest.raises(ExportError, match="is not empty and holds no package"):
        write_package(tmp_path / "p", LABEL, model, complexity_of(model), clips_of(recordings / "dev", 1), "a system")
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["thesis.txt"]
