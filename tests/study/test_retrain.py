"""Retraining finalists side by side: the same networks as one after the other; a diverged one leaves the others alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support import tone_clips

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.nets.plan import mobile
from asc_search.processes import cpu_threads
from asc_search.space.candidate import Candidate, Training
from asc_search.study.retrain import Finalist, Trained, retrain_all
from asc_search.study.run_folder import RunFolder
from asc_search.train.candidate import Material

FRONTEND = FrontEnd(rate_hz=8_000, window=512, n_fft=512, hop=400, mels=16)


def finalists(folder: Path, names: dict[str, float], parallel: int) -> dict[Finalist, list[Trained]]:
    """One finalist for each name and learning rate, trained for two epochs from two seeds."""
    clips = tone_clips(folder, 8, 8_000)
    spec = mobile("cp", FRONTEND.shape, 2, 8, 1.5, 2.0)
    recipe = Training(batch=4, freq_mask=2)
    wanted = [
        Finalist(name, "finalist", Candidate(FRONTEND, spec, training=replace(recipe, lr=lr)))
        for name, lr in names.items()
    ]
    return retrain_all(wanted, Material(folder, clips, {}), clips, RunFolder(folder), 2, 2, parallel)


def test_side_by_side_gives_the_networks_of_one_after_the_other(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    alone = finalists(folders[0], {"slow": 0.001, "fast": 0.01}, 1)
    with cpu_threads(2):  # one for each
        together = finalists(folders[1], {"slow": 0.001, "fast": 0.01}, 2)
    assert list(alone) == list(together)
    weights = []
    for trained in (alone, together):
        assert all(len(runs) == 2 for runs in trained.values())
        weights.append([load_file(run.folder / "model.safetensors") for runs in trained.values() for run in runs])
    for one, two in zip(*weights, strict=True):
        assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    assert not all(torch.equal(weights[0][0][key], weights[0][1][key]) for key in weights[0][0]), "seeds differ"


def test_a_diverged_seed_is_told_and_the_others_stay(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with cpu_threads(2):
        trained = finalists(tmp_path, {"good": 0.001, "bad": 1e30}, 2)
    assert [finalist.name for finalist in trained] == ["good"]
    said = capfd.readouterr().err
    assert said.count("bad, seed") == 2 and "failed" in said and said.count("% on validation") == 2
