"""What a study of named rows shares, and what its rows cost and reached."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from asc_search.data.clips import Clips
from asc_search.errors import NetworkError
from asc_search.files import read_json, write_json
from asc_search.nets.systems import system
from asc_search.oracle.budget import macs_per_second, price_candidate
from asc_search.oracle.to_budget import fitted
from asc_search.progress import Stage
from asc_search.space.candidate import Candidate
from asc_search.space.draw import FixedSuggest, draw
from asc_search.space.rows import Row, Study
from asc_search.space.tree import Mistakes, join, parse
from asc_search.study.int8 import versions_in
from asc_search.study.objective import network_as_stored
from asc_search.study.retrain import MODEL, trained_in
from asc_search.study.run_folder import RunFolder
from asc_search.study.subsets import needed_by, teach_all
from asc_search.train.candidate import Material
from asc_search.train.features import frontend_windows
from asc_search.train.fit import device
from asc_search.train.metrics import Metrics, evaluate
from asc_search.train.model_file import Model, load_model
from asc_search.train.predict import predict_clips

TEST = "test.json"


@dataclass(frozen=True)
class MeasuredRow:
    """What a row cost and reached, a value a seed: accuracies in [0, 1], macro over classes, log loss in nats; ``reported``
    are published figures, accuracies in %. Of an ensemble the costs are those of its members together.
    """

    name: str
    params: int
    macs: int
    weight_bytes: int
    epochs: int
    validation: tuple[float, ...]
    values: Mapping[str, tuple[float, ...]]
    reported: Mapping[str, float]


@dataclass(frozen=True)
class Bench:
    """What the rows of a study share: the run folder, and the ``opened`` clips by ``data.subset``, "100%" among them."""

    study: Study
    run: RunFolder
    opened: Mapping[str, Clips]

    @cached_property
    def rows(self) -> dict[str, Row]:
        return {row.name: row for row in self.study.rows}

    @cached_property
    def test(self) -> Clips:
        """The test part, the same for all rows."""
        return self.opened["100%"].split("test")

    @cached_property
    def seen_devices(self) -> tuple[str, ...]:
        """Devices of the whole training part, also for rows that learn from less."""
        return self.opened["100%"].split("train").seen_devices

    @cached_property
    def _parts(self) -> dict[str, tuple[Clips, Clips, str]]:
        """Training and validation part by ``data.subset``, and the digest of the first: it looks at every file."""
        parts = {subset: (clips.split("train"), clips.split("validation")) for subset, clips in self.opened.items()}
        return {subset: (*both, both[0].digest()) for subset, both in parts.items()}

    def training(self, row: Row) -> Clips:
        """What ``row`` learns from."""
        return self._parts[row.space.data.subset][0]

    def validation(self, row: Row) -> Clips:
        """What ``row`` is watched on."""
        return self._parts[row.space.data.subset][1]

    def candidate(self, row: Row) -> Candidate:
        """What is trained for ``row``, besides the rows that teach it."""
        classes = len(self.opened["100%"].classes)
        drawn = draw(row.space, FixedSuggest({}), classes)
        if row.design:
            spec = system(row.design)().with_input(drawn.frontend.shape)
            drawn = replace(drawn, network=spec.with_classes(row.space.outputs(classes)))
        return fitted(drawn, row.space.budget)

    def key(self, row: Row) -> str:
        """Short hash of all that a row's networks depend on, the rows it comes from included."""
        heard = self._parts[row.space.data.subset][2]
        parts = [row.space.digest(), row.design, row.space.retrain.epochs, row.specialist, heard]
        parts += [astuple(row.space.retrain.int8)] if row.versions else []
        parts += [[self.key(self.rows[name]) if name else "" for name in names] for names in _parents(row)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    def folder(self, row: Row, seed: int) -> Path:
        """Where the training of ``row`` from ``seed`` is kept."""
        name = re.sub(r"[^a-z0-9]+", "-", row.name.lower()).strip("-")
        return self.run.root / "rows" / f"{name}-{self.key(row)}" / f"seed-{seed}"

    def material(self, row: Row, stage: Stage | None = None) -> Material:
        """What the trainings of ``row`` share: what the teachers of its pool say, made where it is not yet."""
        needed = needed_by(row.space, self.candidate(row))
        return teach_all(row.space, self.run, needed, self.training(row), self.validation(row), stage)


def check_rows(bench: Bench) -> None:
    """Check that the networks of all rows can be built, before any is trained.

    Raises:
        SpaceError: one cannot; all are listed with file, line and row.
    """
    mistakes = Mistakes(bench.study.file)
    written = parse(bench.study.text, mistakes).value["rows"].value
    for row in bench.study.rows:
        if row.ensemble:
            continue
        try:
            price_candidate(bench.candidate(row))
        except NetworkError as error:
            mistakes.add(written[row.name].line, join("rows", row.name), str(error))
    mistakes.check()


def _parents(row: Row) -> tuple[Sequence[str], ...]:
    return (row.start,), row.taught_by, row.ensemble


def measured(bench: Bench, row: Row) -> MeasuredRow | None:
    """The row over its seeds, from what was kept; None where no seed came to an end."""
    found: list[tuple[Metrics, Metrics]] = []
    for seed in range(row.space.retrain.seeds):
        if row.ensemble:
            both = _together(bench, row, seed)
        else:
            trained, test = trained_in(bench.folder(row, seed)), read_json(bench.folder(row, seed) / TEST)
            both = None if trained is None or test is None else (trained.validation, Metrics.from_json(test))
        if both is not None:
            found.append(both)
    if not found:
        return None
    members = [bench.candidate(bench.rows[name]) for name in row.ensemble] or [bench.candidate(row)]
    costs = [price_candidate(one) for one in members]
    return MeasuredRow(
        row.name,
        sum(cost.params for cost in costs),
        sum(macs_per_second(cost.macs, one.frontend.seconds) for cost, one in zip(costs, members, strict=True)),
        sum(cost.weight_bytes(one.weight_type) for cost, one in zip(costs, members, strict=True)),
        row.space.retrain.epochs,
        tuple(validation.accuracy for validation, _ in found),
        _values([test for _, test in found]),
        row.reported,
    )


def measured_versions(bench: Bench, row: Row, whole: MeasuredRow) -> list[MeasuredRow]:
    """The float, the quantised and the quantised trained versions of a row of weight type int8, as rows of their own beside
    the ``whole`` one; of any other row none.
    """
    if not row.versions:
        return []
    cost, rows = price_candidate(bench.candidate(row)), []
    notes = [versions_in(bench.folder(row, seed)) for seed in range(row.space.retrain.seeds)]
    for kind, name in row.versions.items():
        found = [one for one in notes if one is not None and kind in one["test"]]
        if not found:
            continue
        pairs = [tuple(Metrics.from_json(one[split][kind]) for split in ("validation", "test")) for one in found]
        values = _values([test for _, test in pairs])
        weight_bytes = cost.weight_bytes("fp32" if kind == "fp32" else "int8")
        told = {"name": name, "weight_bytes": weight_bytes, "reported": {}, "values": values}
        rows.append(replace(whole, **told, validation=tuple(validation.accuracy for validation, _ in pairs)))
    return rows


def _values(tests: Sequence[Metrics]) -> dict[str, tuple[float, ...]]:
    """Columns of the table, a value a seed."""
    groups = [name for name in ("real", "seen", "unseen") if all(name in test.groups for test in tests)]
    values = {"overall": tuple(test.accuracy for test in tests)}
    values |= {name: tuple(test.groups[name]["accuracy"] for test in tests) for name in groups}
    return values | {"log_loss": tuple(test.log_loss for test in tests)}


def _together(bench: Bench, row: Row, seed: int) -> tuple[Metrics, Metrics] | None:
    """Metrics of the mean of the members' clip scores, on validation and test part; None where a member is missing."""
    note = bench.folder(row, seed) / "ensemble.json"
    if (known := read_json(note)) is not None:
        return Metrics.from_json(known["validation"]), Metrics.from_json(known["test"])
    folders = [bench.folder(bench.rows[name], seed) for name in row.ensemble]
    if any(trained_in(folder) is None for folder in folders):
        return None
    models = [load_model(folder / MODEL) for folder in folders]
    found = []
    for clips in (bench.validation(row), bench.test):
        scores = [_scores(model, bench, clips) for model in models]
        found.append(
            evaluate(np.mean(scores, axis=0), clips.label_array(), clips.classes, clips.devices, bench.seen_devices)
        )
    write_json(note, {"validation": found[0].to_json(), "test": found[1].to_json()})
    return found[0], found[1]


def _scores(model: Model, bench: Bench, clips: Clips) -> np.ndarray:
    """Clip probabilities (clips, classes) of a model as stored."""
    front = model.candidate.frontend
    return predict_clips(network_as_stored(model), frontend_windows(bench.run.root, clips, front), device())
