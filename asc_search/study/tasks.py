"""What a worker does next: take up a trial that waits, or draw one; never more than the budget, never one candidate twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from asc_search.data.clips import Clips
from asc_search.errors import AscSearchError, InfeasibleSpaceError
from asc_search.oracle.feasibility import estimate
from asc_search.progress import Stage
from asc_search.space.candidate import Candidate
from asc_search.space.space import Space
from asc_search.study.drawing import Drawn, draw_candidate
from asc_search.study.lease import MAX_DEATHS, Lease, shared, take_back
from asc_search.study.objective import Result
from asc_search.study.owner import Owner
from asc_search.study.run_folder import RunFolder
from asc_search.study.turn import turn
from asc_search.train.candidate import Material

MAX_FAILURES = 5  # diverged trainings in a row after which something else than bad luck is at work
PAUSES_S = (0.02, 1.0)  # between two looks whether there is something to do: at first, at most

GoesOn = Callable[[int, Result], bool]
# (candidate, folder, seed, goes_on, on_epoch) -> results at the rungs it reached
Train = Callable[[Candidate, Path, int, GoesOn, Callable[[int], None]], list[Result]]


@dataclass(frozen=True)
class Setting:
    """What every trial of a search shares.

    ``train`` takes the place of the training (``objective.train_trial``) where that is simulated; ``most_deaths`` is how many
    workers a candidate may take with it at one epoch.
    """

    space: Space
    run: RunFolder
    material: Material
    validation: Clips
    train: Train | None = None
    most_deaths: int = MAX_DEATHS

    @property
    def classes(self) -> int:
        return len(self.material.training.classes)


@dataclass(frozen=True)
class Task:
    """A trial that is ours to train."""

    trial_id: int
    number: int
    candidate: Candidate
    attrs: Mapping[str, Any]


def next_task(study: optuna.Study, setting: Setting, owner: Owner, stage: Stage) -> Task | None:
    """The next trial to train, or None when the budget is spent; waits while the rest of it is in other hands."""
    total, (pause, longest) = setting.space.search.trials, PAUSES_S
    while True:
        with turn(shared(study).engine, study.study_name):
            trials = _trials(study)
            if lines := take_back(study, trials, owner, setting.most_deaths):
                for line in lines:
                    stage.tell(line)
                continue
            trained, running, waiting = _counted(trials)
            stage.reached(trained)
            if trained >= total:
                return None
            _check_progress(trials, setting)
            if waiting and trained + len(running) < total:
                task, more = _claim(study, setting, owner, trials, stage)
                if task is not None:
                    return task
                if more:
                    continue
        if trained + len(running) + len(waiting) < total:
            drawn = _draw(study, setting, trials)
            if task := _store(study, setting, owner, drawn, stage):
                return task
        else:
            time.sleep(pause)
            pause = min(longest, 2 * pause)


def _trials(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False)


def _counted(trials: Sequence[FrozenTrial]) -> tuple[int, list[FrozenTrial], list[FrozenTrial]]:
    """How many were trained (what counts against the budget), and the running and the waiting ones."""
    trained = sum(trial.state in (TrialState.COMPLETE, TrialState.FAIL) for trial in trials)
    running, waiting = (
        [trial for trial in trials if trial.state is state] for state in (TrialState.RUNNING, TrialState.WAITING)
    )
    return trained, running, waiting


def _draw(
    study: optuna.Study, setting: Setting, trials: Sequence[FrozenTrial], fixed: Mapping[str, Any] | None = None
) -> Drawn:
    """Draw and price; ``trials`` were just read."""
    return draw_candidate(study, setting.space, setting.classes, fixed, trials)


def _claim(
    study: optuna.Study,
    setting: Setting,
    owner: Owner,
    trials: Sequence[FrozenTrial],
    stage: Stage,
) -> tuple[Task | None, bool]:
    """The first waiting trial that can be trained now, one that was given back or a known design; whether any was closed.

    One whose candidate is being trained waits for that result.
    """
    more = False
    _, running, waiting = _counted(trials)
    busy = {trial.user_attrs["digest"] for trial in running if "digest" in trial.user_attrs}
    for trial in waiting:
        attrs, drawn = dict(trial.user_attrs), None
        if "digest" not in attrs:
            fixed = {**trial.params, **trial.system_attrs.get("fixed_params", {})}
            drawn = _draw(study, setting, trials, fixed)
            attrs |= drawn.trial(TrialState.RUNNING).user_attrs
        if attrs["digest"] in busy:
            continue
        stored = None if drawn is None else drawn.trial(TrialState.RUNNING)
        if not shared(study).claim(trial._trial_id, owner.text, stored):
            more = True
            continue
        task = Task(trial._trial_id, trial.number, Candidate.from_json(attrs["candidate"]), attrs)
        lease, more = Lease(shared(study), task.trial_id, owner.text), True
        if drawn is not None and not drawn.assessment.verdict.fits:
            lease.tell(TrialState.PRUNED, status="rejected", reason=drawn.assessment.verdict.reason)
        elif (twin := _finished_twin(trials, attrs["digest"])) is not None:
            lease.tell(TrialState.COMPLETE, twin.values, **_like(twin))
            stage.end(_same(trial.number, twin))
        else:
            return task, True
    return None, more


def _store(study: optuna.Study, setting: Setting, owner: Owner, drawn: Drawn, stage: Stage) -> Task | None:
    """Store a drawn candidate; it is ours to train unless it is over the budget, or trained or being trained already."""
    storage, study_id = shared(study), study._study_id
    verdict = drawn.assessment.verdict
    if not verdict.fits:
        storage.add(study_id, drawn.trial(TrialState.PRUNED, status="rejected", reason=verdict.reason))
        return None
    digest = drawn.candidate.digest()
    with turn(storage.engine, study.study_name):
        trials = _trials(study)
        trained, running, waiting = _counted(trials)
        if trained + len(running) + len(waiting) >= setting.space.search.trials:
            return None  # the others were faster
        if (twin := _finished_twin(trials, digest)) is not None:
            _, number = storage.add(study_id, drawn.trial(TrialState.COMPLETE, twin.values, **_like(twin)))
            stage.end(_same(number, twin))
            return None
        if any(trial.user_attrs.get("digest") == digest for trial in (*running, *waiting)):
            storage.add(study_id, drawn.trial(TrialState.WAITING))
            return None
        trial = drawn.trial(TrialState.RUNNING, worker=owner.text)
        trial_id, number = storage.add(study_id, trial)
    return Task(trial_id, number, drawn.candidate, trial.user_attrs)


def _check_progress(trials: Sequence[FrozenTrial], setting: Setting) -> None:
    """Stop a search that gets nowhere: too many trials in a row, up to the last, were rejected or failed."""
    ended = [trial.state for trial in trials if trial.state.is_finished()]
    rejected = _run_length(ended, TrialState.PRUNED)
    if rejected >= setting.space.search.max_rejections:
        raise InfeasibleSpaceError(_advice(setting, rejected))
    failed = _run_length([state for state in ended if state is not TrialState.PRUNED], TrialState.FAIL)
    if failed >= MAX_FAILURES:
        raise AscSearchError(failing(failed))


def failing(count: int) -> str:
    return f"{count} trainings in a row failed (see above); most often a lower training.lr helps"


def _run_length(states: Sequence[TrialState], state: TrialState) -> int:
    """How many of ``states`` at the end are ``state``."""
    return next((count for count, one in enumerate(reversed(states)) if one is not state), len(states))


def _like(twin: FrozenTrial) -> dict[str, Any]:
    """What is told of a trial that is the same candidate as ``twin``."""
    attrs = twin.user_attrs
    reason = f"the same candidate as trial {twin.number}"
    return {"status": attrs["status"], "reason": reason, "rungs": attrs["rungs"]}


def _same(number: int, twin: FrozenTrial) -> str:
    return f"trial {number}: the same candidate as trial {twin.number}, not trained again"


def _finished_twin(trials: Sequence[FrozenTrial], digest: str) -> FrozenTrial | None:
    """A finished trial of the very same candidate."""
    for trial in trials:
        if trial.state is TrialState.COMPLETE and trial.user_attrs.get("digest") == digest:
            return trial
    return None


def _advice(setting: Setting, rejections: int) -> str:
    """Why nothing fits: the share of the space that does and the parameter that costs most."""
    found = estimate(setting.space, setting.classes)
    return f"{rejections} candidates in a row are over the budget.\n{found.advice()}"
