"""A trial and a retraining of a candidate pruned to the budget in steps, by gradients: from training to the model file."""

from __future__ import annotations

from pathlib import Path

from support import tone_clips

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.nets.network import price
from asc_search.nets.plan import mobile
from asc_search.oracle.budget import price_candidate
from asc_search.oracle.to_budget import fitted
from asc_search.space.candidate import Candidate, Distillation, Training
from asc_search.space.pruning import Pruning
from asc_search.space.space import Budget
from asc_search.study.objective import train_trial
from asc_search.study.retrain import MODEL, Finalist, dense, retrain
from asc_search.train.candidate import Material
from asc_search.train.model_file import load_model

FRONT = FrontEnd(rate_hz=8_000, window=512, n_fft=512, hop=400, mels=16)


def test_what_was_priced_is_what_is_trained_and_stored(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    clips = tone_clips(tmp_path / "audio", 8, 8_000)
    spec = mobile("cp", FRONT.shape, 2, 24, 1.5, 2.0)
    limit = price(spec).macs // 3
    pruning = Pruning(importance="taylor", schedule="agp", steps=3, target="budget")
    one = Candidate(FRONT, spec, pruning=pruning, training=Training(batch=4, freq_mask=2))
    one = fitted(one, Budget(macs=limit))
    material = Material(tmp_path, clips, {})
    results = train_trial(
        one, material, clips, tmp_path / "trial", (1, 2), 0, lambda rung, result: True, lambda epoch: None
    )
    assert [result.epochs for result in results] == [1, 2], "the first rung is one epoch, pruned after it"
    trained = retrain(Finalist("one", "finalist", one), material, clips, tmp_path / "final", 4, 0, lambda epoch: None)
    model = load_model(trained.folder / MODEL)
    counted = sum(parameter.numel() for parameter in model.network.parameters())
    assert counted == price(one.deployed).params < price(spec).params
    assert 0.9 * limit < price(one.deployed).macs <= limit


def test_a_dense_twin_has_the_pruned_widths_from_the_start_and_the_same_teachers() -> None:
    spec = mobile("cp", FRONT.shape, 2, 24, 1.5, 2.0)
    one = Candidate(FRONT, spec, pruning=Pruning(0.5), distillation=Distillation(teachers=("tagger",), weight=0.1))
    twin = dense(Finalist("trial 3", "finalist", one, 3))
    assert (twin.name, twin.role, twin.trial) == ("trial 3, dense", "dense", 3)
    assert twin.candidate.network == twin.candidate.deployed == one.deployed and not twin.candidate.stages
    assert twin.candidate.distillation == one.distillation and twin.candidate.training == one.training
    assert price_candidate(twin.candidate) == price_candidate(one)
