"""Retraining: finalists with full distillation, all epochs and several seeds, then measured once on the test split."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch

from asc_search.audio.filterbank_jitter import jitter_centre
from asc_search.compress.weights import stored_state
from asc_search.data.clips import Clips
from asc_search.errors import DivergedError, NetworkError
from asc_search.files import read_json, write_json
from asc_search.nets.systems import system
from asc_search.oracle.budget import macs_per_second, price_candidate
from asc_search.processes import side_by_side
from asc_search.progress import Stage
from asc_search.space.candidate import Candidate, Distillation, Pruning
from asc_search.space.published import REFERENCES
from asc_search.space.weight_type import Int8
from asc_search.study.int8 import store_int8
from asc_search.study.objective import measure, pruning_hook
from asc_search.study.records import FinalistRow
from asc_search.study.run_folder import RunFolder
from asc_search.study.seeds import derived_seed
from asc_search.train.candidate import Material, Origin, train_candidate
from asc_search.train.features import frontend_windows
from asc_search.train.fit import device
from asc_search.train.metrics import Metrics
from asc_search.train.model_file import Model, load_model, save_model

MODEL = "model.safetensors"
NOTE = "validation.json"  # beside the model, and last: it says that a training is finished


@dataclass(frozen=True)
class Finalist:
    """A candidate to retrain: where it comes from and its part in the report (see FinalistRow)."""

    name: str
    role: str
    candidate: Candidate
    trial: int | None = None

    @property
    def digest(self) -> str:
        return self.candidate.digest()

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "role": self.role, "trial": self.trial, "candidate": self.candidate.to_json()}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Finalist:
        return Finalist(data["name"], data["role"], Candidate.from_json(data["candidate"]), data["trial"])


def undistilled(finalist: Finalist) -> Finalist:
    """The finalist's twin, taught by labels alone, without peers; it hears the same mixtures and learns the
    same groups.
    """
    plan = finalist.candidate.distillation
    alone = Distillation(mixed=plan.mixed, class_share=plan.class_share)
    twin = replace(finalist.candidate, distillation=alone)
    return Finalist(f"{finalist.name}, no teacher", "undistilled", twin, finalist.trial)


def dense(finalist: Finalist) -> Finalist:
    """The twin of a pruned finalist: its last widths from the first epoch on, trained from scratch as long by the same recipe
    and teachers. At least one independent study found pruning no better (Frustal, on pruned 2024 baselines).
    """
    twin = replace(finalist.candidate, network=finalist.candidate.deployed, pruning=Pruning(), parent="")
    return Finalist(f"{finalist.name}, dense", "dense", twin, finalist.trial)


def reference(design: str, recipe: Candidate, classes: int) -> Finalist:
    """A published design on its own front end, trained by the recipe of ``recipe``.

    Where that jitters mel filters, the upper edge comes down as far as the jitter needs.
    """
    spec = system(design)().with_classes(classes + len(recipe.groups))
    frontend = replace(REFERENCES[design], seconds=recipe.frontend.seconds)
    frontend = jitter_centre(frontend, recipe.training.jitter_fmax_hz)
    network = spec.with_input(frontend.shape)
    candidate = replace(recipe, frontend=frontend, network=network, weight_type="fp16", pruning=Pruning(), parent="")
    return Finalist(design, "reference", candidate)


@dataclass(frozen=True)
class Trained:
    """A finalist trained from one seed: the folder with its weights (model.safetensors) and notes."""

    folder: Path
    validation: Metrics


def retrain(
    finalist: Finalist,
    material: Material,
    validation: Clips,
    folder: Path,
    epochs: int,
    seed: int,
    on_epoch: Callable[[int], None],
    *,
    int8: Int8 = Int8(),  # noqa: B008  frozen
    origin: Origin | None = None,
) -> Trained:
    """Train ``finalist`` for all ``epochs`` from ``seed`` into ``folder``; done before: read back, half done: continued.

    ``on_epoch`` hears how many epochs are done. ``int8`` says how one of that weight type is quantised. It begins at
    ``origin`` where there is one.

    Raises:
        DivergedError: the training diverged.
    """
    if (known := trained_in(folder)) is not None:
        return known
    candidate = finalist.candidate
    prune = pruning_hook(candidate, epochs, material)
    state = train_candidate(
        candidate,
        material,
        folder / "checkpoint.safetensors",
        seed=derived_seed("retrain", seed),
        epochs=epochs,
        before_epoch=prune,
        after_epoch=lambda state: on_epoch(state.epoch),
        origin=origin,
    )
    prune(state)  # a training of one epoch is pruned right after it
    model = Model(candidate, material.training.classes, state.network, state.standardise)
    if candidate.weight_type == "int8":
        metrics = store_int8(model, material, validation, folder, folder / MODEL, int8, derived_seed("qat", seed))
    else:
        metrics = measure(model, material.folder, validation, material.training.seen_devices)
        save_model(folder / MODEL, stored_state(state.network, candidate.weight_type), model)
    write_json(folder / NOTE, metrics.to_json())
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)
    return Trained(folder, metrics)


def trained_in(folder: Path) -> Trained | None:
    """The training that was finished in ``folder``, or None."""
    known = read_json(folder / NOTE)
    return None if known is None else Trained(folder, Metrics.from_json(known))


def measure_on_test(trained: Trained, test: Clips, features: Path, seen_devices: Collection[str]) -> Metrics:
    """Metrics of a retrained network on the test split, from its stored weights; read once, then kept."""
    note = trained.folder / "test.json"
    if (known := read_json(note)) is not None:
        return Metrics.from_json(known)
    metrics = measure(load_model(trained.folder / MODEL), features, test, seen_devices)
    write_json(note, metrics.to_json())
    return metrics


def row(finalist: Finalist, runs: Sequence[Trained], tests: Sequence[Metrics], epochs: int) -> FinalistRow:
    """The measured row of a finalist over its seeds."""
    candidate = finalist.candidate
    cost = price_candidate(candidate)
    unseen = [metrics.groups["unseen"]["accuracy"] for metrics in tests if "unseen" in metrics.groups]
    return FinalistRow(
        name=finalist.name,
        role=finalist.role,
        trial=finalist.trial,
        params=cost.params,
        macs=macs_per_second(cost.macs, candidate.frontend.seconds),
        weight_bytes=cost.weight_bytes(candidate.weight_type),
        weight_type=candidate.weight_type,
        epochs=epochs,
        teachers=candidate.distillation.teachers,
        description=candidate.describe(),
        validation=tuple(run.validation.accuracy for run in runs),
        test=tuple(metrics.accuracy for metrics in tests),
        test_log_loss=tuple(metrics.log_loss for metrics in tests),
        unseen_test=tuple(unseen),
    )


@dataclass(frozen=True)
class _Task:
    """One training of ``retrain_all``: all it needs in a process of its own."""

    finalist: Finalist
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.finalist.name}, seed {self.seed}"


def _attempt(
    material: Material, validation: Clips, epochs: int, int8: Int8, task: _Task, said: Callable[[Any], None]
) -> str:
    """Train the task, saying every epoch; the reason where it failed, else empty."""
    finalist, folder = task.finalist, task.folder
    try:
        retrain(finalist, material, validation, folder, epochs, task.seed, lambda _: said(task.name), int8=int8)
    except (DivergedError, NetworkError) as error:
        return f"failed, {error}"
    return ""


def retrain_all(
    finalists: Sequence[Finalist],
    material: Material,
    validation: Clips,
    run: RunFolder,
    epochs: int,
    seeds: int,
    parallel: int | None = None,
    int8: Int8 = Int8(),  # noqa: B008  frozen
) -> dict[Finalist, list[Trained]]:
    """Every finalist from every seed; a diverged seed is left out with a line saying so.

    ``parallel`` trainings run at a time, each on its share of the CPU's threads; None: as many as there are threads on a
    CPU, where networks on a core each train faster together than one on all cores, and one on CUDA. The last one left
    keeps to its share, so that a result does not depend on how many were left.
    """
    tasks = [
        _Task(finalist, seed, run.finalist(finalist.digest, epochs, seed))
        for finalist in finalists
        for seed in range(seeds)
    ]
    left = [task for task in tasks if trained_in(task.folder) is None]
    cores = torch.get_num_threads()
    workers = parallel or (cores if device().type == "cpu" else 1)
    with Stage("retrain", len(tasks), len(tasks) - len(left)) as stage:
        if left:
            for finalist in dict.fromkeys(task.finalist for task in left):
                prepare(finalist.candidate, material, validation)
            stage.begin("epochs", epochs * len(left))
            done = count(1)
            work = partial(_attempt, material, validation, epochs, int8)
            ended = side_by_side(work, left, workers, max(1, cores // workers), lambda _: stage.epoch(next(done)))
            for index, reason in ended:
                task = left[index]
                result = trained_in(task.folder)
                reached = "" if result is None else f"{100 * result.validation.accuracy:.1f} % on validation"
                stage.note(f"{task.name}: {reason or reached}")
    trained: dict[Finalist, list[Trained]] = {finalist: [] for finalist in finalists}
    for task in tasks:
        if (result := trained_in(task.folder)) is not None:
            trained[task.finalist].append(result)
    return {finalist: runs for finalist, runs in trained.items() if runs}


def prepare(candidate: Candidate, material: Material, validation: Clips) -> None:
    """Make the windows a training and its evaluation read, so that trainings side by side do not each make them."""
    material.inputs(candidate)
    frontend_windows(material.folder, validation, candidate.frontend)
