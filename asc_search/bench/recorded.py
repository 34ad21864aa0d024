"""A table of real trainings: what `asc-search bench record` measured, and between its points what boosted trees make of it."""

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

BOOSTING = {"n_estimators": 200, "max_depth": 3, "learning_rate": 0.05, "subsample": 0.6, "random_state": 0}
FOLDS = 10  # of the rows, to tell how well the trees do on rows they have not seen


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
        """What the trees read, (n, features)."""
        known = known_columns(self.space, self.records)
        columns = draw_columns(self.space, np.random.default_rng(0), len(self.records), known)
        return _inputs(encoded(self.space, columns), self.price(columns).costs)

    @cached_property
    def odds(self) -> np.ndarray:
        """The log odds (n, rungs) of the accuracies, of a guess where there is none."""
        told = np.where(np.isnan(self.reached), 1 / self.classes, self.reached)
        shares = np.clip(told, 0.5 / self.clips, 1 - 0.5 / self.clips)
        return np.log(shares / (1 - shares))

    @cached_property
    def unseen_odds(self) -> np.ndarray:
        """What trees say of each row (n, rungs) that have not seen it."""
        said = np.zeros_like(self.odds)
        folds = np.random.default_rng(0).permutation(len(said)) % FOLDS
        for fold in range(FOLDS):
            trees = Trees(self.inputs[folds != fold], self.odds[folds != fold])
            said[folds == fold] = trees.odds(self.inputs[folds == fold])
        return said


class Trees:
    """Stochastic gradient boosting (Friedman 2002) that says the log odds of the accuracy at each rung."""

    def __init__(self, inputs: np.ndarray, odds: np.ndarray) -> None:
        if find_spec("sklearn") is None:
            raise MissingExtraError("recorded trainings are fitted by scikit-learn: pip install scikit-learn")
        from sklearn.ensemble import GradientBoostingRegressor

        self._rungs = [GradientBoostingRegressor(**BOOSTING).fit(inputs, one) for one in odds.T]

    def odds(self, inputs: np.ndarray) -> np.ndarray:
        """(n, features) -> (n, rungs)."""
        return np.stack([one.predict(inputs) for one in self._rungs], axis=1)


def recorded_table(known: Recorded, name: str) -> Table:
    """The table that the trainings of ``known`` speak for.

    As in NAS-Bench-301 (Zela et al. 2022) a regression stands in for the trainings that nobody ran; it is one that no compared
    strategy has as its model. What a training measures is off from what the trees say by as much as a recorded one was from
    trees that had not seen it, at all rungs together: so early rungs tell as much of the last one as they did.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    space = known.space
    trees, point = Trees(known.inputs, known.odds), points_of(space, known.price)
    off = known.odds - known.unseen_odds
    off -= off.mean(axis=0)
    memo: dict[tuple, np.ndarray] = {}

    def odds(params: Mapping[str, Any]) -> np.ndarray:
        """At every rung."""
        key = tuple(sorted(params.items()))
        if key not in memo:
            one = point(params)
            memo[key] = trees.odds(_inputs(one.features, one.costs))[0]
        return memo[key]

    def measured(params: Mapping[str, Any], rung: int, seed: int) -> float:
        row = np.random.default_rng(derived_seed("training", seed)).integers(len(off))
        return float(_share(odds(params)[rung] + off[row, rung]))

    worst = float(np.median(1 - _share(known.odds[:, -1])))
    return Table(
        name,
        space,
        known.price,
        lambda params: point(params).told(space),
        measured,
        lambda params: float(_share(odds(params)[-1])),
        (worst, *(1.0 for one in space.objectives if one != "accuracy")),
    )


def on_unseen_rows(known: Recorded) -> dict[str, dict[str, float]]:
    """How well the trees do on rows they have not seen, by the epochs of the rung: ``rank_correlation`` (Spearman) and
    ``explained``, the share of the variance; and what the rung's accuracies say of the last ones, ``rank_to_last``.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    found = {}
    for rung, epochs in enumerate(known.space.search.rungs):
        true, said, last = known.odds[:, rung], known.unseen_odds[:, rung], known.odds[:, -1]
        figures = {
            "rank_correlation": spearman(said, true),
            "explained": 1 - np.mean((said - true) ** 2) / np.var(true),
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
    records, reached = [], []
    for number, row in enumerate(rows, 2):
        try:
            records.append({name: _value(one, row[name]) for name, one in names.items() if row[name] != ""})
            reached.append([float(row[name] or "nan") for name in measured])
        except (ValueError, TypeError):
            raise _unusable(file, f"line {number} is not of {space.file}") from None
    return Recorded(space, tuple(records), np.array(reached), int(rows[0]["classes"]), int(rows[0]["clips"]))


def _value(parameter: Parameter, text: str) -> Scalar:
    match parameter.domain:
        case Choice(values=values):
            return values[[str(value) for value in values].index(text)]
        case FloatRange():
            return float(text)
    return int(text)


def _inputs(features: np.ndarray, costs: np.ndarray) -> np.ndarray:
    return np.concatenate([features, log_costs(costs)], axis=1)


def _share(odds: Any) -> Any:
    return 1 / (1 + np.exp(-odds))


def _unusable(file: Path, what: str) -> DataError:
    return DataError("the recorded trainings cannot be used", [Problem(str(file), what)])
