"""int8: what is stored is what closed forms say, static and trained; a training of it resumes and freezes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support import tone_clips
from torch import nn

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.compress.calibration import post_training
from asc_search.compress.pt2e import check_int8
from asc_search.compress.qat import FakeQuantised, recipe_of, train_quantised
from asc_search.errors import MissingExtraError
from asc_search.nets.graph_file import described
from asc_search.nets.plan import mobile
from asc_search.oracle.budget import price_candidate
from asc_search.space.candidate import Candidate, Training
from asc_search.space.weight_type import Int8
from asc_search.study.int8 import measure_versions, store_int8
from asc_search.study.objective import measure
from asc_search.study.retrain import Finalist, retrain
from asc_search.train.candidate import Material, train_candidate
from asc_search.train.fit import TrainState
from asc_search.train.model_file import Model, load_model, tensor_bytes

pytest.importorskip("torchao")
pytest.importorskip("executorch")

FRONTEND = FrontEnd(rate_hz=8_000, window=512, n_fft=512, hop=400, mels=16)
SPEC = mobile("cp", FRONTEND.shape, 2, 8, 1.5, 2.0)
CANDIDATE = Candidate(FRONTEND, SPEC, weight_type="int8", training=Training(batch=4, freq_mask=2, lr=0.01))


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("tones")
    return Material(folder, tone_clips(folder, 8, 8_000), {})


@pytest.fixture(scope="module")
def float_model(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Model:
    checkpoint = tmp_path_factory.mktemp("float") / "checkpoint.safetensors"
    state = train_candidate(CANDIDATE, material, checkpoint, seed=0, epochs=3)
    return Model(CANDIDATE, material.training.classes, state.network.eval(), None)


def folded(network: nn.Module) -> list[tuple[np.ndarray, np.ndarray]]:
    """(weights, bias) of each convolution in order with the BatchNorm after it multiplied in, in float64."""
    layers = [one for one in network.modules() if isinstance(one, nn.Conv2d | nn.BatchNorm2d)]
    found = []
    for conv, norm in zip(layers[::2], layers[1::2], strict=True):
        scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
        weight = conv.weight.double() * scale.reshape(-1, 1, 1, 1)
        bias = norm.bias.double() - norm.running_mean.double() * scale
        found.append((weight.detach().numpy(), bias.detach().numpy()))
    return found


def test_weights_are_symmetric_and_per_channel_with_norms_folded(float_model: Model, material: Material) -> None:
    tensors = described(post_training(float_model, material).network)[1]
    stored = [value for value in tensors.values() if value.dtype == torch.int8 and value.dim() == 4]
    scales = [value for name, value in tensors.items() if "scale" in name]
    expected = {weight.shape: [] for weight, _ in folded(float_model.network)}
    for weight, _ in folded(float_model.network):
        scale = np.abs(weight).max((1, 2, 3)) / 127
        expected[weight.shape].append((np.rint(weight / scale.reshape(-1, 1, 1, 1)), scale))
    matched = 0
    for value in stored:
        for levels, scale in expected.get(tuple(value.shape), []):
            if np.abs(levels - value.numpy()).max() <= 1:  # rounding of float32
                assert any(one.shape == scale.shape and np.allclose(one, scale, rtol=1e-4) for one in scales)
                assert np.abs(value.numpy()).max() == 127
                matched += 1
                break
    assert matched == len(folded(float_model.network)) == sum(map(len, expected.values()))


def test_a_finalist_is_stored_in_int8_and_measured_as_stored(material: Material, tmp_path: Path) -> None:
    finalist = Finalist("one", "finalist", CANDIDATE)
    plan = Int8(tolerance=-100, epochs=4, lr=0.1, frozen=0.5)
    clips = material.training
    trained = retrain(finalist, material, clips, tmp_path, 3, 0, lambda _: None, plan)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    weights = sum(value.numel() for value in tensors.values() if value.dtype == torch.int8 and value.dim() >= 2)
    assert weights == sum(
        p.numel() for p in load_model(tmp_path / "float.safetensors").network.parameters() if p.dim() > 1
    )
    assert tensor_bytes(path) == sum(value.nbytes for value in tensors.values())
    assert price_candidate(CANDIDATE).weight_bytes("int8") == price_candidate(CANDIDATE).params
    loaded = load_model(path)
    assert measure(loaded, material.folder, clips, clips.seen_devices).to_json() == trained.validation.to_json()
    versions = measure_versions([tmp_path], clips, material.folder, clips.seen_devices)
    assert list(versions) == ["fp32", "fp16", "ptq", "qat"]
    assert trained.validation.accuracy == max(versions[kind]["validation"]["all"][0] for kind in ("ptq", "qat"))
    assert versions["qat"]["test"].keys() >= {"all", "device a", "device b"}


def test_no_training_where_little_is_lost(float_model: Model, material: Material, tmp_path: Path) -> None:
    store_int8(float_model, material, material.training, tmp_path, tmp_path / "m.safetensors", Int8(tolerance=100), 0)
    assert not (tmp_path / "qat.safetensors").exists()
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "ptq.safetensors").read_bytes()


def test_training_freezes_and_resumes(float_model: Model, material: Material, tmp_path: Path) -> None:
    inputs = material.inputs(CANDIDATE).windows.values[:].astype(np.float32)
    plan = Int8(epochs=4, lr=0.1, frozen=0.5)
    told: list[int] = []
    whole = train_quantised(CANDIDATE, float_model.network, material, inputs, plan, tmp_path / "a", 1, told.append)
    assert told == [1, 2, 3, 4]

    class Stop(Exception):
        pass

    def stop(epoch: int) -> None:
        if epoch == 3:
            raise Stop

    with pytest.raises(Stop):
        train_quantised(CANDIDATE, float_model.network, material, inputs, plan, tmp_path / "b", 1, stop)
    again = train_quantised(CANDIDATE, float_model.network, material, inputs, plan, tmp_path / "b", 1)
    x = torch.from_numpy(inputs[:4])
    assert torch.equal(whole(x), again(x))


def test_frozen_statistics_and_ranges_stay_while_weights_learn(
    float_model: Model, material: Material, tmp_path: Path
) -> None:
    inputs = material.inputs(CANDIDATE).windows.values[:].astype(np.float32)
    from asc_search.compress.pt2e import prepared_for_training

    network = FakeQuantised(prepared_for_training(float_model.network, inputs))
    plan = Int8(epochs=3, lr=0.5, frozen=1 / 3)
    kept: dict[int, dict[str, torch.Tensor]] = {}

    def look(state: TrainState) -> None:
        kept[state.epoch] = {name: value.clone() for name, value in state.network.state_dict().items()}

    def freeze(state: TrainState) -> None:
        if state.epoch == 2:
            state.network.freeze()

    train_candidate(
        recipe_of(CANDIDATE, plan), material, tmp_path / "c", seed=0, epochs=3, before_epoch=freeze, after_epoch=look,
        network=network,
    )  # fmt: skip

    def moved(first: int, second: int, part: str) -> bool:
        return any(not torch.equal(kept[first][name], kept[second][name]) for name in kept[first] if part in name)

    assert all(moved(1, 2, part) for part in ("running_mean", "min_val", "weight"))
    assert moved(2, 3, "weight") and not moved(2, 3, "running_mean") and not moved(2, 3, "min_val")


def test_the_recipe_keeps_the_teachers_logits() -> None:
    taught = replace(CANDIDATE, distillation=replace(CANDIDATE.distillation, teachers=("one",), features=2.0))
    recipe = recipe_of(taught, Int8(lr=0.1))
    assert recipe.distillation.teachers == ("one",) and recipe.distillation.features == 0
    assert recipe.training.lr == pytest.approx(0.001)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'asc-search\[int8\]'"):
        check_int8()
