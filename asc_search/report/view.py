"""What a report is made of: everything a run holds so far, read once; whatever is not there yet is empty."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from statistics import mean
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from asc_search.errors import RunFolderError
from asc_search.files import read_json
from asc_search.report.importance import importances
from asc_search.space.candidate import Candidate
from asc_search.space.space import Space
from asc_search.study.create import open_storage, sqlite_url, study_name, trained_count
from asc_search.study.finished import reopened_space
from asc_search.study.front import trial_points
from asc_search.study.records import FinalistRow, TrialPoint
from asc_search.study.retrain import Finalist, Trained, row, trained_in
from asc_search.study.run_folder import RunFolder
from asc_search.train.metrics import Metrics

OWN_DATABASE = "study.db"


@dataclass(frozen=True)
class Network:
    """A retrained network: its row of the front, and its metrics by seed; ``test`` is empty before the test."""

    finalist: Finalist
    row: FinalistRow
    validation: tuple[Metrics, ...]
    test: tuple[Metrics, ...]

    @property
    def accuracy(self) -> float:
        """Mean validation accuracy over the seeds: what networks are chosen by."""
        return mean(metrics.accuracy for metrics in self.validation)


@dataclass(frozen=True)
class View:
    """A run as far as it got.

    ``trials`` are all trials of the study in order, ``networks`` the retrained ones. ``complete`` says that the job came to
    its end, ``busy`` that a process works on the folder. ``rows_json`` are the rows as they lie in front.json, with what
    later versions may have put beside.
    """

    run: RunFolder
    space: Space
    trials: tuple[FrozenTrial, ...]
    networks: tuple[Network, ...]
    rows_json: tuple[dict[str, Any], ...]
    complete: bool
    busy: bool

    @property
    def name(self) -> str:
        return self.run.root.resolve().name

    @property
    def rows(self) -> list[FinalistRow]:
        return [network.row for network in self.networks]

    @property
    def points(self) -> list[TrialPoint]:
        return trial_points(self.trials)

    @cached_property
    def importances(self) -> dict[str, float]:
        """Share of each parameter in being among the best, largest first; empty where too little is known."""
        return importances(self.trained)

    @cached_property
    def trained(self) -> list[FrozenTrial]:
        """The trials that were trained, to their end or a rung, in the order in which they ended; no candidate twice."""
        seen: dict[str, FrozenTrial] = {}
        for trial in sorted(self.trials, key=lambda one: (one.datetime_complete is None, one.datetime_complete)):
            if trial.state is TrialState.COMPLETE and trial.user_attrs.get("rungs"):
                seen.setdefault(trial.user_attrs["digest"], trial)
        return list(seen.values())

    @property
    def best(self) -> Network | None:
        """The finalist with the highest validation accuracy; the test split has no part in this."""
        finalists = [one for one in self.networks if one.row.role == "finalist"]
        return max(finalists, key=lambda one: one.accuracy, default=None)


def load_view(run: RunFolder, storage: str | None = None) -> View:
    """Read the run; ``storage`` is the URL of its database where that is not the run's own file.

    Raises:
        RunFolderError: the database cannot be opened or is not said.
        SpaceError: the run's copy of its space is damaged.
    """
    return view_of(run, load_study(run, storage))


def view_of(run: RunFolder, study: optuna.Study | None) -> View:
    """The run as it is now, with its ``study``; None where the search has not begun."""
    space = reopened_space(run)
    trials = () if study is None else tuple(study.get_trials(deepcopy=False))
    listed = tuple(read_json(run.root / "front.json") or ())
    networks = tuple(_networks(run, space, trials, listed))
    complete = bool(listed) and study is not None and trained_count(study) >= space.search.trials
    return View(run, space, trials, networks, listed, complete, _busy(run))


def load_study(run: RunFolder, storage: str | None) -> optuna.Study | None:
    """The run's study; None where the search has not begun.

    Raises:
        RunFolderError: the database cannot be opened, or it lies elsewhere and ``storage`` does not say where.
    """
    known = (run.identity or {}).get("storage", OWN_DATABASE)
    if known == OWN_DATABASE:
        if not run.database.exists():
            return None
        url, shared = sqlite_url(run.database), False
    elif storage is None and "***" in known:
        raise RunFolderError(f"{run.root}: its study is kept in {known}; give --storage with that URL and its password")
    else:
        url, shared = storage or known, True
    try:
        return optuna.load_study(study_name=study_name(run, shared), storage=open_storage(url))
    except KeyError:
        return None


def _networks(
    run: RunFolder, space: Space, trials: Iterable[FrozenTrial], listed: Iterable[dict[str, Any]]
) -> Iterable[Network]:
    """The retrained networks: those of finalists.json, or before it is written those of trials whose training has ended."""
    known = {field.name for field in fields(FinalistRow)}
    rows = {(one["name"], one["role"]): {key: one[key] for key in known & one.keys()} for one in listed}
    stored = read_json(run.root / "finalists.json")
    finalists = [Finalist.from_json(one) for one in stored] if stored is not None else _of_trials(trials)
    for finalist in finalists:
        folders = [run.finalist(finalist.digest, space.retrain.epochs, seed) for seed in range(space.retrain.seeds)]
        runs = [trained for folder in folders if (trained := trained_in(folder)) is not None]
        if runs:
            tests = tuple(metrics for one in runs if (metrics := _test(one)) is not None)
            written = rows.get((finalist.name, finalist.role))
            own = FinalistRow.from_json(written) if written else row(finalist, runs, tests, space.retrain.epochs)
            yield Network(finalist, own, tuple(one.validation for one in runs), tests)


def _of_trials(trials: Iterable[FrozenTrial]) -> list[Finalist]:
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE and "candidate" in trial.user_attrs]
    distinct = {trial.user_attrs["digest"]: trial for trial in reversed(complete)}
    return [
        Finalist(f"trial {trial.number}", "finalist", Candidate.from_json(trial.user_attrs["candidate"]), trial.number)
        for trial in sorted(distinct.values(), key=lambda one: one.number)
    ]


def _test(trained: Trained) -> Metrics | None:
    known = read_json(trained.folder / "test.json")
    return None if known is None else Metrics.from_json(known)


def _busy(run: RunFolder) -> bool:
    """Whether the process that wrote it holds the run folder still lives, on this machine."""
    holder = read_json(run.root / "holder.json") or {}
    try:
        os.kill(int(holder["pid"]), 0)
    except (KeyError, TypeError, ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
