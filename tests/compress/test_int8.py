"""int8: what is stored is what closed forms say, static and trained; a training of it resumes and freezes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support import tone_clips
from torch import fx, nn

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.compress import qat
from asc_search.compress.calibration import post_training
from asc_search.compress.fold import fold_norms
from asc_search.compress.pt2e import check_int8, converted, prepared_for_training
from asc_search.compress.qat import recipe_of, train_quantised
from asc_search.errors import MissingExtraError
from asc_search.nets.graph_file import described
from asc_search.nets.plan import mobile
from asc_search.oracle.budget import price_candidate
from asc_search.space.candidate import Candidate, Training
from asc_search.space.weight_type import Int8
from asc_search.study.int8 import measure_versions
from asc_search.study.objective import measure
from asc_search.study.retrain import Finalist, retrain
from asc_search.train.candidate import Material, train_candidate
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
    scales = [value for value in tensors.values() if value.dtype == torch.float32 and value.dim() == 1]
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
    finalist, clips = Finalist("one", "finalist", CANDIDATE), material.training
    trained = retrain(finalist, material, clips, tmp_path, 3, 0, lambda _: None, int8=Int8(tolerance=100))
    path = tmp_path / "model.safetensors"
    assert path.read_bytes() == (tmp_path / "ptq.safetensors").read_bytes(), "not trained where little is lost"
    tensors = load_file(path)
    weights = sum(value.numel() for value in tensors.values() if value.dtype == torch.int8 and value.dim() == 4)
    network = load_model(tmp_path / "float.safetensors").network
    (pool,) = (one for one in network.modules() if isinstance(one, nn.AvgPool2d))
    pooled = SPEC.layers[0].out * pool.kernel_size**2  # a padded average is a convolution there
    assert weights == pooled + sum(one.numel() for one in network.parameters() if one.dim() == 4)
    assert tensor_bytes(path) == sum(value.nbytes for value in tensors.values()) < 2 * price_candidate(CANDIDATE).params
    loaded = load_model(path)
    assert measure(loaded, material.folder, clips, clips.seen_devices).to_json() == trained.validation.to_json()
    versions = measure_versions([tmp_path], clips, material.folder, clips.seen_devices)
    assert list(versions) == ["fp32", "fp16", "ptq"]
    assert versions["ptq"]["validation"]["all"] == [trained.validation.accuracy]
    assert versions["ptq"]["test"].keys() >= {"all", "device a", "device b"}


def test_training_freezes_resumes_and_keeps_what_it_learnt(
    float_model: Model, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = material.inputs(CANDIDATE).windows.values[:].astype(np.float32)
    network = copy.deepcopy(float_model.network)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eps = 0.01  # unlike PyTorch's, which torchao puts in its place
    prepared = prepared_for_training(network, inputs)
    exact, x = copy.deepcopy(prepared), torch.from_numpy(inputs)
    exact.apply(pytest.importorskip("torchao.quantization.pt2e").disable_fake_quant)
    with torch.no_grad():
        assert torch.allclose(exact(x), network(x), atol=1e-5)
        fold_norms(exact)
        assert torch.allclose(exact(x), network(x), atol=1e-5)
    monkeypatch.setattr(qat, "prepared_for_training", lambda network, calibration: copy.deepcopy(prepared))
    ended: list[fx.GraphModule] = []
    monkeypatch.setattr(qat, "converted", lambda graph: ended.append(graph) or graph)
    plan = Int8(epochs=4, lr=0.5, frozen=0.25)
    states: dict[int, dict[str, torch.Tensor]] = {}

    def train(name: str, said: Callable[[int], None]) -> None:
        train_quantised(CANDIDATE, float_model.network, material, inputs, plan, tmp_path / name, 1, said)

    def keep(epoch: int) -> None:
        states[epoch] = load_file(tmp_path / "whole")

    train("whole", keep)

    def moved(first: int, second: int, part: str) -> bool:
        names = [name for name in states[first] if name.startswith("network.") and part in name]
        assert names
        return any(not torch.equal(states[first][name], states[second][name]) for name in names)

    assert all(moved(2, 3, part) for part in ("running_mean", "min_val", "weight"))
    assert moved(3, 4, "weight") and not moved(3, 4, "running_mean") and not moved(3, 4, "min_val")

    class Stop(Exception):
        pass

    def stop(epoch: int) -> None:
        if epoch == 3:
            raise Stop

    with pytest.raises(Stop):
        train("parts", stop)
    train("parts", lambda epoch: None)
    again = load_file(tmp_path / "parts")
    assert all(torch.equal(value, again[name]) for name, value in states[4].items())
    monkeypatch.undo()
    with torch.no_grad():
        fake, real = ended[0](x), converted(ended[0])(x)
    assert float((fake - real).square().sum() / fake.square().sum()) < 1e-2


def test_the_recipe_keeps_the_teachers_logits() -> None:
    taught = replace(CANDIDATE, distillation=replace(CANDIDATE.distillation, teachers=("one",), features=2.0))
    recipe = recipe_of(taught, Int8(lr=0.1))
    assert recipe.distillation.teachers == ("one",) and recipe.distillation.features == 0
    assert recipe.training.lr == pytest.approx(0.001)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'asc-search\[int8\]'"):
        check_int8()
