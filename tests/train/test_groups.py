"""Classes beside groups of them: losses, PCGrad in the one loop, fused scores, and the whole way from the YAML."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import TINY_SPACE, points, tone_clips

from asc_search.audio.augment import Mix
from asc_search.errors import SpaceError
from asc_search.nets.network import price
from asc_search.nets.plan import mobile
from asc_search.oracle.batch import price_columns
from asc_search.oracle.budget import price_candidate
from asc_search.space.candidate import Candidate, Distillation, Training
from asc_search.space.columns import draw_columns
from asc_search.space.draw import FixedSuggest, draw
from asc_search.space.load import loads
from asc_search.space.sections import check_groups
from asc_search.space.space import Space
from asc_search.study.create import open_storage, open_study, sqlite_url
from asc_search.study.dataset import open_data
from asc_search.study.objective import train_trial
from asc_search.study.retrain import MODEL, Finalist, reference, retrain, undistilled
from asc_search.study.run_folder import RunFolder
from asc_search.train.candidate import Material, train_candidate
from asc_search.train.features import frontend_windows
from asc_search.train.fit import Recipe, TrainState, fit, restore, start
from asc_search.train.groups import Fusion, membership, two_tasks
from asc_search.train.losses import Batch, cross_entropy, mutual_learning
from asc_search.train.model_file import load_model
from asc_search.train.predict import predict_clips
from asc_search.train.targets import Lesson

CLASSES = ("airport", "bus", "park", "tram")
GROUPS = (("indoor", ("airport",)), ("transport", ("tram", "bus")), ("outdoor", ("park",)))
GROUP_OF = np.array([0, 1, 2, 1])
SPEC = mobile("cp", (1, 32, 17), 4 + 3, 8, 1.5, 2.0)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("share", [0.0, 0.8, 1.0])
def test_scores_are_fused_by_the_formula(share: float) -> None:
    z = 3 * np.random.default_rng(0).normal(size=(9, 7))
    score = share * softmax(z[:, :4]) + (1 - share) * softmax(z[:, 4:])[:, GROUP_OF]
    fused = Fusion(membership(GROUPS, CLASSES), share)(torch.from_numpy(z)).softmax(1).numpy()
    np.testing.assert_allclose(fused, score / score.sum(1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("shares", [False, True])
def test_the_two_losses_are_numpys(shares: bool) -> None:
    rng = np.random.default_rng(1)
    z, lam, order, labels = rng.normal(size=(6, 7)), rng.random(6), rng.permutation(6), rng.integers(0, 4, 6)
    known = rng.dirichlet(np.ones(4), 6) if shares else np.eye(4)[labels]
    coarse = np.stack([known[:, group == GROUP_OF].sum(1) for group in range(3)], axis=1)
    expected = []
    for part, target in ((z[:, :4], known), (z[:, 4:], coarse)):
        target = lam[:, None] * target + (1 - lam[:, None]) * target[order]
        target = 0.9 * target + 0.1 / part.shape[1]
        expected.append(-(target * np.log(softmax(part))).sum(1).mean())
    told = torch.from_numpy(known if shares else labels)
    batch = Batch(torch.empty(0), told, None, Mix(torch.from_numpy(lam), torch.from_numpy(order)))

    def plain(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return cross_entropy(logits, batch, 0.1)

    losses = two_tasks(plain, membership(GROUPS, CLASSES).double(), 0.1)(torch.from_numpy(z), batch)
    np.testing.assert_allclose([loss.item() for loss in losses], expected, atol=1e-6)


def batches(epoch: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(epoch)
    return [Batch(torch.randn(8, 1, 32, 17, generator=generator), torch.arange(8) % 4, None, None) for _ in range(3)]


TASKS = two_tasks(cross_entropy, membership(GROUPS, CLASSES))
STILL = Training(optimizer="sgd", momentum=0.0, weight_decay=0.0, schedule="constant", warmup=0.0, lr=0.1, grad_clip=0)


def flat(state: TrainState) -> np.ndarray:
    return torch.cat([p.detach().flatten() for p in state.network.parameters()]).double().numpy()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_step_is_along_the_projected_gradients(sign: int) -> None:
    """Against NumPy, for gradients that agree and, one task being turned round, for such that conflict."""

    def turned(logits: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, ...]:
        losses = TASKS(logits, batch)
        return losses[0], losses[0] * 0.5 * sign + losses[1]

    plan, batch = Recipe(STILL, 1, 1), batches(0)[0]
    state, twin = start(SPEC, plan, 0), start(SPEC, plan, 0)
    before = flat(state)
    fit(state, lambda epoch: [batch], turned, plan, 1)
    losses = turned(twin.network.train()(batch.x), batch)
    first, second = (
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(twin.network.parameters()), retain_graph=True)])
        .double()
        .numpy()
        for loss in losses
    )
    dot = first @ second
    assert dot * sign > 0
    if dot < 0:
        first, second = first - dot / (second @ second) * second, second - dot / (first @ first) * first
    np.testing.assert_allclose(flat(state) - before, -0.1 * (first + second) / 2, atol=1e-6)


def test_tasks_and_peers_each_have_their_own_gradients() -> None:
    """The group task moves no peer: a peer steps as beside a student of classes alone with the same class logits."""
    plan = replace(Recipe(STILL, 1, 1), peers=(mobile("cp", (1, 32, 17), 4, 16, 1.5, 2.0),))
    batch = batches(0)[0]

    def mutual(logits: torch.Tensor, batch: Batch, peers: list[torch.Tensor]) -> torch.Tensor:
        return mutual_learning(logits, batch, Distillation(peers=("one",)), peers=peers)

    def of_classes(logits: torch.Tensor, batch: Batch, peers: list[torch.Tensor]) -> torch.Tensor:
        return mutual(logits[:, :4], batch, peers)

    tasks = two_tasks(mutual, membership(GROUPS, CLASSES))
    both = fit(start(SPEC, plan, 0), lambda epoch: [batch], tasks, plan, 1)
    one = fit(start(SPEC, plan, 0), lambda epoch: [batch], of_classes, plan, 1)
    pairs = zip(both.peers[0].network.parameters(), one.peers[0].network.parameters(), strict=True)
    assert all(torch.allclose(mine, other, atol=1e-7) for mine, other in pairs)
    assert not np.allclose(flat(both), flat(one), atol=1e-5)


def test_several_tasks_resume_to_the_same_weights(tmp_path: Path) -> None:
    plan, path = Recipe(Training(ema_decay=0.9), 4, 3), tmp_path / "checkpoint.safetensors"

    def three(
        logits: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, ...]:  # where the order of the projections matters
        losses = TASKS(logits, batch)
        return losses[0], losses[1] - losses[0], losses[0] - 0.5 * losses[1]

    whole = fit(start(SPEC, plan, 1), batches, three, plan, 4)
    fit(start(SPEC, plan, 1), batches, three, plan, 2, save_to=path)
    resumed = restore(path, plan)
    assert resumed is not None
    fit(resumed, batches, three, plan, 4)
    assert np.array_equal(flat(whole), flat(resumed))


IN_YAML = "data:\n  source: demo\n  validation_fraction: 0.34\n  groups:\n    low: [one]\n    high: [two]\n"
SPACE = TINY_SPACE.replace("data: {source: demo, validation_fraction: 0.34}\n", IN_YAML)
CLIPS_CLASSES = ("one", "two")


def grouped() -> Space:
    assert SPACE != TINY_SPACE
    return loads(SPACE.replace("  weight: 0.2\n", "  weight: 0.2\n  class_share: {float: [0.5, 1]}\n"))


DRAWN = {
    "network.base": 8,
    "network.stages.0.family": "cp",
    "network.stages.0.expansion": 2.0,
    "network.stages.1.family": "cp",
    "pruning.ratio": 0.5,
    "distillation.temperature": 3.0,
    "distillation.class_share": 0.7,
    "distillation.teachers[one]": 1,
    "distillation.teachers[two]": 0,
}


def test_the_outputs_of_the_groups_are_drawn_and_priced() -> None:
    space, plain = grouped(), loads(TINY_SPACE)
    candidate, alone = draw(space, FixedSuggest(DRAWN), 2), draw(plain, FixedSuggest(DRAWN), 2)
    assert candidate.network.layers[-1].out == 4 and candidate.distillation.class_share == 0.7
    assert candidate.groups == (("low", ("one",)), ("high", ("two",)))
    assert Candidate.from_json(candidate.to_json()) == candidate
    width = candidate.deployed.layers[-2].out
    more = price(candidate.deployed).params - price(alone.deployed).params
    assert more == 2 * (width + 2), "two rows of the last layer, and the scale and shift behind it"
    for one in points(space, 0, 20, classes=2):
        assert one[0].network.layers[-1].out == 4
    columns = draw_columns(space, np.random.default_rng(0), 20)
    prices = price_columns(space, columns, 2)
    for index, (one, _) in enumerate(points(space, 0, 20, classes=2)):
        assert prices.params[index] == price_candidate(one).params
    assert reference("dcase2024-baseline", candidate, 2).candidate.network.layers[-1].out == 4
    twin = undistilled(Finalist("one", "finalist", candidate)).candidate
    assert twin.groups == candidate.groups and twin.distillation.class_share == 0.7


def test_published_designs_are_found_in_a_space_with_groups(tmp_path: Path) -> None:
    student = Path(__file__).resolve().parents[2] / "spaces" / "student.yaml"
    text = student.read_text(encoding="utf-8").replace("data:\n", "data:\n  groups: {a: [x], b: [y]}\n", 1)
    study = open_study(open_storage(sqlite_url(tmp_path / "s.db")), "search", loads(text, str(student)), 10)
    assert len(study.trials) >= 2


def test_a_trial_a_retraining_and_its_file_give_scores_of_classes(tmp_path: Path) -> None:
    space = grouped()
    clips = tone_clips(tmp_path, 8, 32_000)
    candidate = draw(space, FixedSuggest(DRAWN), 2)
    windows = len(frontend_windows(tmp_path, clips, candidate.frontend).clip_of)
    rng = np.random.default_rng(0)
    lesson = Lesson(rng.normal(size=(windows, 2)).astype(np.float16), np.zeros((windows, 3), np.float16))
    material = Material(tmp_path, clips, {"one": lesson})
    results = train_trial(
        candidate, material, clips, tmp_path / "trial", [1, 2], 0, lambda rung, result: True, lambda epoch: None
    )
    assert [result.epochs for result in results] == [1, 2] and all(result.log_loss < 5 for result in results)
    trained = retrain(Finalist("one", "finalist", candidate), material, clips, tmp_path / "again", 2, 0, lambda _: None)
    model = load_model(trained.folder / MODEL)
    assert sum(p.numel() for p in model.whole.parameters()) == price(candidate.deployed).params
    held = frontend_windows(tmp_path, clips, candidate.frontend)
    scores = predict_clips(model.whole, held, torch.device("cpu"))
    with torch.no_grad():
        z = model.network(torch.from_numpy(np.asarray(held.values[np.arange(windows)], np.float32))).double().numpy()
    fused = 0.7 * softmax(z[:, :2]) + 0.3 * softmax(z[:, 2:])
    fused /= fused.sum(1, keepdims=True)
    expected = np.stack([fused[(held.clip_of == clip) & held.scored].mean(0) for clip in range(len(clips))])
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert trained.validation.accuracy == pytest.approx(
        np.mean([(expected.argmax(1) == clips.label_array())[clips.label_array() == k].mean() for k in (0, 1)])
    )


def test_the_groups_teach(tmp_path: Path) -> None:
    """Trained, the group outputs tell the groups of the training clips, whose order is not the classes'."""
    clips = tone_clips(tmp_path, 8, 32_000)
    space = loads(SPACE.replace("    low: [one]\n    high: [two]\n", "    first: [two]\n    second: [one]\n"))
    candidate = draw(space, FixedSuggest({**DRAWN, "pruning.ratio": 0, "distillation.teachers[one]": 0}), 2)
    candidate = replace(candidate, distillation=Distillation(), training=replace(candidate.training, batch=8))
    state = train_candidate(candidate, Material(tmp_path, clips, {}), tmp_path / "c.safetensors", seed=0, epochs=60)
    held = frontend_windows(tmp_path, clips, candidate.frontend)
    with torch.no_grad():
        x = torch.from_numpy(np.asarray(held.values[np.arange(len(held.clip_of))], np.float32))
        z = state.network.eval()(x)
    labels = clips.label_array()[held.clip_of]
    assert (z[:, 2:].argmax(1).numpy() == 1 - labels).mean() > 0.9
    assert (z[:, :2].argmax(1).numpy() == labels).mean() > 0.9


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ("{low: [one]}", "4: data.groups: expected a mapping of two groups or more"),
        ("[one, two]", "4: data.groups: expected a mapping of two groups or more"),
        ("{low: one, high: [two]}", "4: data.groups.low: expected a list"),
        ("{low: [one, two], high: [two]}", "4: data.groups.high: two is in low too"),
        ("{low: [one, one], high: [two]}", "4: data.groups.low: 'one' stands twice"),
    ],
)
def test_groups_that_cannot_be_are_refused_with_file_and_line(groups: str, said: str) -> None:
    text = SPACE.replace("  groups:\n    low: [one]\n    high: [two]\n", f"  groups: {groups}\n")
    with pytest.raises(SpaceError) as caught:
        loads(text.lstrip(), "s.yaml")
    assert any(str(problem).startswith(f"s.yaml:{said}") for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("one", "two", "three"), "s.yaml:4: data.groups: no group has three"),
        (("one", "twos"), "s.yaml:6: data.groups.high: two is no class of the data; did you mean 'twos'?"),
    ],
)
def test_groups_of_other_classes_than_the_data_have_are_refused(classes: tuple[str, ...], said: str) -> None:
    space = loads(SPACE.lstrip(), "s.yaml")
    check_groups(space, CLIPS_CLASSES)
    with pytest.raises(SpaceError) as caught:
        check_groups(space, classes)
    assert said in [str(problem)[: len(said)] for problem in caught.value.problems]


def test_opening_the_data_checks_the_groups(tmp_path: Path, demo_folder: Path) -> None:
    space = loads(SPACE.replace("source: demo", f"source: folder:{demo_folder}"), str(tmp_path / "s.yaml"))
    with pytest.raises(SpaceError, match=r"data\.groups: no group has"):
        open_data(space, RunFolder(tmp_path))
