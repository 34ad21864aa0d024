"""Standardisation with statistics of the training part: taken there alone, and part of the trained model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from support import tone_clips

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.compress.weights import stored_state
from asc_search.data.audio_io import write_wav
from asc_search.data.clips import Clips
from asc_search.distill.teachers import teach
from asc_search.errors import WeightsError
from asc_search.export.complexity import measured_complexity
from asc_search.export.profile import PROFILES
from asc_search.nets.network import build
from asc_search.nets.plan import mobile
from asc_search.oracle.budget import price_candidate
from asc_search.space.candidate import Candidate, Pruning, Training
from asc_search.space.teachers import NetworkTeacher
from asc_search.study.objective import measure, pruning_hook
from asc_search.train import checkpoint
from asc_search.train.candidate import Material, train_candidate
from asc_search.train.features import frontend_windows
from asc_search.train.fit import TrainState
from asc_search.train.inputs import open_inputs
from asc_search.train.model_file import Model, load_model, save_model
from asc_search.train.predict import window_logits
from asc_search.train.responses import ALL_GENERATED
from asc_search.train.statistics import training_statistics

CPU = torch.device("cpu")
FRONT = FrontEnd(rate_hz=8_000, window=512, hop=500, n_fft=512, mels=32, standardise="frequency")
STILL = Training(roll_s=0, freq_mask=0, mixstyle_p=0, batch=4)
EVERYTHING = Training(
    batch=4,
    roll_p=0.5,
    shift_s=0.1,
    freq_width=3,
    time_mask=2,
    stripes_p=0.7,
    fill_mean=True,
    mixup_alpha=0.2,
    mixup_one_lambda=True,
    response_p=0.5,
    stretch=0.1,
    stretch_p=0.5,
    gain_db=3,
    gain_p=0.5,
    jitter_fmin_hz=5,
    jitter_fmax_hz=500,
)


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    (tmp_path / "audio").mkdir()
    clips = tone_clips(tmp_path / "audio", 12, 8_000)
    return replace(clips, splits=("train",) * 8 + ("validation",) * 4)


def values(folder: Path, clips: Clips, frontend: FrontEnd = FRONT) -> np.ndarray:
    return np.array(frontend_windows(folder, clips, frontend).values, np.float64)


def candidate(frontend: FrontEnd = FRONT, training: Training = STILL, ratio: float = 0.0) -> Candidate:
    spec = mobile("cp", frontend.shape, 2, 8, 1.5, 2.0)
    return Candidate(frontend, spec, training=training, pruning=Pruning(ratio, 0.3))


def trained(folder: Path, clips: Clips, one: Candidate, epochs: int = 2, until: int | None = None) -> TrainState:
    return train_candidate(
        one, Material(folder, clips.split("train"), {}), folder / "c.safetensors", seed=0, epochs=epochs, until=until
    )


@pytest.mark.parametrize(("frontend", "over"), [(FRONT, (0, 3)), (replace(FRONT, standardise="global"), (0, 2, 3))])
@pytest.mark.parametrize("others", [{}, {"gain_db": 1e-9}], ids=["kept", "waveforms"])
def test_inputs_have_mean_0_and_deviation_1_over_the_training_part(
    clips: Clips, tmp_path: Path, frontend: FrontEnd, over: tuple[int, ...], others: dict[str, float]
) -> None:
    frontend = replace(frontend, deltas=True)
    training = clips.split("train")
    inputs = open_inputs(tmp_path, training, frontend, replace(STILL, **others), ALL_GENERATED, CPU)
    x, _ = inputs.batch(np.arange(8), 0.0, torch.Generator(), CPU)
    bare = values(tmp_path, training, frontend)
    expected = (bare - bare.mean(over, keepdims=True)) / bare.std(over, keepdims=True)
    assert x.shape == (8, 2, 32, 17)
    np.testing.assert_allclose(x.numpy(), expected, atol=0.02)


def test_a_poisoned_validation_clip_changes_no_statistic(clips: Clips, tmp_path: Path) -> None:
    before = training_statistics(tmp_path / "one", clips.split("train"), FRONT)
    again = training_statistics(tmp_path / "one", clips.split("train"), FRONT)
    write_wav(clips.root / clips.files[-1], np.full(8_000, 0.9, np.float32) * np.sign(np.arange(8_000) % 7 - 3), 8_000)
    after = training_statistics(tmp_path / "two", clips.split("train"), FRONT)
    for other in (again, after):
        assert torch.equal(before.mean, other.mean) and torch.equal(before.deviation, other.deviation)
    write_wav(clips.root / clips.files[0], np.zeros(8_000, np.float32), 8_000)
    assert not torch.equal(training_statistics(tmp_path / "three", clips.split("train"), FRONT).mean, before.mean)
    assert training_statistics(tmp_path, clips, replace(FRONT, standardise="sample")) is None


@pytest.mark.parametrize("ratio", [0.0, 0.4])
def test_a_model_file_carries_them_and_they_cost_nothing(clips: Clips, tmp_path: Path, ratio: float) -> None:
    one = candidate(ratio=ratio)
    state = trained(tmp_path, clips, one)
    pruning_hook(one, 2)(state)
    model = Model(one, clips.classes, state.network, state.standardise)
    save_model(tmp_path / "m.safetensors", stored_state(state.network, "fp16"), model)
    loaded = load_model(tmp_path / "m.safetensors")
    x = values(tmp_path, clips.split("validation"))
    known = values(tmp_path, clips.split("train"))
    by_hand = (x - known.mean((0, 3), keepdims=True)) / known.std((0, 3), keepdims=True)
    logits = window_logits(loaded.whole, x, CPU)
    np.testing.assert_allclose(logits, window_logits(loaded.network, by_hand, CPU), atol=1e-4)
    assert np.abs(logits - window_logits(loaded.network, x, CPU)).max() > 2e-3, "the network alone hears something else"
    assert torch.equal(loaded.standardise.mean, state.standardise.mean), "in float32"
    validation = clips.split("validation")
    assert measure(loaded, tmp_path, validation, ()) == measure(model, tmp_path, validation, ())
    cost, counted = price_candidate(one), measured_complexity(tmp_path / "m.safetensors", PROFILES["dcase2024"])
    assert (counted.params, counted.weight_bytes) == (cost.params, cost.weight_bytes("fp16"))
    assert counted.macs == cost.macs


def test_a_model_file_without_its_statistics_is_refused(clips: Clips, tmp_path: Path) -> None:
    one = candidate()
    network = build(one.network)
    save_model(tmp_path / "m.safetensors", stored_state(network, "fp32"), Model(one, ("one", "two"), network))
    with pytest.raises(WeightsError, match=r"no statistics beside frontend\.standardise frequency"):
        load_model(tmp_path / "m.safetensors")
    plain = replace(one, frontend=replace(FRONT, standardise="none"))
    tensors = {**stored_state(network, "fp32"), "standardise.mean": torch.zeros(1)}
    note = json.dumps({"candidate": plain.to_json(), "classes": ["one", "two"]})
    save_file(tensors, tmp_path / "n.safetensors", {"asc_search": note})
    with pytest.raises(WeightsError, match="unexpected statistics"):
        load_model(tmp_path / "n.safetensors")


def test_a_network_teacher_hears_through_them_too(clips: Clips, tmp_path: Path) -> None:
    teacher = NetworkTeacher("one", "cp", 8, 1.5, 2.0, (2, 2), 2, 5e-3)
    training, validation = clips.split("train"), clips.split("validation")
    taught = teach(tmp_path, teacher, training, validation, FRONT, STILL, 0, lambda state: None)
    saved = checkpoint.load(next((tmp_path / "teachers").rglob("checkpoint.safetensors")))
    network = build(mobile("cp", FRONT.shape, 2, 8, 1.5, 2.0, (2, 2)))
    network.load_state_dict(saved.network)
    x = values(tmp_path, training)
    by_hand = (x - x.mean((0, 3), keepdims=True)) / x.std((0, 3), keepdims=True)
    np.testing.assert_allclose(taught.lesson.logits, window_logits(network, by_hand, CPU), atol=1e-3)
    assert np.abs(taught.lesson.logits - window_logits(network, x, CPU)).max() > 1e-2


def test_a_training_with_every_key_resumes_to_the_same_weights(clips: Clips, tmp_path: Path) -> None:
    one = candidate(replace(FRONT, fmax_hz=3_500), EVERYTHING)
    whole = trained(tmp_path / "one", clips, one, 3)
    trained(tmp_path / "two", clips, one, 3, until=1)
    torch.rand(3)
    resumed = trained(tmp_path / "two", clips, one, 3)
    assert whole.epoch == resumed.epoch == 3
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert torch.equal(whole.standardise.mean, resumed.standardise.mean)


def test_no_key_reaches_the_windows_of_validation(clips: Clips, tmp_path: Path) -> None:
    front = replace(FRONT, fmax_hz=3_500)
    validation = clips.split("validation")
    before = values(tmp_path / "before", validation, front)
    state = trained(tmp_path / "after", clips, candidate(front, EVERYTHING))
    after = values(tmp_path / "after", validation, front)
    assert np.array_equal(before, after)
    model = Model(candidate(front, EVERYTHING), clips.classes, state.network, state.standardise)
    metrics = [measure(model, tmp_path / part, validation, ()) for part in ("before", "after")]
    assert metrics[0] == metrics[1], "the same whatever was kept for the training"


def test_files_name_weights_and_statistics_apart(clips: Clips, tmp_path: Path) -> None:
    one = candidate()
    state = trained(tmp_path, clips, one, 1)
    model = Model(one, clips.classes, state.network, state.standardise)
    save_model(tmp_path / "m.safetensors", stored_state(state.network, "fp16"), model)
    with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
        held = {name: file.get_tensor(name).dtype for name in file.keys() if name.startswith("standardise.")}  # noqa: SIM118
    assert held == {"standardise.mean": torch.float32, "standardise.deviation": torch.float32}
