"""optuna-dashboard on a run, told what it does not know: feasibility, words, files and figures of ours.

optuna-dashboard 0.21 does not read ``Trial.set_constraint`` and lists infeasible trials among the best. Both are mended in
this process by wrapping what it serves. Notes, artefacts and figures are put in on the same way out instead of being
stored as attributes of the study: nothing is written into a database that workers write to, finished trials get theirs,
too, and none is ever stale.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from types import ModuleType
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from asc_search.errors import AscSearchError
from asc_search.report.dashboard_files import RunFiles
from asc_search.report.dashboard_notes import study_note, trial_note
from asc_search.report.feasibility_section import feasibility_section
from asc_search.report.front_section import front_section
from asc_search.report.page import Plot
from asc_search.report.progress_section import progress_section
from asc_search.report.rungs_section import rungs_section
from asc_search.report.teaching_section import teaching_section
from asc_search.report.view import View, view_of
from asc_search.study.run_folder import RunFolder

REFRESH_S = 30.0
CARD_HEIGHT = 440  # px
MOST_SHOWN = 300  # refused trials, and as many others, in a figure that has a mark for each
WHOLE = (progress_section, feasibility_section)  # those that sum over all trials
SHOWN = (front_section, progress_section, rungs_section, feasibility_section, teaching_section)
WRAPPED = {
    "optuna_dashboard._serializer": ("serialize_frozen_trial",),
    "optuna_dashboard._app": ("get_pareto_front_trials", "serialize_study_detail", "create_app"),
    "optuna_dashboard.artifact._backend": ("get_trial_artifact_meta", "get_study_artifact_meta"),
}


def feasible(trial: FrozenTrial) -> bool:
    """Whether a trial keeps every limit."""
    return all(value <= 0 for value in trial.constraints.values())


def feasible_best(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """The complete and feasible trials that no other such trial beats; of one objective the best."""
    signs = [-1 if direction is StudyDirection.MAXIMIZE else 1 for direction in directions]
    known = [trial for trial in trials if trial.state is TrialState.COMPLETE and feasible(trial)]
    points = [tuple(sign * value for sign, value in zip(signs, trial.values, strict=True)) for trial in known]
    best, least = [], None
    for point, trial in sorted(zip(points, known, strict=True), key=lambda one: (one[0], one[1].number)):
        if len(signs) == 1:
            return [trial]
        if len(signs) == 2:  # a sweep: thousands of trials are asked for every few seconds
            if least is None or point[1] < least[1] or point == least:
                best.append(trial)
                least = point
        elif not any(_beats(other, point) for other in points):
            best.append(trial)
    return sorted(best, key=lambda trial: trial.number)


def _beats(a: Sequence[float], b: Sequence[float]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


@dataclass
class Exhibit:
    """What a dashboard shows of ``run`` besides the trials; the figures and the study's note are made anew at intervals."""

    run: RunFolder
    study: optuna.Study
    refresh_s: float = REFRESH_S
    files: RunFiles = field(init=False)
    _shown: tuple[View, dict[str, str]] | None = field(default=None, init=False)
    _next: float = field(default=0.0, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)
    _notes: dict[int, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.files = RunFiles(self.run)

    def current(self) -> tuple[View, dict[str, str]]:
        """The run as it was a moment ago, and the figures of it as Plotly JSON by title.

        They are made anew every ``refresh_s``, or as often as takes a tenth of the time; meanwhile the last ones are shown.
        """
        known = self._shown
        if known is not None and (time.monotonic() < self._next or not self._lock.acquire(blocking=False)):
            return known
        if known is None:
            self._lock.acquire()
        try:
            if self._shown is None or time.monotonic() >= self._next:
                began = time.monotonic()
                view = view_of(self.run, self.study)
                self._shown = view, figures(view)
                self._next = time.monotonic() + max(self.refresh_s, 10 * (time.monotonic() - began))
            return self._shown
        finally:
            self._lock.release()

    def trial(self, trial: FrozenTrial, served: dict[str, Any]) -> dict[str, Any]:
        """A trial of this study as the dashboard ``served`` it, with note and artefacts; a note somebody wrote stays."""
        view, _ = self.current()
        if not served["note"]["body"]:
            served["note"] = {**served["note"], "body": self._note(trial, view)}
        served["artifacts"] = [*served["artifacts"], *self.files.of_trial(trial, view.trials)]
        return served

    def _note(self, trial: FrozenTrial, view: View) -> str:
        if not trial.state.is_finished():
            return trial_note(trial, view.space)
        if trial.number not in self._notes:
            self._notes[trial.number] = trial_note(trial, view.space)
        return self._notes[trial.number]


def figures(view: View) -> dict[str, str]:
    """The figures of the report as Plotly JSON, titled.

    The dashboard asks for them every few seconds; those with a mark for each trial show the newest.
    """
    refused = [trial for trial in view.trials if trial.state is TrialState.PRUNED][-MOST_SHOWN:]
    others = [trial for trial in view.trials if trial.state is not TrialState.PRUNED][-MOST_SHOWN:]
    newest = replace(view, trials=tuple(sorted((*refused, *others), key=lambda trial: trial.number)))
    found = {}
    for section in SHOWN:
        made = section(view if section in WHOLE else newest)
        for part in made.parts:
            if isinstance(part, Plot):
                found[made.key] = _titled(part.figure, made.title).to_json()
    return found


def _titled(figure: go.Figure, title: str) -> go.Figure:
    """The figure with its title, as high as the dashboard's cards are."""
    top = (figure.layout.margin.t or 0) + 44
    return figure.update_layout(
        title={"text": title, "x": 0.02, "y": 0.98, "yanchor": "top"}, margin={"t": top}, height=CARD_HEIGHT
    )


def check_installed() -> None:
    """Make sure that the installed optuna-dashboard has what is wrapped.

    Raises:
        AscSearchError: it has not; the message names version and functions.
    """
    from importlib import import_module, metadata

    version = metadata.version("optuna-dashboard")
    absent = []
    for module, names in WRAPPED.items():
        try:
            found = import_module(module)
        except ImportError:
            absent.append(module)
            continue
        absent += [f"{module}.{name}" for name in names if not callable(getattr(found, name, None))]
    if absent:
        raise AscSearchError(
            f"optuna-dashboard {version} no longer has {', '.join(absent)}; without them it would show candidates over the "
            "budget as the best. Install one that has them: pip install 'optuna-dashboard>=0.21,<0.22'"
        )


@contextmanager
def _replaced(module: ModuleType, name: str, by: Callable[..., Any]) -> Iterator[None]:
    own = getattr(module, name)
    setattr(module, name, by)
    try:
        yield
    finally:
        setattr(module, name, own)


@contextmanager
def dashboard_app(exhibit: Exhibit) -> Iterator[Callable[..., Any]]:
    """The WSGI application, valid inside the block; outside of it optuna-dashboard is as it was.

    Raises:
        AscSearchError: the installed optuna-dashboard cannot be mended.
    """
    check_installed()
    from optuna_dashboard import _app, _serializer
    from optuna_dashboard.artifact import _backend

    ours = exhibit.study._study_id
    serve_trial, serve_study = _serializer.serialize_frozen_trial, _app.serialize_study_detail
    of_trial, of_study = _backend.get_trial_artifact_meta, _backend.get_study_artifact_meta

    def trial_served(study_id: int, trial: FrozenTrial, system_attrs: dict[str, Any]) -> dict[str, Any]:
        served = serve_trial(study_id, trial, system_attrs)
        served["constraints"] = list(trial.constraints.values())
        return exhibit.trial(trial, served) if study_id == ours else served

    def study_served(study: Any, best: list[FrozenTrial], trials: list[FrozenTrial], *rest: Any) -> dict[str, Any]:
        if len(study.directions) == 1:  # the only case in which the best are not asked of get_pareto_front_trials
            every = exhibit.study._storage.get_all_trials(study._study_id, deepcopy=False)
            best = feasible_best(every, study.directions)
        served = serve_study(study, best, trials, *rest)
        if study._study_id == ours:
            view, made = exhibit.current()
            if not served["note"]["body"]:
                served["note"] = {**served["note"], "body": study_note(view)}
            served["artifacts"] = [*served["artifacts"], *exhibit.files.of_study()]
            served["plotly_graph_objects"] = [
                *({"id": key, "graph_object": figure} for key, figure in made.items()),
                *served["plotly_graph_objects"],
            ]
        return served

    def front(*, trials: list[FrozenTrial], directions: list[StudyDirection]) -> list[FrozenTrial]:
        return feasible_best(trials, directions)

    def trial_meta(storage: Any, study_id: int, trial_id: int, artifact_id: str) -> Any:
        return exhibit.files.meta(artifact_id) or of_trial(storage, study_id, trial_id, artifact_id)

    def study_meta(storage: Any, study_id: int, artifact_id: str) -> Any:
        return exhibit.files.meta(artifact_id) or of_study(storage, study_id, artifact_id)

    with ExitStack() as stack:
        for module, name, mended in (
            (_serializer, "serialize_frozen_trial", trial_served),
            (_app, "serialize_study_detail", study_served),
            (_app, "get_pareto_front_trials", front),
            (_backend, "get_trial_artifact_meta", trial_meta),
            (_backend, "get_study_artifact_meta", study_meta),
        ):
            stack.enter_context(_replaced(module, name, mended))
        yield _app.create_app(exhibit.study._storage, artifact_store=exhibit.files)
