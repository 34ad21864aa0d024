"""Pruning in steps: the widths on the way and at the end, the epochs of the steps, resuming, and what each importance keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import tone_clips
from torch import nn

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.compress.prune import prune_to
from asc_search.errors import NetworkError
from asc_search.nets.network import build, shrink
from asc_search.nets.plan import mobile
from asc_search.nets.spec import NetSpec
from asc_search.nets.systems.bc_res2 import bc_res2net
from asc_search.nets.systems.mobile import sscp_mobile, sscp_s1, sscp_s3
from asc_search.oracle.budget import price_candidate
from asc_search.space.candidate import Candidate, Training
from asc_search.space.pruning import IMPORTANCES, Pruning
from asc_search.study.objective import pruning_hook
from asc_search.train.candidate import Material, leave_gradients, train_candidate
from asc_search.train.fit import Recipe, TrainState, start

FRONT = FrontEnd(rate_hz=8_000, window=512, n_fft=512, hop=500, mels=32)
SPEC = mobile("cp", FRONT.shape, 2, 24, 1.5, 2.0)
# architectures.md 4.2: stem's inner width, base, both wider stages, both expansions.
S3 = "24>8, 96>32, 176>58, 312>101, 208>68, 384>125"


def widths(spec: NetSpec) -> tuple[int, ...]:
    """Inner width and width of the stem, widths of blocks 4 and 6, expanded widths of blocks 1 and 6."""
    stem, *blocks, _ = spec.layers
    wide = blocks[0].options["hidden"], blocks[5].options["hidden"]
    return (stem.options["inner"], stem.out, blocks[3].out, blocks[5].out, *wide)


def step_by_step(candidate: Candidate) -> nn.Sequential:
    """The candidate's network pruned in all its steps, with nothing learnt between them."""
    network, spec = build(candidate.network), candidate.network
    for stage in candidate.stages:
        network, spec = prune_to(network, spec, stage), stage
    return network


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("schedule", ["once", "linear", "agp"])
def test_sscp_64_at_one_half_is_system_1_by_every_schedule(schedule: str) -> None:
    one = Candidate(FrontEnd(), sscp_mobile(64), pruning=Pruning(0.5, schedule=schedule, steps=3))
    cost = price_candidate(one)
    assert (cost.params, cost.macs) == (63_748, 29_982_132) and one.deployed == sscp_s1()
    assert parameters(step_by_step(one)) == 63_748


@pytest.mark.parametrize("fields", [{"schedule": "linear", "steps": 2}, {"schedule": "through", "through": "64"}])
def test_sscp_96_through_64_is_system_3_by_its_published_widths(fields: dict) -> None:
    one = Candidate(FrontEnd(), sscp_mobile(96), pruning=Pruning(widths=S3, **fields))
    first, last = one.stages
    assert widths(first) == (16, 64, 117, 206, 138, 254), "S3 stage 1 of the published checkpoints"
    assert last == one.deployed == sscp_s3()
    cost = price_candidate(one)
    assert (cost.params, cost.macs) == (63_215, 29_221_122)
    assert parameters(step_by_step(one)) == 63_215


def test_uniform_steps_round_down_from_the_original_width() -> None:
    one = Candidate(FrontEnd(), sscp_mobile(96), pruning=Pruning(2 / 3, schedule="through", through="80>64"))
    assert [stage.layers[0].out for stage in one.stages] == [80, 64, 32]
    assert widths(one.stages[1]) == (16, 64, 117, 208, 138, 256)
    narrower = replace(one, network=sscp_mobile(48), pruning=replace(one.pruning, ratio=1 / 3))
    assert [stage.layers[0].out for stage in narrower.stages] == [32], "64 and 80 are not on the way"
    agp = Pruning(0.5, schedule="agp", steps=4)
    by_hand = [128 * (1 - 0.5 * (1 - (1 - t / 4) ** 3)) for t in (1, 2, 3, 4)]
    assert [agp.kept(128, share) for share in agp.shares(128)] == [int(one) for one in by_hand] == [91, 72, 65, 64]
    linear = Pruning(0.5, schedule="linear", steps=4)
    assert [linear.kept(128, share) for share in linear.shares(128)] == [112, 96, 80, 64]
    rounded = replace(linear, round_to=8)
    assert [rounded.kept(100, share) for share in rounded.shares(100)] == [80, 72, 56, 48]


def test_steps_of_a_network_with_splits_take_channels_together() -> None:
    """Four splits and groups of three: multiples of 12 at every step, by ratio and by stated widths."""
    front = FrontEnd(window=2048, n_fft=2048, hop=1024)
    for pruning in (
        Pruning(0.5, schedule="agp", steps=3),
        Pruning(widths="36>12, 48>24, 60>36", schedule="linear", steps=2),
    ):
        one = Candidate(front, bc_res2net(), pruning=pruning)
        for stage in one.stages:
            assert all(layer.out % 12 == 0 for layer in stage.layers[:-1])
            assert len({layer.out for layer in stage.layers[:-1]}) >= 2
        assert (
            parameters(step_by_step(one))
            == price_candidate(one).params
            < price_candidate(replace(one, pruning=Pruning())).params
        )


def test_steps_are_spread_over_the_epochs() -> None:
    assert Pruning(0.5, 0.2, end=0.8).step_epochs(4, 10) == (2, 4, 6, 8)
    assert Pruning(0.5, 0.0, end=1.0).step_epochs(3, 10) == (1, 5, 9), "an epoch before and one after"
    assert Pruning(0.5, 0.3).step_epochs(1, 10) == (3,)
    assert Pruning(0.5, 0.3, end=0.7).step_epochs(5, 1) == (1,) * 5, "a rung of one epoch is pruned after it"


def test_what_leaves_nothing_or_cannot_be_read_is_refused() -> None:
    with pytest.raises(NetworkError, match="leaves nothing of a width of 1"):
        Pruning(0.5).kept(1)
    assert [Pruning(0.5, round_to=8).kept(width) for width in (4, 15, 17, 33)] == [4, 8, 8, 16]
    for text in ("96", "96>97", "96>0", "96>32, 96>31", "a>b"):
        with pytest.raises(NetworkError, match="no pruning of a width"):
            Pruning(widths=text).kept(4)
    for text in ("64>80", "64>64", "64>", "x"):
        with pytest.raises(NetworkError, match="falling widths"):
            Pruning(0.5, schedule="through", through=text).shares(96)


@pytest.fixture
def material(tmp_path: Path) -> Material:
    (tmp_path / "audio").mkdir()
    return Material(tmp_path, tone_clips(tmp_path / "audio", 8, 8_000), {})


def trained(one: Candidate, material: Material, path: Path, until: int, seen: list | None = None) -> TrainState:
    """Trained to epoch ``until`` of 6; ``seen`` collects the specs after each epoch."""
    hook = pruning_hook(one, 6, material)
    after = (lambda state: None) if seen is None else (lambda state: seen.append(state.spec))
    return train_candidate(one, material, path, seed=3, epochs=6, until=until, before_epoch=hook, after_epoch=after)


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_a_training_pruned_in_steps_resumes_at_any_epoch(importance: str, material: Material, tmp_path: Path) -> None:
    pruning = Pruning(0.5, 0.2, importance, "agp", 3, 0.7)
    recipe = Training(batch=4, freq_mask=2, ema_decay=0.5)
    one = Candidate(FRONT, SPEC, pruning=pruning, training=recipe)
    seen: list[NetSpec] = []
    whole = trained(one, material, tmp_path / "whole", 6, seen)
    stages = one.stages
    assert seen == [SPEC, stages[0], stages[0], stages[1], stages[2], stages[2]] and stages[2] == one.deployed
    for stop in range(1, 6):
        path = tmp_path / f"stopped-{stop}"
        trained(one, material, path, stop)
        torch.rand(stop)  # another process has another global generator
        again = trained(one, material, path, 6)
        assert again.spec == whole.spec
        for name, value in whole.network.state_dict().items():
            assert torch.equal(value, again.network.state_dict()[name]), (stop, name)


def survivors(network: nn.Sequential, spec: NetSpec, target: NetSpec, importance: str) -> set[float]:
    """The first weights of the stem's first convolution that are left."""
    pruned = prune_to(network, spec, target, importance)
    return set(pruned[0][0].weight[:, 0, 0, 0].tolist())


def test_each_importance_keeps_the_channels_it_says() -> None:
    """On the stem's first convolution, BatchNorm and the second convolution's input, against NumPy."""
    spec = mobile("cp", FRONT.shape, 2, 64, 1.0, 1.0)
    target = shrink(spec, lambda width: width // 2)

    def fresh() -> tuple[nn.Sequential, dict[str, np.ndarray], np.ndarray]:
        network = build(spec)
        nn.init.uniform_(network[0][1].weight, 0.95, 1.05)
        x, label = torch.randn(8, *spec.input), torch.arange(8) % 2
        nn.functional.cross_entropy(network.eval()(x), label).backward()
        first, norm, second = network[0][0], network[0][1], network[0][3]
        w = first.weight.detach().numpy().reshape(len(first.weight), -1)
        into = second.weight.detach().numpy().swapaxes(0, 1).reshape(len(w), -1)
        scale = norm.weight.detach().numpy()
        moves = [(one.weight * one.weight.grad).detach().abs().numpy() for one in (first, second)]
        scores = {
            "group_norm": (w**2).sum(1) + (into**2).sum(1) + scale**2,
            "magnitude": np.abs(w).sum(1),
            "bn_scale": np.abs(scale),
            "taylor": moves[0].sum((1, 2, 3)) + moves[1].sum((0, 2, 3)),
        }
        return network, scores, w[:, 0]

    kept = {}
    for importance in IMPORTANCES:
        torch.manual_seed(1)
        network, scores, names = fresh()
        best = np.argsort(scores[importance])[len(names) - len(names) // 2 :]
        assert survivors(network, spec, target, importance) == set(names[best].tolist()), importance
        kept[importance] = frozenset(names[best].tolist())
    assert len(set(kept.values())) == 4, "they differ"
    with pytest.raises(NetworkError, match="gradients"):
        prune_to(build(spec), spec, target, "taylor")


def test_gradients_are_those_of_the_training_loss_and_change_nothing(material: Material) -> None:
    one = Candidate(FRONT, SPEC, training=Training(batch=4, freq_mask=0, roll_s=0, mixstyle_p=0, label_smoothing=0.1))
    state = start(SPEC, Recipe(one.training, 2, 2), 0)
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    leave_gradients(one, material, state, 2)
    assert all(torch.equal(value, before[name]) for name, value in state.network.state_dict().items())
    found = {name: parameter.grad.clone() for name, parameter in state.network.named_parameters()}
    x = torch.from_numpy(np.array(material.inputs(one).windows.values)).float()
    labels = torch.from_numpy(material.training.label_array())
    state.network.zero_grad()
    # Two batches of four: the sum of two means is twice the mean over all.
    (2 * nn.functional.cross_entropy(state.network(x), labels, label_smoothing=0.1)).backward()
    for name, parameter in state.network.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-5)
