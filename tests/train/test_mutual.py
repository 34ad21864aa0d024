"""Deep mutual learning in the one loop and from the YAML: every network has its own step; the student alone comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support import TINY_SPACE, tone_clips
from torch.nn import functional

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.errors import SpaceError
from asc_search.nets.blocks import family
from asc_search.nets.network import build, price
from asc_search.nets.plan import mobile
from asc_search.nets.spec import NetSpec
from asc_search.space.candidate import Candidate, Distillation, Pruning, Training
from asc_search.space.draw import FixedSuggest, draw
from asc_search.space.load import loads
from asc_search.space.space import Space
from asc_search.space.teachers import Peer
from asc_search.study.objective import pruning_hook, train_trial
from asc_search.study.retrain import MODEL, Finalist, retrain, undistilled
from asc_search.train.candidate import Material, train_candidate
from asc_search.train.fit import Recipe, TrainState, fit, restore, start
from asc_search.train.losses import Batch, cross_entropy, mutual_learning
from asc_search.train.model_file import load_model

STUDENT = mobile("cp", (1, 32, 17), 3, 8, 1.5, 2.0)
PEERS = (mobile("cp", (1, 32, 17), 3, 16, 1.5, 2.0), mobile("sscp", (1, 32, 17), 3, 8, 1.5, 2.0))
PLAN = Distillation(temperature=3.0, peers=("wide", "other"), mutual=0.8)
STEPS = 3


def recipe(epochs: int = 4, peers: tuple[NetSpec, ...] = PEERS, **fields: float | str) -> Recipe:
    return Recipe(Training(**fields), epochs, STEPS, peers=peers)


def batches(epoch: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(epoch)
    return [
        Batch(torch.randn(8, 1, 32, 17, generator=generator), torch.arange(8) % 3, None, None) for _ in range(STEPS)
    ]


def together(logits: torch.Tensor, batch: Batch, peers: list[torch.Tensor]) -> torch.Tensor:
    return mutual_learning(logits, batch, PLAN, peers=peers)


def everything(state: TrainState) -> dict[str, torch.Tensor]:
    """All weights and moments, those of the peers too."""
    learners = [(state.network, state.optimizer), *((peer.network, peer.optimizer) for peer in state.peers)]
    tensors = {}
    for number, (network, optimizer) in enumerate(learners):
        tensors |= {f"{number}.{name}": value for name, value in network.state_dict().items()}
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"{number}.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    return tensors


def assert_equal(one: TrainState, other: TrainState) -> None:
    ours, theirs = everything(one), everything(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def test_each_network_steps_along_its_own_gradient_clipped_by_itself() -> None:
    """One step of SGD against gradients taken by hand, what the others say being constant."""
    fields = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.0}
    plan = recipe(1, lr=0.1, grad_clip=0.5, **fields)
    state, twins = start(STUDENT, plan, 0), start(STUDENT, plan, 0)
    batch = batches(0)[0]
    fit(state, lambda epoch: [batch], together, plan, 1)
    networks = [twins.network, *(peer.network for peer in twins.peers)]
    logits = [network.train()(batch.x) for network in networks]
    norms = []
    for number, network in enumerate(networks):
        loss = functional.cross_entropy(logits[number], batch.labels)
        for other, said in enumerate(logits):
            if other != number:
                p, q = (z.div(3.0).softmax(1) for z in (said.detach(), logits[number]))
                loss = loss + 0.8 / 2 * (p * (p / q).log()).sum() / len(p)
        gradients = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
        norms.append(torch.cat([gradient.flatten() for gradient in gradients]).norm().item())
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient * min(1.0, 0.5 / norms[-1])
    assert max(norms) > 0.5, "something is clipped"
    trained = [state.network, *(peer.network for peer in state.peers)]
    for one, other in zip(trained, networks, strict=True):
        for got, expected in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


def test_peers_that_say_nothing_leave_the_student_as_it_would_be_alone() -> None:
    def apart(logits: torch.Tensor, batch: Batch, peers: list[torch.Tensor]) -> torch.Tensor:
        return mutual_learning(logits, batch, replace(PLAN, mutual=0.0), peers=peers)

    alone = fit(start(STUDENT, recipe(peers=()), 0), batches, cross_entropy, recipe(peers=()), 2)
    beside = fit(start(STUDENT, recipe(), 0), batches, apart, recipe(), 2)
    heard = fit(start(STUDENT, recipe(), 0), batches, together, recipe(), 2)
    weights = [torch.cat([p.flatten() for p in state.network.parameters()]) for state in (alone, beside, heard)]
    assert torch.equal(weights[0], weights[1]) and not torch.allclose(weights[0], weights[2], atol=1e-4)


def test_peers_of_one_design_begin_apart() -> None:
    state = start(STUDENT, recipe(peers=(STUDENT, STUDENT)), 0)
    first = [next(network.parameters()) for network in (state.network, *(peer.network for peer in state.peers))]
    assert not any(torch.equal(first[i], first[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def with_dropout() -> NetSpec:
    head = family("linear_head").layer(STUDENT.layers[-2].out, 3, features=12, hidden=8, dropout=0.5)
    return replace(STUDENT, layers=(*STUDENT.layers[:-1], head))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("pruned", [False, True])
def test_all_networks_resume_to_the_same_weights(tmp_path: Path, optimizer: str, pruned: bool) -> None:
    candidate = Candidate(FrontEnd(), STUDENT, pruning=Pruning(0.5 if pruned else 0.0, 0.25))
    plan = recipe(optimizer=optimizer, ema_decay=0.9, peers=(*PEERS, with_dropout()))
    hook: Callable[[TrainState], None] = pruning_hook(candidate, plan.epochs)
    path = tmp_path / "checkpoint.safetensors"
    whole = fit(start(STUDENT, plan, 1), batches, together, plan, 4, before_epoch=hook)
    fit(start(STUDENT, plan, 1), batches, together, plan, 2, save_to=path, before_epoch=hook)
    resumed = restore(path, plan)
    assert resumed is not None and resumed.epoch == 2
    fit(resumed, batches, together, plan, 4, before_epoch=hook)
    assert_equal(whole, resumed)
    assert whole.spec == candidate.deployed
    assert [len(list(peer.network.parameters())) for peer in whole.peers] == [
        len(list(build(spec).parameters())) for spec in plan.peers
    ]


def test_pruning_leaves_the_peers_and_their_optimisers() -> None:
    candidate = Candidate(FrontEnd(), STUDENT, pruning=Pruning(0.5, 0.5))
    state = start(STUDENT, recipe(2), 0)
    before = [(peer.network, peer.optimizer) for peer in state.peers]
    fit(state, batches, together, recipe(2), 2, before_epoch=pruning_hook(candidate, 2))
    assert state.spec == candidate.deployed != STUDENT
    assert [(peer.network, peer.optimizer) for peer in state.peers] == before
    assert all(int(peer.optimizer.state_dict()["state"][0]["step"]) == 2 * STEPS for peer in state.peers)


PEER_POOL = """  peers: {subset_of: [wide, other], min: 0}
  mutual: {float: [0.5, 2]}
  peer_pool:
    wide: {family: cp, base: 24, multiplier: 1.5, expansion: 2}
    other: {family: sscp, base: 16, multiplier: 1.5, expansion: 2, stem_stride: "2x1"}
"""
SPACE = TINY_SPACE.replace("  teachers:", PEER_POOL + "  teachers:")
DRAWN = {
    "network.base": 8,
    "network.stages.0.family": "cp",
    "network.stages.0.expansion": 2.0,
    "network.stages.1.family": "cp",
    "pruning.ratio": 0.5,
    "distillation.temperature": 3.0,
    "distillation.mutual": 1.0,
    "distillation.teachers[one]": 0,
    "distillation.teachers[two]": 0,
    "distillation.peers[wide]": 1,
    "distillation.peers[other]": 1,
}


def drawn(space: Space, **changes: int) -> Candidate:
    return draw(space, FixedSuggest({**DRAWN, **changes}), 2)


def test_peers_are_declared_and_drawn() -> None:
    space = loads(SPACE)
    assert space.peers["other"] == Peer("other", "sscp", 16, 1.5, 2.0, (2, 1))
    candidate = drawn(space)
    assert candidate.distillation.peers == ("wide", "other") and candidate.distillation.mutual == 1.0
    assert Candidate.from_json(candidate.to_json()) == candidate
    none = drawn(space, **{"distillation.peers[wide]": 0, "distillation.peers[other]": 0})
    assert none.distillation.peers == ()
    assert price(none.deployed) == price(candidate.deployed), "a peer costs nothing where the student runs"
    assert loads(SPACE.replace("base: 24", "base: 32")).digest() != space.digest()
    assert "beside wide, other" in candidate.describe() and "beside" not in none.describe()


def test_a_trial_and_a_retraining_from_the_yaml(tmp_path: Path) -> None:
    space = loads(SPACE.replace("subset_of: [one, two], min: 1", "subset_of: [one, two], min: 0"))
    clips = tone_clips(tmp_path, 8, 32_000)
    candidate = drawn(space)
    material = Material(tmp_path, clips, {}, peers=space.peers)
    results = train_trial(
        candidate, material, clips, tmp_path / "trial", [1, 2], 0, lambda rung, result: True, lambda epoch: None
    )
    assert [result.epochs for result in results] == [1, 2]
    whole = train_candidate(
        candidate,
        material,
        tmp_path / "again.safetensors",
        seed=0,
        epochs=2,
        before_epoch=pruning_hook(candidate, 1),
    )
    kept = train_candidate(candidate, material, tmp_path / "trial" / "checkpoint.safetensors", seed=0, epochs=2)
    assert_equal(whole, kept)  # rung by rung as at once
    assert len(kept.peers) == 2
    finalist = Finalist("one", "finalist", candidate)
    trained = retrain(finalist, material, clips, tmp_path / "retrained", 2, 0, lambda epoch: None)
    model = load_model(trained.folder / MODEL)
    assert sum(p.numel() for p in model.network.parameters()) == price(candidate.deployed).params
    assert undistilled(finalist).candidate.distillation.peers == ()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("subset_of: [wide, other], min: 0", "subset_of: [wyde]", "peers.subset_of.0: 'wyde'"),
        ("  peers: {subset_of: [wide, other], min: 0}\n", "", "distillation.peers: is missing"),
        ("{family: cp, base: 24,", "{base: 24,", "distillation.peer_pool.wide.family: is missing"),
        ("base: 24,", "base: 24, lr: 0.1,", "distillation.peer_pool.wide.lr: unknown key"),
        ("    wide: {family: cp", "    a/b: {family: cp", "distillation.peer_pool.a/b: a name"),
    ],
)
def test_mistakes_among_peers_are_named_with_file_line_and_key(old: str, new: str, said: str) -> None:
    assert old in SPACE
    with pytest.raises(SpaceError) as caught:
        loads(SPACE.replace(old, new), "s.yaml")
    text = "\n".join(str(problem) for problem in caught.value.problems)
    assert said in text and text.startswith("s.yaml:")
