"""Mutual learning first, then KD from peers that learn no more; and a pretrained peer, a head on kept embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support import tone_clips

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.errors import SpaceError
from asc_search.nets.plan import mobile
from asc_search.space.candidate import Candidate, Distillation, Training
from asc_search.space.load import loads
from asc_search.space.teachers import HeadPeer, Peer
from asc_search.train.candidate import Material, train_candidate
from asc_search.train.fit import TrainState
from asc_search.train.losses import Batch, mutual_learning
from asc_search.train.targets import Lesson

FRONTEND = FrontEnd(rate_hz=4_000, window=256, hop=200, n_fft=256, mels=16)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("teaching", ["", "second"])
def test_settled_peers_teach_as_numpy_has_it(teaching: str) -> None:
    """GZHU's fine-tuning: CE + 50 * KL averaged over batch and classes, T = 3."""
    rng = np.random.default_rng(0)
    student, first, second = (2 * rng.normal(size=(6, 4)) for _ in range(3))
    labels = rng.integers(0, 4, 6)
    plan = Distillation(
        temperature=3.0, reduction="mean", peers=("first", "second"), mutual_until=0.5, mutual_teacher=teaching
    )
    z = torch.from_numpy(student).requires_grad_()
    peers = [torch.from_numpy(one).requires_grad_() for one in (first, second)]
    loss = mutual_learning(
        z, Batch(torch.empty(0), torch.from_numpy(labels), None, None), plan, peers=peers, settled=True
    )
    target = softmax(second / 3) if teaching else (softmax(first / 3) + softmax(second / 3)) / 2
    hard = -np.log(softmax(student))[np.arange(6), labels].mean()
    expected = hard + 50 * (target * (np.log(target) - np.log(softmax(student / 3)))).mean()
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    loss.backward()
    assert z.grad is not None and all(peer.grad is None for peer in peers)


def train(folder: Path, until: int | None = None, resume_at: int | None = None) -> tuple[TrainState, list]:
    clips = tone_clips(folder / "clips", 12, 4_000)
    rng = np.random.default_rng(0)
    lesson = Lesson(rng.normal(size=(12, 2)), (3 * rng.normal(size=(12, 5)) + 1).astype(np.float16))
    peers = {"wide": Peer("wide", "cp", 8, 1.5, 2.0, (2, 2)), "heard": HeadPeer("heard", "tagger")}
    plan = Distillation(peers=("wide", "heard"), mutual_until=0.5, mutual_teacher="heard")
    candidate = Candidate(
        FRONTEND,
        mobile("cp", FRONTEND.shape, 2, 8, 1.5, 2.0),
        training=Training(batch=6, freq_mask=0, mixup_alpha=0.3),
        distillation=plan,
    )
    seen: list = []

    def look(state: TrainState) -> None:
        networks = [state.network, *(peer.network for peer in state.peers)]
        seen.append([torch.cat([p.detach().flatten() for p in one.parameters()]) for one in networks])

    material = Material(folder / "run", clips, {"tagger": lesson}, peers=peers)
    path = folder / "checkpoint.safetensors"
    for stop in [*([] if resume_at is None else [resume_at]), until]:
        state = train_candidate(candidate, material, path, seed=0, epochs=4, until=stop, after_epoch=look)
    return state, seen


def test_peers_learn_for_their_share_of_the_epochs_and_the_student_for_all(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    state, seen = train(tmp_path)
    assert state.peers[1].network.weight.shape == (2, 5), "a linear layer on the embedding"
    for epoch in range(1, 4):
        moved = [not torch.equal(now, before) for now, before in zip(seen[epoch], seen[epoch - 1], strict=True)]
        assert moved == [True, epoch < 2, epoch < 2]


def test_it_resumes_across_the_change_to_the_same_weights(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "clips").mkdir(parents=True)
    whole, _ = train(tmp_path / "one")
    resumed, _ = train(tmp_path / "two", resume_at=1)
    for one, other in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(one, other)


SPACE = """
network: {stem: cp, base: 16, stages: [{family: cp, depth: 1}]}
distillation:
  teachers: []
  pool: {tagger: {kind: tagger, weights: w.pt}, table: {kind: logits, file: l.csv}}
  peers: [heard]
  mutual_until: 0.6
  mutual_teacher: heard
  peer_pool: {heard: {teacher: tagger}}
"""


def test_a_pretrained_peer_is_declared_by_its_teacher() -> None:
    assert loads(SPACE).peers == {"heard": HeadPeer("heard", "tagger")}
    for old, new, said in (
        ("{teacher: tagger}", "{teacher: taggr}", "peer_pool.heard.teacher: 'taggr' is not allowed"),
        ("{teacher: tagger}", "{teacher: table}", "peer_pool.heard.teacher: is a table of logits"),
        ("mutual_teacher: heard", "mutual_teacher: herd", "distillation.mutual_teacher: 'herd' is not allowed"),
    ):
        with pytest.raises(SpaceError) as caught:
            loads(SPACE.replace(old, new), "s.yaml")
        assert said in str(caught.value)
