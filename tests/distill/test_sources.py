"""Where teachers come from: addresses with a checksum, model files, other runs; and what is refused."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.data.source import open_source
from asc_search.distill.teachers import teach
from asc_search.distill.weights import check_local_weights, fetch_weights
from asc_search.errors import DataError, MissingExtraError, SpaceError, WeightsError
from asc_search.files import write_json
from asc_search.nets import passt
from asc_search.nets.plan import mobile
from asc_search.nets.weights import read_state
from asc_search.space.candidate import Candidate, Training
from asc_search.space.load import loads
from asc_search.space.teachers import ModelTeacher, PasstTeacher, PretrainedTeacher, RunTeacher, TaggerTeacher
from asc_search.study.assistants import from_run
from asc_search.study.retrain import MODEL, Finalist, retrain
from asc_search.study.run_folder import RunFolder
from asc_search.train.candidate import Material
from asc_search.train.features import frontend_windows
from asc_search.train.model_file import load_model

FRONTEND = FrontEnd(mels=32, hop=2000, window=2048, n_fft=2048)
RECIPE = Training(batch=16, freq_mask=4)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "served").mkdir()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served")))
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.mark.parametrize("kind", [TaggerTeacher, PasstTeacher])
def test_weights_are_fetched_once_and_only_if_they_are_what_was_declared(
    tmp_path: Path, address: str, kind: type[PretrainedTeacher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passt, "PACKAGE", "torch")  # nothing here asks for more than that it is installed
    served = tmp_path / "served" / "w.safetensors"
    save_file({"a": torch.arange(3.0)}, served)
    sha256 = hashlib.sha256(served.read_bytes()).hexdigest()
    teacher = kind("tagger", Path("nowhere"), f"{address}/w.safetensors", 1e-3, sha256)
    found = fetch_weights({"tagger": teacher}, tmp_path / "weights")["tagger"]
    assert torch.equal(read_state(found.weights, sha256)["a"], torch.arange(3.0))
    served.unlink()
    assert fetch_weights({"tagger": teacher}, tmp_path / "weights")["tagger"] == found, "once"
    save_file({"a": torch.zeros(3)}, served)
    with pytest.raises(DataError, match="checksum"):
        fetch_weights({"tagger": teacher}, tmp_path / "elsewhere")
    other = kind("tagger", served, "w.safetensors", 1e-3, sha256)
    with pytest.raises(WeightsError, match="not " + sha256):
        fetch_weights({"tagger": other}, tmp_path / "weights")


def pool_space(entry: str, folder: Path | None = None):  # type: ignore[no-untyped-def]
    text = (
        "network: {stem: cp, base: 16, stages: [{family: cp, depth: 1}]}\n"
        "distillation:\n  teachers: []\n  pool:\n"
        f"    wide: {{kind: network, family: cp, epochs: 3}}\n    one: {entry}\n"
    )
    return loads(text, "s.yaml", folder)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{kind: tagger, weights: 'https://x.org/w.pt'}", "one.weights: a URL needs the SHA-256"),
        ("{kind: tagger, weights: 'ftp://x.org/w.pt'}", "one.weights: no such address can be read"),
        ("{kind: tagger, weights: w.pt, sha256: abc}", "one.sha256: a SHA-256 is 64"),
        ("{kind: passt}", "one.weights: is missing"),
        ("{kind: passt, weights: 'https://x.org/w.pt'}", "one.weights: a URL needs the SHA-256"),
        ("{kind: passt, weights: w.pt, sha256: abc}", "one.sha256: a SHA-256 is 64"),
        ("{kind: passt, weights: w.pt, epochs: -3}", "one.epochs: -3 is not allowed"),
        (
            "{kind: passt, weights: w.pt, arch: stfthop100}",
            "one.arch: unknown key; known: kind, weights, sha256, decay, epochs, lr",
        ),
        ("{kind: logits}", "one.file: is missing"),
        ("{kind: run, trial: 3}", "one.folder: is missing"),
        (
            "{kind: specialist, of: wyde}",
            "one.of: 'wyde' is no network teacher of the pool (wide); did you mean 'wide'?",
        ),
        ("{kind: specialist, of: wide, pair: 0}", "one.pair: 0 is not allowed"),
        ("{kind: modell, weights: w}", "one.kind: 'modell' is not allowed"),
    ],
)
def test_mistakes_in_a_pool_are_named_with_file_line_and_key(entry: str, said: str) -> None:
    with pytest.raises(SpaceError) as caught:
        pool_space(entry)
    assert f"s.yaml:6: distillation.pool.{said}" in str(caught.value)


def test_passt_cannot_hear_longer_windows_than_it_has_positions_for() -> None:
    text = "frontend: {seconds: 12}\nnetwork: {stem: cp, base: 8, stages: [{family: cp, depth: 1}]}\ndistillation:\n"
    text += "  teachers: []\n  pool:\n    one: {kind: passt, weights: w.pt}\n"
    with pytest.raises(SpaceError, match=r"s\.yaml:6: distillation\.pool\.one\.kind: .* 0\.16 to 10 s, not .* of 12 s"):
        loads(text, "s.yaml")
    assert "one" in loads(text.replace("12", "10"), "s.yaml").pool


def test_passt_without_its_package_is_named_before_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passt, "PACKAGE", "hear21passt_absent")
    teacher = PasstTeacher("one", Path("nowhere"), "https://x.invalid/w.pt", 1e-3, "0" * 64)
    with pytest.raises(MissingExtraError, match=r"asc-search\[teachers\]"):
        check_local_weights({"one": teacher})


def test_where_files_lie_does_not_change_what_a_space_means(tmp_path: Path) -> None:
    passt = "{kind: passt, weights: p.pt}"
    for entry in (
        passt,
        "{kind: logits, file: l.csv}",
        "{kind: run, folder: r}",
        "{kind: model, weights: m.safetensors}",
    ):
        assert pool_space(entry, tmp_path / "a").digest() == pool_space(entry, tmp_path / "b").digest()


def finished_run(folder: Path, demo: Path, seed: int = 0) -> tuple[RunFolder, Finalist]:
    """A run as the job leaves it behind, of one finalist trained for an epoch."""
    run = RunFolder(folder)
    opened = open_source(f"folder:{demo}", folder / "data", validation_fraction=0.34, seed=seed)
    training, validation = opened.clips.split("train"), opened.clips.split("validation")
    network = mobile("cp", FRONTEND.shape, 10, 8, 1.5, 2.0)
    finalist = Finalist("trial 4", "finalist", Candidate(FRONTEND, network, "fp32", training=RECIPE), 4)
    where = run.finalist(finalist.digest, 1, 0)
    retrain(finalist, Material(folder, training, {}), validation, where, 1, 0, lambda epoch: None)
    text = (
        f"data: {{validation_fraction: 0.34, seed: {seed}}}\n"
        "network: {stem: cp, base: 8, stages: [{family: cp, depth: 1}]}\nretrain: {epochs: 1, seeds: 1}\n"
    )
    run.space_file.write_text(text)
    run.write_identity(source=f"folder:{demo}", folder=str(demo), data=opened.clips.digest())
    write_json(folder / "finalists.json", [finalist.to_json()])
    return run, finalist


def test_a_network_of_another_run_teaches_what_it_says(tmp_path: Path, demo_folder: Path) -> None:
    run, finalist = finished_run(tmp_path / "first", demo_folder)
    clips = open_source(f"folder:{demo_folder}", tmp_path, validation_fraction=0.34).clips
    training, validation = clips.split("train"), clips.split("validation")
    model = from_run(RunTeacher("assistant", run.root, "first", 4), training)
    assert model.weights == run.finalist(finalist.digest, 1, 0) / MODEL
    taught = teach(tmp_path / "run", model, training, validation, FRONTEND, RECIPE, 0, lambda state: None)
    whole, windows = load_model(model.weights).whole, frontend_windows(tmp_path / "run", training, FRONTEND)
    with torch.inference_mode():
        expected = whole(torch.from_numpy(windows.values[np.arange(len(windows))].astype(np.float32)))
    np.testing.assert_allclose(taught.lesson.logits, expected.numpy(), atol=2e-2)
    with pytest.raises(WeightsError, match="10 classes"):
        few = clips.where(lambda i: clips.labels[i] < 2)
        few = type(few)(few.root, few.classes[:2], few.files, few.labels, few.devices, few.locations, few.splits)
        held = few.split("train")
        teach(tmp_path / "two", model, held, held, FRONTEND, RECIPE, 0, lambda state: None)


def test_a_run_that_was_trained_on_other_clips_is_refused(tmp_path: Path, demo_folder: Path) -> None:
    run, _ = finished_run(tmp_path / "first", demo_folder, seed=3)
    clips = open_source(f"folder:{demo_folder}", tmp_path, validation_fraction=0.34).clips
    with pytest.raises(WeightsError, match="may know what is tested"):
        from_run(RunTeacher("assistant", run.root, "first", -1), clips.split("train"))


def test_a_model_that_is_none_is_refused_with_the_reason(tmp_path: Path, demo_folder: Path) -> None:
    clips = open_source(f"folder:{demo_folder}", tmp_path, validation_fraction=0.34).clips
    pickled = tmp_path / "m.safetensors"
    torch.save({"a": torch.zeros(1)}, pickled)
    with pytest.raises(WeightsError, match="not a model file"):
        model = ModelTeacher("m", pickled, "m")
        teach(tmp_path, model, clips.split("train"), clips.split("validation"), FRONTEND, RECIPE, 0, lambda state: None)
