"""The training loop: it learns, resumes to the same weights, ends on divergence, and never leaves half a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from asc_search.audio.augment import draw_mix, mixed
from asc_search.audio.frontend_spec import FrontEnd
from asc_search.errors import AscSearchError, DivergedError
from asc_search.nets.blocks import family
from asc_search.nets.plan import mobile
from asc_search.nets.spec import NetSpec
from asc_search.space.candidate import Candidate, Distillation, Pruning, Training
from asc_search.study.objective import pruning_hook
from asc_search.train import checkpoint
from asc_search.train.fit import Recipe, TrainState, fit, restore, start
from asc_search.train.losses import Batch, cross_entropy, distillation
from asc_search.train.optimizers import OPTIMIZERS
from asc_search.train.watch import LOOK_EVERY, Watch

SPEC = mobile("cp", (1, 32, 17), 3, 8, 1.5, 2.0)
STEPS = 4
RECIPE = Recipe(Training(), epochs=30, steps_per_epoch=STEPS)


def recipe(epochs: int = 4, **fields: float | str) -> Recipe:
    return Recipe(Training(**fields), epochs, STEPS)


def batches(epoch: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(epoch)
    result = []
    for _ in range(STEPS):
        labels = torch.randint(0, 3, (16,), generator=generator)
        x = torch.randn(16, 1, 32, 17, generator=generator)
        x += 2 * torch.sin((labels + 0.5)[:, None, None, None] * torch.arange(17))
        result.append(Batch(x, labels, None, None))
    return result


def mixed_batches(epoch: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(epoch)
    result = []
    for batch in batches(epoch):
        mix = draw_mix(len(batch.x), 0.3, generator)
        result.append(Batch(mixed(batch.x, mix), batch.labels, torch.randn(16, 1, 3, generator=generator), mix))
    return result


def distilled(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    return distillation(logits, batch, Distillation(temperature=2.0, weight=0.3), 0.1)


def embedded_batches(epoch: int) -> list[Batch]:
    """Batches with an embedding to predict: a linear function of the class."""
    directions = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    return [
        replace(batch, teacher=torch.zeros(16, 1, 3), embedding=directions[batch.labels]) for batch in batches(epoch)
    ]


def predicting(logits: torch.Tensor, batch: Batch, predicted: torch.Tensor) -> torch.Tensor:
    return distillation(logits, batch, Distillation(features=2.0), predicted=predicted)


def with_dropout() -> NetSpec:
    head = family("linear_head").layer(SPEC.layers[-2].out, 3, features=12, hidden=8, dropout=0.5)
    return replace(SPEC, layers=(*SPEC.layers[:-1], head))


def everything(state: TrainState) -> dict[str, torch.Tensor]:
    """All tensors a training goes on from."""
    tensors = dict(state.network.state_dict())
    if state.regressor is not None:
        tensors |= {f"regressor.{name}": value for name, value in state.regressor.state_dict().items()}
    if state.average is not None:
        tensors |= {f"aside.{name}": value for name, value in state.average.aside.items()}
    for index, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
    return tensors


def assert_equal(one: TrainState, other: TrainState) -> None:
    assert (one.spec, one.epoch) == (other.spec, other.epoch)
    ours, theirs = everything(one), everything(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def assert_resumes(
    path: Path, spec: NetSpec, plan: Recipe, before_epoch: Callable[[TrainState], None] = lambda state: None
) -> TrainState:
    """Four epochs at once and two, a reload, two end alike; returns the state."""
    whole = fit(start(spec, plan, 1), mixed_batches, distilled, plan, 4, before_epoch=before_epoch)
    fit(start(spec, plan, 1), mixed_batches, distilled, plan, 2, save_to=path, before_epoch=before_epoch)
    torch.rand(7)  # another process has another global generator
    resumed = restore(path, plan)
    assert resumed is not None and resumed.epoch == 2
    fit(resumed, mixed_batches, distilled, plan, 4, before_epoch=before_epoch)
    assert_equal(whole, resumed)
    return whole


@pytest.mark.parametrize("fields", [{}, {"ema_decay": 0.9}, {"precision": "bf16"}])
def test_it_learns_what_is_there_to_learn(fields: dict[str, float | str]) -> None:
    plan = recipe(30, **fields)
    state = fit(start(SPEC, plan, 0), batches, cross_entropy, plan, plan.epochs)
    held_out = batches(99)[0]
    accuracy = (state.network.eval()(held_out.x).argmax(1) == held_out.labels).float().mean()
    assert accuracy > 0.8


@pytest.mark.parametrize("ema_decay", [0.0, 0.99])
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_a_resumed_training_ends_with_the_same_weights(tmp_path: Path, optimizer: str, ema_decay: float) -> None:
    plan = recipe(optimizer=optimizer, lr=5e-3, ema_decay=ema_decay)
    assert_resumes(tmp_path / "checkpoint.safetensors", SPEC, plan)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("begin", [0.25, 0.5, 0.75])
def test_a_pruned_training_resumes_to_the_same_weights(tmp_path: Path, begin: float, optimizer: str) -> None:
    candidate = Candidate(FrontEnd(), SPEC, pruning=Pruning(0.4, begin))
    plan = recipe(optimizer=optimizer, ema_decay=0.9)
    hook = pruning_hook(candidate, plan.epochs)
    state = assert_resumes(tmp_path / "checkpoint.safetensors", SPEC, plan, hook)
    assert state.spec == candidate.deployed != SPEC
    assert isinstance(state.optimizer, torch.optim.SGD if optimizer == "sgd" else torch.optim.AdamW)
    assert {id(one) for one in state.optimizer.param_groups[0]["params"]} == {id(p) for p in state.network.parameters()}
    assert state.average is not None and state.average.updates == STEPS * (4 - round(begin * 4))


def test_dropout_resumes_to_the_same_weights_and_leaves_the_generator_alone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    plan = recipe(ema_decay=0.9)
    fit(start(with_dropout(), plan, 0), mixed_batches, distilled, plan, 1)
    assert torch.equal(torch.rand(4), expected)
    assert_resumes(tmp_path / "checkpoint.safetensors", with_dropout(), plan)


def test_dropout_differs_by_seed_and_epoch() -> None:
    spec, drawn = with_dropout(), []

    def note(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        drawn.append(logits.detach().clone())
        return 0 * logits.sum()  # the weights stay

    plan = recipe(2, weight_decay=0.0)
    same = batches(0)[:1]
    for seed in (1, 1, 2):
        state = start(spec, plan, 0)
        state.seed = seed
        fit(state, lambda epoch: same, note, plan, 2)
    first, second, again, _, other, _ = drawn
    assert torch.equal(first, again)
    assert not torch.equal(first, second) and not torch.equal(first, other)


def test_an_interrupted_epoch_is_trained_again(tmp_path: Path) -> None:
    plan = recipe(ema_decay=0.9)
    whole = fit(start(SPEC, plan, 1), batches, cross_entropy, plan, 4)
    path = tmp_path / "checkpoint.safetensors"

    class Killed(Exception):
        pass

    def until_killed(epoch: int):
        for step, batch in enumerate(batches(epoch)):
            if (epoch, step) == (2, 3):
                raise Killed
            yield batch

    with pytest.raises(Killed):
        fit(start(SPEC, plan, 1), until_killed, cross_entropy, plan, 4, save_to=path)
    resumed = restore(path, plan)
    assert resumed is not None and resumed.epoch == 2
    assert_equal(whole, fit(resumed, batches, cross_entropy, plan, 4))


def test_a_cut_checkpoint_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    fit(start(SPEC, RECIPE, 1), batches, cross_entropy, RECIPE, 1, save_to=path)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert restore(path, RECIPE) is None
    save_file({"network.weight": torch.zeros(1)}, path, {"note": "{}"})
    assert restore(path, RECIPE) is None  # of a version that said less
    assert checkpoint.load(tmp_path / "absent.safetensors") is None


def test_averaged_weights_are_those_seen_between_epochs_and_saved(tmp_path: Path) -> None:
    plan, plain = recipe(ema_decay=0.9), recipe()
    path, seen = tmp_path / "checkpoint.safetensors", []
    state = fit(
        start(SPEC, plan, 1), batches, cross_entropy, plan, 1, save_to=path, after_epoch=lambda s: seen.append(s)
    )
    trained = fit(start(SPEC, plain, 1), batches, cross_entropy, plain, 1)
    assert seen == [state] and state.average is not None
    saved = checkpoint.load(path)
    assert saved is not None
    for name, value in trained.network.state_dict().items():
        assert torch.equal(state.average.aside[name], value), name
        assert torch.equal(saved.network[name], state.network.state_dict()[name]), name
    pairs = zip(state.network.parameters(), trained.network.parameters(), strict=True)
    assert not any(torch.equal(averaged, last) for averaged, last in pairs)


def test_divergence_names_epoch_and_step() -> None:
    def explode(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return logits.sum() * float("nan")

    with pytest.raises(DivergedError, match="epoch 1, step 1"):
        fit(start(SPEC, RECIPE, 0), batches, explode, RECIPE, 1)


def test_a_watch_that_looks_seldom_finds_the_same_step() -> None:
    for bad, said in ((float("nan"), "nan"), (float("inf"), "inf"), (2e4, "20000")):
        watch = Watch(epoch=2, every=LOOK_EVERY)
        watch.add(torch.tensor(1.0))
        watch.add(torch.tensor(bad))
        watch.add(torch.tensor(1.0))
        with pytest.raises(DivergedError, match=f"became {said} in epoch 3, step 2"):
            watch.close(torch.nn.Identity(), None)
    watch = Watch(epoch=0, every=2)
    watch.add(torch.tensor(1.0))
    with pytest.raises(DivergedError, match="step 2"):
        watch.add(torch.tensor(float("nan")))


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, ema_decay: float) -> None:
    """Here the last step's gradient, not its loss, is NaN: no later loss would tell."""
    plan, path = recipe(ema_decay=ema_decay), tmp_path / "checkpoint.safetensors"
    state, steps = start(SPEC, plan, 0), []

    def poisoned(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        steps.append(batch)
        if len(steps) == 2 * STEPS:
            logits.register_hook(lambda gradient: gradient * float("nan"))
        return cross_entropy(logits, batch)

    with pytest.raises(DivergedError, match="not finite after epoch 2"):
        fit(state, batches, poisoned, plan, 4, save_to=path)
    saved = checkpoint.load(path)
    assert saved is not None and saved.note["epoch"] == 1
    assert all(value.isfinite().all() for value in [*saved.network.values(), *saved.aside.values()])


def test_the_gradient_is_clipped_to_its_bound() -> None:
    def step(grad_clip: float) -> torch.Tensor:
        plan = recipe(1, optimizer="sgd", momentum=0.0, weight_decay=0.0, schedule="constant", warmup=0.0, lr=1.0)
        plan = replace(plan, training=replace(plan.training, grad_clip=grad_clip))
        state = start(SPEC, plan, 0)
        before = torch.cat([p.detach().flatten().clone() for p in state.network.parameters()])
        fit(state, lambda epoch: batches(epoch)[:1], lambda logits, batch: 50 * cross_entropy(logits, batch), plan, 1)
        return torch.cat([p.detach().flatten() for p in state.network.parameters()]) - before

    free = step(0.0)
    assert free.norm() > 1
    assert step(0.01).norm().item() == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(step(1e6), free)


def test_bf16_computes_in_bf16_and_hands_the_loss_float32() -> None:
    seen = []

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        seen.append(logits)
        return cross_entropy(logits, batch)

    for precision in ("fp32", "bf16", "fp16"):
        plan = recipe(1, precision=precision)
        fit(start(SPEC, plan, 0), lambda epoch: batches(epoch)[:1], loss, plan, 1)
    full, bf16, fp16 = seen
    assert bf16.dtype == torch.float32 and torch.equal(bf16, bf16.bfloat16().float())
    assert not torch.equal(full, bf16)
    torch.testing.assert_close(bf16, full, atol=0.2, rtol=0.1)
    assert torch.cuda.is_available() or torch.equal(fp16, full)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"optimizer": "lion"}, "training.optimizer: 'lion'.*adamw, adam, amsgrad, radam, sgd"),
        ({"schedule": "zigzag"}, "training.schedule: 'zigzag'.*cosine"),
        ({"ramp": "cubic"}, "training.ramp: 'cubic'.*linear, exponential"),
        ({"schedule": "inverse"}, "training.final_lr: .*above 0"),
        ({"precision": "fp8"}, "training.precision: 'fp8'.*fp32, bf16, fp16"),
    ],
)
def test_names_that_do_not_exist_are_said_before_training(fields: dict[str, str], said: str) -> None:
    with pytest.raises(AscSearchError, match=said):
        start(SPEC, recipe(**fields), 0)


def test_a_candidate_written_before_these_fields_reads_as_it_was() -> None:
    old = {key: getattr(Training(), key) for key in ("lr", "weight_decay", "batch", "warmup", "mixup_alpha")}
    data = {**Candidate(FrontEnd(), SPEC).to_json(), "training": old}
    assert Candidate.from_json(data).training == Training()


def test_features_learn_to_predict_an_embedding_through_a_layer_that_stays_aside(tmp_path: Path) -> None:
    plan = replace(recipe(12), predicted=5)
    path = tmp_path / "c.safetensors"
    state = fit(start(SPEC, plan, 0), embedded_batches, predicting, plan, 3, save_to=path)
    whole = fit(start(SPEC, plan, 0), embedded_batches, predicting, plan, 12)
    assert state.regressor is not None
    resumed = restore(path, plan)
    assert resumed is not None
    assert_equal(fit(resumed, embedded_batches, predicting, plan, 12), whole)
    network = whole.network.eval()
    assert not any("regressor" in name for name in network.state_dict())
    batch = embedded_batches(99)[0]
    with torch.no_grad():
        maps = network.trunk(batch.x)
        means = torch.cat([each.mean((2, 3)) for each in maps], 1)
        left = (whole.regressor(means) - batch.embedding).square().mean()
    assert left < 0.5 * batch.embedding.square().mean(), "better than predicting nothing"


def test_a_pruned_network_gets_a_regressor_of_its_own_width() -> None:
    plan = replace(recipe(3), predicted=5)
    candidate = Candidate(FrontEnd(), SPEC, pruning=Pruning(0.5, 0.3))
    state = fit(start(SPEC, plan, 0), embedded_batches, predicting, plan, 3, before_epoch=pruning_hook(candidate, 3))
    assert state.spec == candidate.deployed
    assert state.regressor.in_features == candidate.deployed.layers[-2].out
