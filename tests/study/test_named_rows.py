"""Studies of named rows: what a row says, what is trained from what, and the table that comes out."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import asc_search

from asc_search.data.clips import Clips
from asc_search.data.source import open_source
from asc_search.data.splits import cut_training
from asc_search.errors import SpaceError
from asc_search.nets.network import build
from asc_search.report.rows_table import in_words, markdown, write_rows
from asc_search.space.rows import Direction, loads_study
from asc_search.study import named_rows, row_results
from asc_search.study.named_rows import run_study
from asc_search.study.retrain import MODEL
from asc_search.study.row_results import MeasuredRow
from asc_search.study.run_folder import RunFolder
from asc_search.train.metrics import evaluate
from asc_search.train.model_file import load_model

STUDY = """source: Somebody 2020
data: {validation_fraction: 0.34}
frontend: {mels: 32, hop: 2000, window: 2048, n_fft: 2048}
network: {stem: cp, base: 8, stages: [{family: cp, depth: 1, expansion: 2}]}
distillation:
  teachers: []
  average: sum
  weight: 0
  pool: {wide: {kind: network, family: cp, base: 16, epochs: 1, lr: 0.005}}
training: {batch: 16, freq_mask: 4}
retrain: {epochs: 1, seeds: 2}
rows:
  generalist: {reported: {overall: 70, unseen: 60.5}}
  special: {start: generalist, specialist: 1, training.lr: 0.001}
  as it was: {start: generalist, training.lr: 0.000001}
  other pair: {start: generalist, specialist: 2, training.lr: 0.001}
  student: {start: generalist, taught_by: [generalist, special], distillation.teachers: [wide]}
  other: {network.stages.0.depth: 2}
  together: {ensemble: [student, other]}
directions:
  - {says: students beat generalists, better: student, than: generalist}
"""


def test_a_row_changes_the_space_at_full_paths() -> None:
    study = loads_study(STUDY)
    rows = {row.name: row for row in study.rows}
    assert rows["special"].space.constants["training.lr"] == 0.001
    assert rows["generalist"].space.constants["training.lr"] == 0.005
    assert rows["other"].space.constants["network.stages.0.depth"] == 2
    assert rows["student"].needs == ("generalist", "generalist", "special")
    assert rows["generalist"].reported == {"overall": 70.0, "unseen": 60.5}
    assert study.directions == (Direction("students beat generalists", "student", "generalist", "overall"),)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("training.lr: 0.001", "training.lr: 7", "s.yaml:14: training.lr: 7 is not allowed"),
        ("training.lr: 0.001", "training.lrr: 7", "training.lrr: unknown key"),
        ("training.lr: 0.001", "lr: 7", "rows.special.lr: unknown key; a row has full paths"),
        ("training.lr: 0.001", "training.lr: {choice: [0.1, 0.2]}", "rows.special.training.lr: is searched"),
        ("start: generalist, specialist", "start: generalized, specialist", "did you mean 'generalist'?"),
        ("{start: generalist, specialist: 1", "{specialist: 1", "rows.special.specialist: needs the generalist"),
        ("taught_by: [generalist, special]", "taught_by: [together]", "'together' is no row before it"),
        ("overall: 70", "overal: 70", "rows.generalist.reported.overal: unknown key"),
        ("than: generalist", "than: nobody", "directions.0.than: 'nobody' is not allowed"),
        ("training.lr: 0.001", "data.seed: 2", "all rows share their data"),
        ("training.lr: 0.001", "data.subset: 50%", "learns from 100% of the training part, this row from less"),
        ("rows:\n", "lines:\n", "rows: expected a mapping of named rows"),
    ],
)
def test_mistakes_are_named_with_file_line_and_key(old: str, new: str, said: str) -> None:
    assert old in STUDY
    with pytest.raises(SpaceError) as caught:
        loads_study(STUDY.replace(old, new, 1), "s.yaml")
    assert said in str(caught.value) and "s.yaml:" in str(caught.value)


def test_rows_are_trained_from_one_another_and_read_back(tmp_path: Path, demo_folder: Path) -> None:
    study = loads_study(STUDY, str(tmp_path / "s.yaml"), tmp_path).on(f"folder:{demo_folder}")
    run = RunFolder(tmp_path / "run")
    rows = {row.name: row for row in run_study(study, run, 1)}
    assert list(rows) == ["generalist", "special", "as it was", "other pair", "student", "other", "together"]
    assert all(len(row.validation) == 2 == len(row.values["overall"]) for row in rows.values())
    assert rows["together"].macs == rows["student"].macs + rows["other"].macs, "both costs are counted"
    assert rows["together"].params == rows["student"].params + rows["other"].params
    assert rows["other"].params > rows["student"].params == rows["generalist"].params
    models = {
        path.parent.name + path.parent.parent.name.rsplit("-", 1)[0]: path
        for path in run.root.glob(f"rows/*/*/{MODEL}")
    }
    assert len(models) == 12
    weights = {
        name: torch.cat([p.flatten() for p in load_model(path).network.parameters()]) for name, path in models.items()
    }

    def distance(one: str, other: str) -> float:
        return (weights[one] - weights[other]).norm().item()

    # float16 as stored; from fresh weights it would be as far as the generalist itself was trained
    assert distance("seed-0as-it-was", "seed-0generalist") < 1e-3 * weights["seed-0generalist"].norm().item()
    assert distance("seed-0special", "seed-0generalist") < 0.5 * distance("seed-1generalist", "seed-0generalist")
    assert distance("seed-1student", "seed-1generalist") < 0.5 * distance("seed-0student", "seed-1generalist")
    assert distance("seed-0special", "seed-0other-pair") > 0, "each of its own pair"
    before = {path: path.stat().st_mtime_ns for path in run.root.rglob(MODEL)}
    again = {row.name: row for row in run_study(study, run, 1)}
    assert again == rows and before == {path: path.stat().st_mtime_ns for path in run.root.rglob(MODEL)}
    more = loads_study(STUDY.replace("depth: 2", "depth: 3"), "s.yaml", tmp_path).on(f"folder:{demo_folder}")
    run_study(more, run, 1)
    kept = {path for path in run.root.rglob(MODEL) if before.get(path) == path.stat().st_mtime_ns}
    assert len(kept) == 12 and len(list(run.root.rglob(MODEL))) == 14, "what did not change is not trained again"


def test_a_row_pruned_to_the_budget_is_as_large_as_that(tmp_path: Path) -> None:
    text = STUDY.split("  special")[0] + "  pruned: {pruning: {target: budget}}\n"
    bench = row_results.Bench(
        loads_study("budget: {weight_bytes: 1200}\n" + text, "s.yaml", tmp_path),
        RunFolder(tmp_path),
        {"100%": Clips(tmp_path, tuple("abcdefghij"), (), (), (), (), ())},
    )
    whole, pruned = (build(bench.candidate(bench.rows[name]).deployed) for name in ("generalist", "pruned"))
    numbers = [sum(weight.numel() for weight in network.parameters()) for network in (whole, pruned)]
    assert numbers[0] > 600 >= numbers[1] > 540


def test_rows_and_their_teachers_may_learn_from_less(
    tmp_path: Path, demo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = STUDY.replace("seeds: 2", "seeds: 1").replace("teachers: []", "teachers: [wide]").split("  special")[0]
    text += "  half: {data.subset: 50%}\n  from half: {start: half, data.subset: 50%, taught_by: [half]}\n"
    study = loads_study(text, "s.yaml", tmp_path).on(f"folder:{demo_folder}")
    heard: list[tuple[str, Clips]] = []

    def noting(name: str, at: int, was: Callable) -> Callable:
        def call(*given: Any, **more: Any) -> Any:
            heard.append((name, given[at]))
            return was(*given, **more)

        return call

    monkeypatch.setattr(row_results, "teach_all", noting("pool", 3, row_results.teach_all))
    monkeypatch.setattr(named_rows, "teach", noting("row", 2, named_rows.teach))
    monkeypatch.setattr(named_rows, "retrain", noting("trained", 1, named_rows.retrain))
    run = RunFolder(tmp_path / "run")
    rows = {row.name: row for row in run_study(study, run, 1)}
    assert list(rows) == ["generalist", "half", "from half"]
    whole = open_source(f"folder:{demo_folder}", tmp_path, validation_fraction=0.34).clips.split("train")
    half = cut_training(whole, 50, 0)
    assert len(half) == len(whole) / 2
    told = [(name, getattr(one, "training", one).files) for name, one in heard]
    assert [files for name, files in told if name == "trained"] == [whole.files, half.files, half.files]
    assert [files for name, files in told if name == "row"] == [half.files]
    assert {files for name, files in told if name == "pool"} == {whole.files, half.files}


def test_an_ensemble_is_the_mean_of_clip_scores(tmp_path: Path, demo_folder: Path) -> None:
    from asc_search.train.features import frontend_windows
    from asc_search.train.predict import predict_clips

    text = STUDY.replace("seeds: 2", "seeds: 1").split("  special")[0] + (
        "  other: {network.stages.0.depth: 2}\n  together: {ensemble: [generalist, other]}\n"
    )
    study = loads_study(text, "s.yaml", tmp_path).on(f"folder:{demo_folder}")
    run = RunFolder(tmp_path / "run")
    rows = {row.name: row for row in run_study(study, run, 1)}
    test = open_source(f"folder:{demo_folder}", tmp_path, validation_fraction=0.34).clips.split("test")
    scores = []
    for path in run.root.glob(f"rows/*/*/{MODEL}"):
        model = load_model(path)
        windows = frontend_windows(tmp_path, test, model.candidate.frontend)
        scores.append(predict_clips(model.whole, windows, torch.device("cpu")))
    expected = evaluate(np.mean(scores, axis=0), test.label_array(), test.classes)
    assert rows["together"].values["overall"][0] == pytest.approx(expected.accuracy)
    assert rows["together"].values["log_loss"][0] == pytest.approx(expected.log_loss, abs=2e-3)


def test_groups_of_a_row_are_checked_where_they_are_written(tmp_path: Path, demo_folder: Path) -> None:
    text = STUDY.replace("other: {", "other: {data.groups: {in: [bus, tram], out: [sea]}, ")
    study = loads_study(text, "s.yaml", tmp_path).on(f"folder:{demo_folder}")
    with pytest.raises(SpaceError) as caught:
        run_study(study, RunFolder(tmp_path / "run"), 1)
    said = str(caught.value)
    assert "s.yaml:18: rows.other.data.groups: no group has" in said
    assert "s.yaml:18: rows.other.data.groups.out: sea is no class of the data" in said


def test_networks_that_cannot_be_built_are_told_before_any_is_trained(tmp_path: Path, demo_folder: Path) -> None:
    split = "network.stages: [{family: bc_res2, depth: 1, width: 10}]"
    text = STUDY.replace("network.stages.0.depth: 2", split).replace("other pair: {", f"other pair: {{{split}, ")
    study = loads_study(text, "s.yaml", tmp_path).on(f"folder:{demo_folder}")
    run = RunFolder(tmp_path / "run")
    with pytest.raises(SpaceError) as caught:
        run_study(study, run, 1)
    what = "layer 1 (bc_res2): its width 10 is not a multiple of its 4 splits"
    assert f"s.yaml:16: rows.other pair: {what}" in str(caught.value)
    assert f"s.yaml:18: rows.other: {what}" in str(caught.value)
    assert not list(run.root.rglob("*.safetensors"))


def test_an_int8_row_is_shown_beside_its_float_and_trained_versions(tmp_path: Path, demo_folder: Path) -> None:
    pytest.importorskip("torchao", reason="pip install 'asc-search[int8]'")
    text = STUDY.replace("seeds: 2", "seeds: 1, int8_tolerance: -100, qat_epochs: 1").split("  special")[0]
    text += "  small: {weight_type: int8}\ndirections:\n"
    text += "  - {says: int8 costs, better: 'small, float', than: small}\n"
    study = loads_study(text, "s.yaml", tmp_path).on(f"folder:{demo_folder}")
    run = RunFolder(tmp_path / "run")
    rows = {row.name: row for row in run_study(study, run, 1)}
    assert list(rows) == ["generalist", "small", "small, float", "small, quantised", "small, quantised and trained"]
    whole = rows["small, float"]
    assert whole.weight_bytes == 4 * whole.params == 4 * rows["small"].weight_bytes, (
        "biases in int8 count as one byte each"
    )
    # the float version is the very network that a row in fp16 is, before its rounding to 11 bits
    assert whole.values["overall"][0] == pytest.approx(rows["generalist"].values["overall"][0], abs=0.06)
    assert whole.values["log_loss"][0] == pytest.approx(rows["generalist"].values["log_loss"][0], abs=2e-3)
    best = max(("small, quantised", "small, quantised and trained"), key=lambda name: rows[name].validation)
    assert rows[best].values == rows["small"].values
    assert "int8 costs: one seed" in markdown(list(rows.values()), study.directions, "")
    with pytest.raises(SpaceError, match="'generalist, float' is not allowed"):
        loads_study(text.replace("'small, float'", "'generalist, float'"), "s.yaml", tmp_path)


def measured(name: str, *values: float) -> MeasuredRow:
    return MeasuredRow(name, 10, 20, 30, 2, values, {"overall": values, "log_loss": values}, {"overall": 50.0})


@pytest.mark.parametrize(
    ("better", "than", "on", "verdict"),
    [
        ((0.60, 0.61, 0.62), (0.50, 0.51, 0.52), "overall", "holds here; x +10.00 ± 0.82 points against y"),
        ((0.50, 0.51, 0.52), (0.60, 0.61, 0.62), "overall", "does not hold here, the opposite does; x -10.00"),
        ((0.50, 0.56, 0.62), (0.50, 0.54, 0.58), "overall", "undecided here"),
        ((0.50, 0.51, 0.52), (0.60, 0.61, 0.62), "log_loss", "holds here; x -0.10 ± 0.01 nats"),
        ((0.9,), (0.1,), "overall", "one seed says nothing"),
    ],
)
def test_directions_are_told_from_means_and_deviations(
    better: tuple[float, ...], than: tuple[float, ...], on: str, verdict: str
) -> None:
    said = in_words(Direction("it helps", "x", "y", on), measured("x", *better), measured("y", *than))
    assert said.startswith("it helps: ") and verdict in said


def test_the_table_has_the_published_figures_beside_ours(tmp_path: Path) -> None:
    rows = [measured("=x|y", 0.5, 0.6), measured("z", 0.7, 0.7)]
    direction = Direction("z is better", "z", "absent", "overall")
    text = markdown(rows, [direction], "Somebody 2020")
    assert "| =x\\|y | 10 | 20 | 2 | 55.0 ± 7.1 | 55.0 ± 7.1 (50.0) | 0.550 ± 0.071 |" in text
    assert "In brackets: Somebody 2020." in text and "z is better: not measured" in text
    table, _ = write_rows(rows, [direction], "Somebody 2020", tmp_path)
    first, second = csv.DictReader(table.open())
    assert first["row"].startswith("'=x") and float(first["overall_mean"]) == pytest.approx(0.55)
    assert (second["overall_values"], second["overall_reported"], second["real_mean"]) == ("0.7;0.7", "50", "")


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(STUDY.replace("depth: 2", "depth: two"))
    done = asc_search("study", tmp_path / "s.yaml", "--data", "demo", "--out", tmp_path / "run")
    assert done.returncode == 1 and "s.yaml:18: network.stages.0.depth" in done.stderr
    assert "Traceback" not in done.stderr
