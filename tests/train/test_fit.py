"""The training loop: it learns, resumes to the same weights, ends on divergence, and never leaves half a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asc_search.errors import DivergedError
from asc_search.nets.plan import mobile
from asc_search.train import checkpoint
from asc_search.train.fit import Recipe, TrainState, fit, restore, start
from asc_search.train.losses import Batch, cross_entropy
from asc_search.train.schedules import warmup_cosine

SPEC = mobile("cp", (1, 32, 17), 3, 8, 1.5, 2.0)
RECIPE = Recipe(lr=5e-3, weight_decay=1e-4, warmup=0.1, epochs=30, steps_per_epoch=4)


def batches(epoch: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(epoch)
    result = []
    for _ in range(RECIPE.steps_per_epoch):
        labels = torch.randint(0, 3, (16,), generator=generator)
        x = torch.randn(16, 1, 32, 17, generator=generator)
        x += 2 * torch.sin((labels + 0.5)[:, None, None, None] * torch.arange(17))
        result.append(Batch(x, labels, None, None))
    return result


def test_it_learns_what_is_there_to_learn() -> None:
    state = fit(start(SPEC, RECIPE, 0), batches, cross_entropy, RECIPE, RECIPE.epochs)
    held_out = batches(99)[0]
    accuracy = (state.network.eval()(held_out.x).argmax(1) == held_out.labels).float().mean()
    assert accuracy > 0.8


def test_a_resumed_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = fit(start(SPEC, RECIPE, 1), batches, cross_entropy, RECIPE, 4)
    path = tmp_path / "checkpoint.safetensors"

    class Killed(Exception):
        pass

    def kill(state: TrainState) -> None:
        if state.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        fit(start(SPEC, RECIPE, 1), batches, cross_entropy, RECIPE, 4, save_to=path, after_epoch=kill)
    resumed = restore(path, RECIPE)
    assert resumed is not None and resumed.epoch == 2
    fit(resumed, batches, cross_entropy, RECIPE, 4)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_a_cut_checkpoint_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    fit(start(SPEC, RECIPE, 1), batches, cross_entropy, RECIPE, 1, save_to=path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert restore(path, RECIPE) is None
    assert checkpoint.load(tmp_path / "absent.safetensors") is None


def test_divergence_names_epoch_and_step() -> None:
    def explode(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return logits.sum() * float("nan")

    with pytest.raises(DivergedError, match="epoch 1, step 1"):
        fit(start(SPEC, RECIPE, 0), batches, explode, RECIPE, 1)


def test_schedule_rises_linearly_and_falls_to_zero() -> None:
    assert warmup_cosine(0.05, 0.1) == pytest.approx(0.5)
    assert warmup_cosine(0.1, 0.1) == pytest.approx(1.0)
    assert warmup_cosine(0.55, 0.1) == pytest.approx(0.5)
    assert warmup_cosine(1.0, 0.1) == pytest.approx(0.0, abs=1e-12)
