"""A run folder as a search leaves it, without any training: a real study of real candidates, with accuracies made up."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from unittest.mock import patch

import numpy as np
import optuna

from asc_search.data.clips import Clips
from asc_search.files import write_json
from asc_search.oracle.budget import assess
from asc_search.space.columns import draw_columns, recorded
from asc_search.space.draw import FixedSuggest, draw
from asc_search.space.load import loads
from asc_search.space.space import Space
from asc_search.study import search as search_module
from asc_search.study.create import open_storage, open_study, sqlite_url
from asc_search.study.front import finalist_trials
from asc_search.study.objective import METRICS, Result
from asc_search.study.retrain import Finalist, Trained, reference, row
from asc_search.study.run_folder import RunFolder
from asc_search.study.search import Setting, search
from asc_search.train.candidate import Material
from asc_search.train.metrics import Metrics, evaluate

SPACE = """
data: {source: "folder:scenes", validation_fraction: 0.34}
frontend: {mels: 64, hop: {choice: [500, 1000]}}
network:
  stem: {choice: [cp, sscp]}
  base: {int: [8, 64], step: 8}
  multiplier: {float: [1, 2.2]}
  stages:
    - {family: {choice: [cp, sscp, mn]}, depth: {int: [1, 3]}, stride: "1x2", expansion: {float: [1.5, 3]}}
    - {family: {choice: [cp, sscp, rfr]}, depth: {int: [1, 2]}, expansion: {float: [1.5, 3]}, rho: {choice: [2, 4]}}
distillation:
  temperature: {float: [1, 4]}
  weight: 0.2
  teachers: {subset_of: [wide_cp, wide_sscp, tagger_like], min: 1}
  pool:
    wide_cp: {kind: network, family: cp, base: 16, multiplier: 1.5, expansion: 2, epochs: 2, lr: 0.005}
    wide_sscp: {kind: network, family: sscp, base: 16, multiplier: 1.5, expansion: 2, epochs: 2, lr: 0.005}
    tagger_like: {kind: network, family: mn, base: 16, multiplier: 1.5, expansion: 2, epochs: 2, lr: 0.005}
training: {batch: 16, lr: {float: [0.001, 0.01], log: true}, freq_mask: {choice: [0, 16, 32]}}
budget: {macs: 15_000_000}
search: {trials: TRIALS, rungs: [3, 9, 27], startup: 100, enqueue: []}
retrain: {epochs: 40, seeds: 2, finalists: 4, references: [dcase2024-baseline]}
"""
SCENES = (
    "airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall", "street_pedestrian",
    "street_traffic", "tram",
)  # fmt: skip
DEVICES = ("a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6")


def metrics_of(accuracy: float, classes: tuple[str, ...], devices: tuple[str, ...], seed: int) -> Metrics:
    """Metrics of 360 clips, about ``accuracy`` of which are right; the last third of the devices was never heard."""
    rng = np.random.default_rng(seed)
    count = 360
    labels = np.arange(count) % len(classes)
    heard = [devices[index] for index in rng.integers(len(devices), size=count)]
    seen = devices[: max(1, 2 * len(devices) // 3)]
    harder = np.where(np.isin(heard, seen), 0.0, 0.12)
    right = rng.random(count) < accuracy - harder
    taken = np.where(right, labels, (labels + rng.choice([1, 1, 1, 2, 5], size=count)) % len(classes))
    probabilities = rng.dirichlet(np.ones(len(classes)), size=count)
    probabilities[np.arange(count), taken] += 1
    return evaluate(probabilities / 2, labels, classes, heard, seen)


def made_up_run(
    root: Path,
    trials: int = 12,
    classes: tuple[str, ...] = SCENES,
    devices: tuple[str, ...] = DEVICES,
    retrained: bool = True,
    notes: dict[str, str] | None = None,
) -> RunFolder:
    """A run at ``root`` of ``trials`` trainings; with ``retrained`` to its end, front.json included.

    ``notes`` are put beside what the run was started with.
    """
    run = RunFolder(root)
    source = SPACE.replace("TRIALS", str(trials))
    space = loads(source, str(run.space_file), root)
    run.root.mkdir(parents=True)
    run.space_file.write_text(source, encoding="utf-8")
    identity = {"source": "folder:scenes", "folder": str(root.parent), **(notes or {})}
    run.write_identity(space=space.digest(), data="0123456789abcdef", storage="study.db", **identity)
    study = open_study(open_storage(sqlite_url(run.database)), "search", space, len(classes))
    _enqueue_refused(study, space, len(classes))
    clips = Clips(Path(), classes, (), (), (), (), ())
    rng = np.random.default_rng(0)

    def train(candidate, material, validation, folder, rungs, seed, goes_on, on_epoch):  # type: ignore[no-untyped-def]
        size = sum(layer.out for layer in candidate.deployed.layers)
        taught = 0.06 * ("tagger_like" in candidate.distillation.teachers) + 0.02 * (
            "wide_cp" in candidate.distillation.teachers
        )
        limit = min(0.75, 0.3 + size / 1500 + taught + 20 * candidate.training.lr)
        results = []
        for rung, epochs in enumerate(rungs):
            reached = limit * (1 - 0.7 ** (epochs / 3)) + 0.03 * rng.standard_normal()
            metrics = metrics_of(reached, classes, devices, int(rng.integers(1 << 30)))
            results.append(Result(epochs, metrics.accuracy, metrics.log_loss))
            write_json(folder / METRICS.format(rung), metrics.to_json())
            write_json(folder / f"rung-{rung}.json", results[-1].to_json())
            if rung + 1 < len(rungs) and not goes_on(rung, results[-1]):
                break
        return results

    with patch.object(search_module, "train_trial", train):
        search(study, Setting(space, run, Material(run.root, clips, {}), clips))
    _teach(run, space, classes, devices)
    if retrained:
        _retrain(run, space, study, classes, devices)
    return run


def _enqueue_refused(study: optuna.Study, space: Space, classes: int, count: int = 4) -> None:
    """Points over the budget, which the sampler itself does not draw."""
    columns = draw_columns(space, np.random.default_rng(3), 256)
    points = (recorded(space, columns, index) for index in range(256))
    over = (one for one in points if not assess(draw(space, FixedSuggest(one), classes), space.budget).verdict.fits)
    for params in islice(over, count):
        study.enqueue_trial(params)


def _teach(run: RunFolder, space: Space, classes: tuple[str, ...], devices: tuple[str, ...]) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(len(classes), size=500)
    (run.root / "logits").mkdir()
    for index, name in enumerate(space.pool):
        logits = rng.standard_normal((500, len(classes))).astype(np.float16)
        logits[np.arange(500), labels] += 2 + index
        path = run.root / "logits" / f"{name}-00000000000{index}.logits.npy"
        np.save(path, logits)
        note = {
            "teacher": name,
            "bytes": [],
            "validation": metrics_of(0.6 + 0.1 * index, classes, devices, index).to_json(),
        }
        write_json(path.with_name(path.name.replace(".logits.npy", ".json")), note)


def _retrain(run: RunFolder, space: Space, study, classes: tuple[str, ...], devices: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    from asc_search.space.candidate import Candidate

    finalists = [
        Finalist(f"trial {trial.number}", "finalist", Candidate.from_json(trial.user_attrs["candidate"]), trial.number)
        for trial in finalist_trials(study, space)
    ]
    finalists += [reference(name, finalists[0].candidate, len(classes)) for name in space.retrain.references]
    rows = []
    for number, finalist in enumerate(finalists):
        runs, tests = [], []
        for seed in range(space.retrain.seeds):
            folder = run.finalist(finalist.digest, space.retrain.epochs, seed)
            runs.append(Trained(folder, metrics_of(0.8 - 0.04 * number, classes, devices, 10 * number + seed)))
            tests.append(metrics_of(0.72 - 0.03 * number, classes, devices, 10 * number + seed + 5))
            write_json(folder / "validation.json", runs[-1].validation.to_json())
            write_json(folder / "test.json", tests[-1].to_json())
        rows.append(row(finalist, runs, tests, space.retrain.epochs).to_json())
    write_json(run.root / "finalists.json", [finalist.to_json() for finalist in finalists])
    write_json(run.root / "front.json", rows)
