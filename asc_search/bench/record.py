"""`asc-search bench record`: random candidates of a space trained to every rung, as a table to search in without training."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asc_search.data.clips import Clips
from asc_search.errors import DataError, DivergedError, Problem
from asc_search.nets.spec import Scalar
from asc_search.oracle.batch import price_columns
from asc_search.oracle.to_budget import fitted
from asc_search.progress import Stage
from asc_search.space.columns import draw_columns, recorded
from asc_search.space.domains import Subset
from asc_search.space.draw import FixedSuggest, draw
from asc_search.space.space import Parameter, Space
from asc_search.study.dataset import open_data
from asc_search.study.objective import train_trial
from asc_search.study.run_folder import RunFolder
from asc_search.study.seeds import derived_seed
from asc_search.train.candidate import Material

DRAWN_AT_ONCE = 1024
COSTS = ("params", "macs", "weight_bytes")


@dataclass(frozen=True)
class Point:
    """A candidate of the space within its budget: what was drawn, and its costs (MACs a second)."""

    params: dict[str, Scalar]
    costs: dict[str, int]


def feasible_points(space: Space, classes: int, seed: int) -> Iterator[Point]:
    """Random points of ``space`` within its budget, without end; the same for the same seed."""
    rng = np.random.default_rng(seed)
    while True:
        columns = draw_columns(space, rng, DRAWN_AT_ONCE)
        prices = price_columns(space, columns, classes)
        for index in np.flatnonzero(prices.fits):
            costs = (prices.params[index], prices.macs_per_second[index], prices.weight_bytes[index])
            yield Point(recorded(space, columns, index), dict(zip(COSTS, map(int, costs), strict=True)))


def some_classes(clips: Clips, count: int) -> Clips:
    """The clips of ``count`` of the classes, evenly spaced over their sorted names."""
    total = len(clips.classes)
    chosen = [index * total // count for index in range(count)]
    place = {label: new for new, label in enumerate(chosen)}
    kept = clips.where(lambda row: clips.labels[row] in place)
    names = tuple(clips.classes[label] for label in chosen)
    return replace(kept, classes=names, labels=tuple(place[label] for label in kept.labels))


def record(space: Space, work: Path, out: Path, candidates: int, classes: int | None, minutes: float | None) -> int:
    """Train random candidates of ``space`` until ``out`` has ``candidates`` rows; how many it has.

    A row holds what was drawn, the costs, ``accuracy_E`` and ``log_loss_E`` on the validation split after each rung's E
    epochs, of one training with one schedule over the last rung's (a diverged training has none from there on), and how many
    ``classes`` were told apart on how many ``clips``. ``classes`` of the data's are used (all by default). The same call goes
    on where one was stopped, within a training too; after ``minutes`` none is begun.

    Raises:
        DataError: the data cannot be opened, have fewer classes, or the file is of another space.
    """
    opened = open_data(space, RunFolder(work))
    clips = opened.clips if classes is None else some_classes(opened.clips, min(classes, len(opened.clips.classes)))
    training, validation = clips.split("train"), clips.split("validation")
    rungs = space.search.rungs
    names = [name for parameter in space.varying for name in drawn_names(parameter)]
    measured = [f"{what}_{epochs}" for epochs in rungs for what in ("accuracy", "log_loss")]
    header = ["candidate", *names, *COSTS, *measured, "classes", "clips"]
    done = _rows_of(out, header)
    material = Material(work, training, {})
    ends = None if minutes is None else time.monotonic() + 60 * minutes
    points = feasible_points(space, len(clips.classes), derived_seed(space.search.seed, "record"))
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", newline="", encoding="utf-8") as file, Stage("record", candidates, done) as stage:
        writer = csv.DictWriter(file, header, restval="")
        if file.tell() == 0:
            writer.writeheader()
        for number, point in zip(range(candidates), points, strict=False):
            if number < done:
                continue
            if ends is not None and time.monotonic() > ends:
                return number
            candidate = fitted(draw(space, FixedSuggest(point.params), len(clips.classes)), space.budget)
            folder = work / "trials" / f"{number:05d}-{candidate.digest()}"
            reached: dict[str, str] = {}
            seed = derived_seed(space.search.seed, number)
            stage.begin(f"candidate {number}", rungs[-1])

            def keep(rung: int, result, reached=reached) -> bool:  # type: ignore[no-untyped-def]
                reached[f"accuracy_{rungs[rung]}"] = f"{result.accuracy:.5f}"
                reached[f"log_loss_{rungs[rung]}"] = f"{result.log_loss:.5f}"
                return True

            try:
                results = train_trial(candidate, material, validation, folder, rungs, seed, keep, stage.epoch)
                keep(len(rungs) - 1, results[-1])
                told = f"{100 * results[-1].accuracy:.1f} %"
            except DivergedError as error:
                told = str(error)
            data = {"classes": len(clips.classes), "clips": len(validation)}
            writer.writerow({"candidate": number, **point.params, **point.costs, **reached, **data})
            file.flush()
            shutil.rmtree(folder, ignore_errors=True)
            stage.end(f"candidate {number}: {told}, {point.costs['macs'] / 1e6:.2f} M MACs/s")
    return candidates


def drawn_names(parameter: Parameter) -> list[str]:
    """Under which names a parameter is drawn: a set by each of its members."""
    if isinstance(parameter.domain, Subset):
        return [f"{parameter.name}[{member}]" for member in parameter.domain.members]
    return [parameter.name]


def _rows_of(out: Path, header: list[str]) -> int:
    """Rows that ``out`` has; a last one that was cut short is taken off."""
    if not out.exists():
        return 0
    text = out.read_bytes()
    if not text.endswith(b"\n"):
        text = text[: text.rfind(b"\n") + 1]
        out.write_bytes(text)
    rows = list(csv.reader(text.decode("utf-8").splitlines()))
    if rows and rows[0] != header:
        problem = Problem(str(out), "its columns are not those of this space and its rungs")
        raise DataError("the table cannot be continued", [problem], "Give another file, or delete this one.")
    return max(0, len(rows) - 1)
