"""Finalists in int8: quantised, trained with fake quantisation where that loses too much, stored, and measured beside floats.

In the folder of a training lie ``float.safetensors`` (fp32), ``ptq.safetensors``, where it was trained ``qat.safetensors``, and
the better of these two on validation as the model itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import fx

from asc_search.compress.calibration import calibration_inputs, post_training
from asc_search.compress.qat import train_quantised
from asc_search.compress.weights import stored_state
from asc_search.data.clips import Clips
from asc_search.files import read_json, write_json
from asc_search.nets.graph_file import described
from asc_search.space.weight_type import Int8
from asc_search.study.objective import measure
from asc_search.train.candidate import Material
from asc_search.train.metrics import Metrics
from asc_search.train.model_file import Model, load_model, save_model

FLOAT, PTQ, QAT = "float.safetensors", "ptq.safetensors", "qat.safetensors"
VERSIONS = {"fp32": FLOAT, "fp16": FLOAT, "ptq": PTQ, "qat": QAT}
CHECKPOINT = "qat-checkpoint.safetensors"
Versions = dict[str, dict[str, dict[str, list[float | None]]]]


def save_int8(path: Path, model: Model) -> None:
    """Write a model whose network is an int8 graph."""
    if not isinstance(model.network, fx.GraphModule):
        raise TypeError("an int8 network is a graph")
    operations, tensors = described(model.network)
    save_model(path, tensors, model, operations)


def store_int8(
    model: Model,
    material: Material,
    validation: Clips,
    folder: Path,
    destination: Path,
    plan: Int8,
    seed: int,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Metrics:
    """Quantise the trained float ``model`` into ``folder``, the better int8 one to ``destination``; its validation metrics.

    Raises:
        DivergedError: quantisation-aware training diverged.
        MissingExtraError: the extra ``int8`` is not installed.
    """
    seen = material.training.seen_devices
    float_model = replace(model, candidate=replace(model.candidate, weight_type="fp32"))
    save_model(folder / FLOAT, stored_state(model.network, "fp32"), float_model)
    save_int8(folder / PTQ, post_training(model, material))
    found = {kind: _measured(folder, kind, material.folder, validation, seen) for kind in ("fp32", "fp16", "ptq")}
    if 100 * (found["fp32"].accuracy - found["ptq"].accuracy) > plan.tolerance:
        inputs = calibration_inputs(material.folder, material.training, model.candidate.frontend, model.standardise)
        network = load_model(folder / FLOAT).network
        graph = train_quantised(model.candidate, network, material, inputs, plan, folder / CHECKPOINT, seed, on_epoch)
        save_int8(folder / QAT, replace(model, network=graph))
        found["qat"] = _measured(folder, "qat", material.folder, validation, seen)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    best = max((kind for kind in ("ptq", "qat") if kind in found), key=lambda kind: found[kind].accuracy)
    shutil.copyfile(folder / VERSIONS[best], destination)
    write_json(_note(folder, "validation"), {kind: metrics.to_json() for kind, metrics in found.items()})
    return found[best]


def _measured(folder: Path, kind: str, features: Path, clips: Clips, seen: Collection[str]) -> Metrics:
    """Metrics of a stored version on ``clips``; of fp16, of the float one's weights rounded."""
    model = load_model(folder / VERSIONS[kind])
    if kind == "fp16":
        model = replace(model, candidate=replace(model.candidate, weight_type="fp16"))
    return measure(model, features, clips, seen)


def _note(folder: Path, split: str) -> Path:
    return folder / f"versions-{split}.json"


def measure_versions(folders: Sequence[Path], test: Clips, features: Path, seen_devices: Collection[str]) -> Versions:
    """Accuracies of every version on validation and test: by version, split and group of devices, one for each seed.

    Groups are ``all``, those of ``Metrics.groups`` and every device. A seed that lacks a version has None; a finalist that
    is not int8 has no versions.
    """
    notes: list[dict[str, Mapping[str, Any]]] = []
    for folder in folders:
        measure_stored(folder, test, features, seen_devices)
        known = versions_in(folder)
        if known is None:
            return {}
        notes.append(known)
    kinds = [kind for kind in VERSIONS if any(kind in note["validation"] for note in notes)]
    return {
        kind: {split: by_group([note[split].get(kind) for note in notes]) for split in ("validation", "test")}
        for kind in kinds
    }


def measure_stored(folder: Path, test: Clips, features: Path, seen_devices: Collection[str]) -> None:
    """Measure every version in ``folder`` on ``test``, once; nothing where it is of no int8 network."""
    known = read_json(_note(folder, "validation"))
    if known is not None and read_json(_note(folder, "test")) is None:
        tested = {kind: _measured(folder, kind, features, test, seen_devices).to_json() for kind in known}
        write_json(_note(folder, "test"), tested)


def versions_in(folder: Path) -> dict[str, dict[str, Any]] | None:
    """Metrics, as JSON, of every version in ``folder``, by split and version; None where they were not measured."""
    found = {split: read_json(_note(folder, split)) for split in ("validation", "test")}
    return None if None in found.values() else found  # type: ignore[return-value]


def by_group(metrics: Sequence[Mapping[str, Any] | None]) -> dict[str, list[float | None]]:
    """Accuracies by group, one for each seed; None where ``metrics`` are."""
    tables = [None if one is None else _accuracies(one) for one in metrics]
    names = dict.fromkeys(name for table in tables if table for name in table)
    return {name: [None if table is None else table.get(name) for table in tables] for name in names}


def _accuracies(metrics: Mapping[str, Any]) -> dict[str, float]:
    groups = {**metrics["groups"], **{f"device {name}": one for name, one in metrics["device_wise"].items()}}
    return {"all": metrics["accuracy"], **{name: one["accuracy"] for name, one in groups.items()}}
