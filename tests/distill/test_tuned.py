"""A tagger fine-tuned on the task, and networks that begin as it and are pruned: tiny random taggers on tones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from passt_files import passt_on_tones
from support import points, tone_clips
from tagger_files import random_state

from asc_search.audio.frontends import front_end
from asc_search.audio.kaldi_mel import TaggerFrontEnd, student_front_end
from asc_search.distill.teachers import teach
from asc_search.distill.tuned import tune
from asc_search.errors import SpaceError
from asc_search.nets import passt
from asc_search.nets.passt import load_passt
from asc_search.nets.tagger import load_tagger
from asc_search.oracle.batch import price_columns
from asc_search.oracle.budget import assess, price_candidate
from asc_search.oracle.to_budget import fitted
from asc_search.space.candidate import Candidate, Distillation, Training
from asc_search.space.columns import draw_columns
from asc_search.space.load import loads
from asc_search.space.pruning import Pruning
from asc_search.space.space import Budget
from asc_search.space.teachers import TaggerTeacher
from asc_search.study.retrain import MODEL, Finalist, dense, retrain
from asc_search.train import checkpoint as checkpoints
from asc_search.train.candidate import Material, train_candidate
from asc_search.train.features import frontend_windows
from asc_search.train.fit import TrainState
from asc_search.train.model_file import load_model
from asc_search.train.predict import window_outputs

RECIPE = Training(batch=4, freq_mask=2, mixstyle_p=0)


@pytest.fixture
def teacher(tmp_path: Path) -> TaggerTeacher:
    path = tmp_path / "tagger.pt"
    torch.save(random_state(0.1), path)
    return TaggerTeacher("mn", path, path.name, 1e-3, epochs=1, lr=1e-3)


def taught(teacher: TaggerTeacher, folder: Path) -> Material:
    (folder / "audio").mkdir()
    clips = tone_clips(folder / "audio", 8, 32_000)
    said = teach(folder, teacher, clips, clips, student_front_end(1.0), RECIPE, 0, lambda state: None)
    assert said.lesson.logits.shape[1] == 2 and said.checkpoint is not None
    return Material(folder, clips, {"mn": said.lesson}, parents={"mn": said.checkpoint})


def test_the_students_front_end_is_the_taggers_but_for_the_window() -> None:
    generator = torch.Generator().manual_seed(0)
    waves = 0.1 * torch.randn(3, 32_000, generator=generator)
    ours = front_end(student_front_end(1.0))(waves)
    theirs = TaggerFrontEnd()(waves)
    assert ours.shape == theirs.shape == (3, *student_front_end(1.0).shape)
    assert float((ours - theirs).abs().mean()) < 0.01 < float(theirs.std())


def test_a_network_begins_as_the_fine_tuned_tagger_and_is_pruned(teacher: TaggerTeacher, tmp_path: Path) -> None:
    material = taught(teacher, tmp_path)
    frontend, spec = teacher.start(1.0, 2)
    budget = Budget(weight_bytes=round(price_candidate(Candidate(frontend, spec)).params * 1.0))
    one = Candidate(
        frontend, spec, pruning=Pruning(target="budget", schedule="agp", steps=2), training=RECIPE, parent="mn"
    )
    one = fitted(replace(one, distillation=Distillation(teachers=("mn",), weight=0.2, features=1.0)), budget)
    assert Candidate.from_json(one.to_json()) == one
    begun: list[dict[str, torch.Tensor]] = []
    train_candidate(
        one,
        material,
        tmp_path / "checkpoint",
        seed=1,
        epochs=1,
        before_epoch=lambda state: begun.append({k: v.clone() for k, v in state.network.state_dict().items()}),
    )
    kept = checkpoints.load(material.parents["mn"]).network
    assert begun[0].keys() == kept.keys() and all(torch.equal(begun[0][name], kept[name]) for name in kept)
    original = load_tagger(teacher.weights).network.state_dict()
    far = [float((kept[name] - original[name]).abs().mean()) for name in ("1.depthwise.0.weight", "0.0.weight")]
    assert all(0 < move < 0.05 for move in far), "trained a little, from the file's weights"
    trained = retrain(
        Finalist("one", "finalist", one), material, material.training, tmp_path / "end", 3, 0, lambda _: None
    )
    model = load_model(trained.folder / MODEL)
    counted = sum(parameter.numel() for parameter in model.network.parameters())
    assert 2 * counted <= budget.weight_bytes and counted == price_candidate(one).params
    assert dense(Finalist("one", "finalist", one)).candidate.parent == ""


def test_the_last_layer_is_fitted_first(teacher: TaggerTeacher, tmp_path: Path) -> None:
    """Before the first epoch tones are told apart, by layers that are the file's but for the last."""
    (tmp_path / "audio").mkdir()
    clips = tone_clips(tmp_path / "audio", 8, 32_000)
    material = Material(tmp_path, clips, {})
    one, state = tune(material, tmp_path / "x", replace(teacher, epochs=0), 1.0, RECIPE, 0, lambda state: None)
    windows = frontend_windows(tmp_path, clips, one.frontend)
    logits = window_outputs(state.network, state.standardise, windows.values, torch.device("cpu"))[0]
    assert (logits.argmax(1) == clips.label_array()).all()
    original, own = load_tagger(teacher.weights).network.state_dict(), state.network.state_dict()
    changed = {
        name for name in own if original[name].shape != own[name].shape or not torch.equal(original[name], own[name])
    }
    assert len(changed) == 2 and all(".classifier.3." in name for name in changed)


@pytest.mark.filterwarnings("ignore:Input image size")
def test_a_passt_is_tuned_from_its_frozen_embeddings_and_goes_on_where_it_was(tmp_path: Path) -> None:
    frozen, clips = passt_on_tones(tmp_path)
    teacher = replace(frozen, epochs=2, lr=1e-4)
    material = Material(tmp_path, clips, {})

    def tuned(name: str, **changed: float) -> tuple[Candidate, TrainState]:
        return tune(material, tmp_path / name, replace(teacher, **changed), 1.0, RECIPE, 0, lambda state: None)

    one, begun = tuned("begun", epochs=0)
    windows = frontend_windows(tmp_path, clips, one.frontend)
    x = torch.from_numpy(windows.values[:].astype(np.float32))
    seen = load_passt(teacher.weights).embed(x).detach().numpy()
    logits = window_outputs(begun.network, None, windows.values, torch.device("cpu"))[0]
    linear = pytest.importorskip("sklearn.linear_model").LogisticRegression(C=1e3, max_iter=1000)
    scaled = (seen - seen.mean(0)) / seen.std(0)
    assert (logits.argmax(1) == linear.fit(scaled, clips.label_array()).predict(scaled)).all()

    _, whole = tuned("whole")
    end = whole.network.state_dict()
    moved = {name for name, value in begun.network.state_dict().items() if not torch.equal(value, end[name])}
    assert {"0.network.blocks.0.attn.qkv.weight", "0.network.patch_embed.proj.weight", "1.weight"} <= moved
    network = (
        passt._package()
        .PaSST(
            img_size=(128, 990),
            patch_size=16,
            stride=10,
            num_classes=527,
            embed_dim=128,
            depth=2,
            num_heads=2,
            distilled=True,
        )
        .eval()
    )
    network.load_state_dict({name[10:]: value for name, value in end.items() if name.startswith("0.network.")})
    by_hand = network(x)[1] @ end["1.weight"].T + end["1.bias"]
    np.testing.assert_allclose(whole.network.eval()(x).detach(), by_hand.detach(), rtol=1e-4, atol=1e-4)

    def stop(state: TrainState) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(material, tmp_path / "halved", teacher, 1.0, RECIPE, 0, stop)
    _, resumed = tuned("halved")
    assert all(torch.equal(value, end[name]) for name, value in resumed.network.state_dict().items())

    said = teach(tmp_path, teacher, clips, clips, one.frontend, RECIPE, 0, lambda state: None)
    assert said.validation.accuracy == 1.0 and not said.checkpoint.exists()
    np.testing.assert_allclose(said.lesson.logits, by_hand.detach(), rtol=2e-3, atol=2e-2)
    assert said.lesson.embedding.shape == (8, 128)


SPACE = """
data: {source: demo}
network: NETWORK
pruning: {target: {choice: [ratio, budget]}, ratio: {float: [0, 0.9]}, round_to: {choice: [1, 4]}}
distillation:
  teachers: [mn]
  pool: {mn: {kind: tagger, weights: tagger.pt, epochs: 2}}
budget: {weight_bytes: 60000}
"""
BOTH = (
    "{pretrained: {choice: [none, mn]}, stem: cp, base: {int: [16, 48], step: 8}, stages: [{family: {choice: [cp, bc_res2]}, "
    "depth: {int: [1, 3]}, attachment: {choice: [none, se]}}]}"
)


def test_a_space_draws_networks_that_begin_as_a_teacher_beside_others(teacher: TaggerTeacher) -> None:
    space = loads(SPACE.replace("NETWORK", BOTH), "space.yaml", teacher.weights.parent)
    rng = np.random.default_rng(0)
    prices = price_columns(space, draw_columns(space, rng, 120), 10)
    seen = {"": 0, "mn": 0}
    for at, (candidate, params) in enumerate(points(space, 0, 120)):
        candidate = fitted(candidate, space.budget)
        seen[candidate.parent] += 1
        assert candidate.frontend == (student_front_end(1.0) if candidate.parent else replace(candidate.frontend))
        assert ("network.base" in params) == (candidate.parent == "")
        found = assess(candidate, space.budget)
        assert (found.cost is not None) == bool(prices.buildable[at])
        if found.cost is not None and candidate.pruning.target == "ratio":
            assert (found.cost.params, found.cost.macs) == (prices.params[at], prices.macs[at])
        assert found.verdict.fits == bool(prices.fits[at])
    assert min(seen.values()) > 30


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("{pretrained: other}", "'other' is not allowed; it is one of none, mn"),
        ("{pretrained: mn, base: 32}", "network.base: is of networks that are built; pretrained leaves none"),
    ],
)
def test_mistakes_in_pretrained_are_told(network: str, said: str) -> None:
    with pytest.raises(SpaceError) as caught:
        loads(SPACE.replace("NETWORK", network))
    assert said in str(caught.value)


def test_a_tagger_that_is_not_fine_tuned_is_no_start() -> None:
    text = SPACE.replace("NETWORK", "{pretrained: mn}").replace(", epochs: 2", "")
    with pytest.raises(SpaceError, match=r"no teacher to begin as; give distillation.pool a tagger with epochs"):
        loads(text)


def test_groups_cannot_be_learnt_by_what_begins_as_a_teacher() -> None:
    text = SPACE.replace("NETWORK", "{pretrained: mn}").replace("{source: demo}", "{groups: {one: [a], two: [b]}}")
    with pytest.raises(SpaceError, match=r"network.pretrained: is for networks of all classes"):
        loads(text)
