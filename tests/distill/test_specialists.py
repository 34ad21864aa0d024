"""Specialists: the most confused pairs, batches half and half, and networks that go on from the generalist."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.data.source import open_source
from asc_search.distill.networks import most_confused
from asc_search.distill.teachers import teach
from asc_search.errors import WeightsError
from asc_search.space.candidate import Candidate, Training
from asc_search.space.teachers import NetworkTeacher, SpecialistTeacher
from asc_search.train.batches import batch_count, epoch_batches
from asc_search.train.candidate import Material, Origin, train_candidate
from asc_search.train.inputs import open_inputs
from asc_search.train.metrics import evaluate
from asc_search.train.responses import ALL_GENERATED

FRONTEND = FrontEnd(mels=32, hop=2000, window=2048, n_fft=2048)
GENERALIST = NetworkTeacher("wide", "cp", 8, 1.5, 2.0, (2, 2), 1, 5e-3)
CPU = torch.device("cpu")


def test_pairs_come_in_the_order_of_their_confusion() -> None:
    rng = np.random.default_rng(0)
    labels, said = rng.integers(0, 5, 400), rng.integers(0, 5, 400)
    names = list("abcde")
    metrics = evaluate(np.eye(5)[said] * 0.9 + 0.02, labels, names)
    counted = {
        (i, j): sum((t, p) in ((i, j), (j, i)) for t, p in zip(labels, said, strict=True))
        for i, j in combinations(range(5), 2)
    }
    expected = sorted(counted, key=lambda pair: (-counted[pair], pair))
    assert [most_confused(metrics, pair) for pair in range(1, 11)] == expected
    with pytest.raises(WeightsError, match="11-th pair of 5"):
        most_confused(metrics, 11)


@pytest.mark.parametrize(("batch", "crops"), [(8, 1), (7, 2), (64, 3)])
def test_every_batch_is_exactly_half_the_pair_and_half_others(
    tmp_path: Path, demo_folder: Path, batch: int, crops: int
) -> None:
    clips = open_source(f"folder:{demo_folder}", tmp_path, validation_fraction=0.34).clips.split("train")
    recipe = Training(batch=batch, crops_per_clip=crops, freq_mask=0)
    inputs = open_inputs(tmp_path, clips, FRONTEND, recipe, ALL_GENERATED, CPU)
    pair = (2, 7)
    ours = int(np.isin(clips.labels, pair).sum())
    heard = []
    for epoch in range(2):
        batches = list(epoch_batches(inputs, None, recipe, 0, epoch, 2, CPU, pair=pair))
        assert len(batches) == batch_count(inputs.windows, recipe, pair)
        for one in batches:
            inside = np.isin(one.labels.numpy(), pair)
            assert inside.sum() * 2 == len(inside) <= batch
        labels = torch.cat([one.labels for one in batches]).numpy()
        assert np.isin(labels, pair).sum() == ours * crops, "all of the pair is heard in each epoch"
        heard.append(np.sort(labels[~np.isin(labels, pair)]))
    assert len(heard[0]) == ours * crops and set(np.concatenate(heard)).isdisjoint(pair)
    assert not np.array_equal(*heard), "the others are drawn anew in each epoch"


def teach_them(folder: Path, demo: Path, **fields):  # type: ignore[no-untyped-def]
    clips = open_source(f"folder:{demo}", folder, validation_fraction=0.34).clips
    training, validation = clips.split("train"), clips.split("validation")
    rest = (training, validation, FRONTEND, Training(batch=16, freq_mask=4), 0, lambda state: None)
    generalist = teach(folder, GENERALIST, *rest)
    specialist = SpecialistTeacher("special", GENERALIST, **{"pair": 1, "epochs": 1, "lr": 5e-3, **fields})
    return generalist, teach(folder, specialist, *rest, generalist=generalist), training


def test_a_specialist_goes_on_from_its_generalist(tmp_path: Path, demo_folder: Path) -> None:
    generalist, still, _ = teach_them(tmp_path, demo_folder, lr=1e-9)
    same = np.corrcoef(generalist.lesson.embedding.ravel(), still.lesson.embedding.ravel())[0, 1]
    _, moved, training = teach_them(tmp_path, demo_folder, epochs=3)
    assert same > 0.95, "only the statistics of BatchNorm have moved"
    pair = most_confused(generalist.validation, 1)
    ours = np.isin(training.label_array(), pair)
    inside = [
        taught.lesson.logits[:, list(pair)].mean(1) - taught.lesson.logits.mean(1) for taught in (generalist, moved)
    ]
    assert inside[1].mean() > inside[0].mean(), "it says its pair more often"
    assert ours.any()
    with pytest.raises(WeightsError, match="46-th"):
        teach_them(tmp_path, demo_folder, pair=46)


def test_a_student_may_begin_at_trained_weights_and_at_no_others(tmp_path: Path, demo_folder: Path) -> None:
    generalist, _, training = teach_them(tmp_path, demo_folder)
    recipe = Training(batch=16, freq_mask=4, lr=1e-9, ema_decay=0.5)
    candidate = Candidate(FRONTEND, GENERALIST.network(FRONTEND.shape, 10), training=recipe)
    material = Material(tmp_path, training, {})
    first = {}

    def look(state) -> None:  # type: ignore[no-untyped-def]
        first.update({name: value.clone() for name, value in state.network.state_dict().items()})

    origin = Origin(generalist.checkpoint)
    train_candidate(candidate, material, tmp_path / "c.st", seed=1, epochs=1, before_epoch=look, origin=origin)
    from asc_search.train.checkpoint import load

    saved = load(generalist.checkpoint)
    assert saved is not None and all(torch.equal(saved.network[name].cpu(), value) for name, value in first.items())
    other = replace(candidate, network=replace(GENERALIST, base=16).network(FRONTEND.shape, 10))
    with pytest.raises(WeightsError, match="weights of another network"):
        train_candidate(other, material, tmp_path / "d.st", seed=1, epochs=1, origin=origin)
