"""A table of real trainings: what `asc-search bench record` measured, and between its points what a forest makes of them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from asc_search.bench.record import drawn_names
from asc_search.bench.tables import Table, points_of
from asc_search.errors import DataError, MissingExtraError, Problem
from asc_search.nets.spec import Scalar
from asc_search.report.rank_correlation import spearman
from asc_search.space.columns import draw_columns, known_columns
from asc_search.space.domains import Choice, Constant, FloatRange
from asc_search.space.encoding import encoded
from asc_search.space.space import Parameter, Space
from asc_search.study.pool import Pricer, log_costs, pricer_of
from asc_search.study.seeds import derived_seed

TREES = 200
LEAF = 2  # rows in one at least
FOLDS = 10  # of the rows, to tell how well a forest does on rows it has not seen


@dataclass(frozen=True)
class Recorded:
    """n trained points of ``space``: what was drawn for them, and their accuracies (n, rungs), not a number from where a
    training diverged; told ``classes`` classes apart, measured on ``clips`` clips.
    """

    space: Space
    records: tuple[Mapping[str, Scalar], ...]
    reached: np.ndarray
    classes: int
    clips: int

    @cached_property
    def price(self) -> Pricer:
        return pricer_of(self.space, self.classes)

    @cached_property
    def inputs(self) -> np.ndarray:
        """What the forest reads, (n, features)."""
        known = known_columns(self.space, self.records)
        columns = draw_columns(self.space, np.random.default_rng(0), len(self.records), known)
        return _inputs(encoded(self.space, columns), self.price(columns).costs)

    @cached_property
    def shares(self) -> np.ndarray:
        """The accuracies, that of a guess where there is none; neither 0 nor 1."""
        told = np.where(np.isnan(self.reached), 1 / self.classes, self.reached)
        return np.clip(told, 0.5 / self.clips, 1 - 0.5 / self.clips)


class Forest:
    """Extremely randomised trees (Geurts et al. 2006) that say the accuracies at all rungs, by their log odds."""

    def __init__(self, inputs: np.ndarray, shares: np.ndarray) -> None:
        from sklearn.ensemble import ExtraTreesRegressor

        fitted = ExtraTreesRegressor(TREES, min_samples_leaf=LEAF, random_state=0)
        fitted.fit(inputs, np.log(shares / (1 - shares)))
        self._trees = [one.tree_ for one in fitted.estimators_]  # points are asked for one by one: without the frame
        self._rungs = shares.shape[1]

    def shares(self, inputs: np.ndarray) -> np.ndarray:
        """(n, features) -> (n, rungs)."""
        given = np.ascontiguousarray(inputs, dtype=np.float32)
        odds = np.mean([tree.predict(given).reshape(len(given), self._rungs) for tree in self._trees], axis=0)
        return 1 / (1 + np.exp(-odds))


def recorded_table(known: Recorded, name: str) -> Table:
    """The table that the trainings of ``known`` speak for.

    As in NAS-Bench-301 (Zela et al. 2022) a regression stands in for the trainings that nobody ran; it is one that no compared
    strategy has as its model. A training measures the accuracy it says, counted on as many clips as were there.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    _check_installed()
    space = known.space
    forest, point = Forest(known.inputs, known.shares), points_of(space, known.price)
    memo: dict[tuple, np.ndarray] = {}

    def accuracies(params: Mapping[str, Any]) -> np.ndarray:
        """At every rung."""
        key = tuple(sorted(params.items()))
        if key not in memo:
            one = point(params)
            memo[key] = forest.shares(_inputs(one.features, one.costs))[0]
        return memo[key]

    def measured(params: Mapping[str, Any], rung: int, seed: int) -> float:
        counted = np.random.default_rng(derived_seed("clips", seed, rung))
        return counted.binomial(known.clips, accuracies(params)[rung]) / known.clips

    worst = float(np.median(1 - known.shares[:, -1]))
    return Table(
        name,
        space,
        known.price,
        lambda params: point(params).told(space),
        measured,
        lambda params: float(accuracies(params)[-1]),
        (worst, *(1.0 for one in space.objectives if one != "accuracy")),
    )


def unseen(known: Recorded) -> dict[str, dict[str, float]]:
    """How well forests do on rows they have not seen, by the epochs of the rung: ``rank_correlation`` (Spearman) and
    ``explained``, the share of the variance; and what the rung's accuracies say of the last ones, ``rank_to_last``.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    _check_installed()
    said = np.zeros_like(known.shares)
    folds = np.random.default_rng(0).permutation(len(said)) % FOLDS
    for fold in range(FOLDS):
        forest = Forest(known.inputs[folds != fold], known.shares[folds != fold])
        said[folds == fold] = forest.shares(known.inputs[folds == fold])
    found = {}
    for rung, epochs in enumerate(known.space.search.rungs):
        true, last = known.shares[:, rung], known.shares[:, -1]
        figures = {
            "rank_correlation": spearman(said[:, rung], true),
            "explained": 1 - np.mean((said[:, rung] - true) ** 2) / np.var(true),
            "rank_to_last": spearman(true, last),
        }
        found[str(epochs)] = {name: round(float(value), 3) for name, value in figures.items()}
    return found


def read_recorded(space: Space, file: Path) -> Recorded:
    """What ``asc-search bench record`` wrote into ``file`` about ``space``.

    Raises:
        DataError: it cannot be read, is of another space or other rungs, or has fewer than ``FOLDS`` rows.
    """
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unusable(file, f"cannot be read: {error}") from None
    measured = [f"accuracy_{epochs}" for epochs in space.search.rungs]
    searched = [one for one in space.varying if not isinstance(one.domain, Constant)]
    names = {name: one for one in searched for name in drawn_names(one)}
    if missing := [name for name in (*names, "classes", "clips", *measured) if rows and name not in rows[0]]:
        raise _unusable(file, f"has no column {missing[0]}; it is not of {space.file} and its rungs")
    if len(rows) < FOLDS:
        raise _unusable(file, f"has {len(rows)} trainings, fewer than {FOLDS}")
    records = []
    for number, row in enumerate(rows, 2):
        try:
            records.append({name: _value(one, row[name]) for name, one in names.items() if row[name] != ""})
            reached = [float(row[name] or "nan") for name in measured]
            row["reached"] = reached
        except (ValueError, TypeError):
            raise _unusable(file, f"line {number} is not of {space.file}") from None
    return Recorded(
        space,
        tuple(records),
        np.array([row["reached"] for row in rows]),
        int(rows[0]["classes"]),
        int(rows[0]["clips"]),
    )


def _value(parameter: Parameter, text: str) -> Scalar:
    match parameter.domain:
        case Choice(values=values):
            return values[[str(value) for value in values].index(text)]
        case FloatRange():
            return float(text)
    return int(text)


def _inputs(features: np.ndarray, costs: np.ndarray) -> np.ndarray:
    return np.concatenate([features, log_costs(costs)], axis=1)


def _check_installed() -> None:
    if find_spec("sklearn") is None:
        raise MissingExtraError("recorded trainings are fitted by scikit-learn: pip install scikit-learn")


def _unusable(file: Path, what: str) -> DataError:
    return DataError("the recorded trainings cannot be used", [Problem(str(file), what)])
