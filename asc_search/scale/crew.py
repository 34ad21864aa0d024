"""Workers that were started together, watched until the study is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from asc_search.errors import AscSearchError
from asc_search.progress import Stage, console
from asc_search.space.space import Space
from asc_search.study.create import trained_count
from asc_search.study.objective import Result
from asc_search.study.search import trial_line

LOOK_S = 0.5
FAREWELL_S = 30.0


class Crew(Protocol):
    """Started workers."""

    def alive(self) -> int:
        """How many run or wait to."""

    def why_ended(self) -> str:
        """What those that ended said last."""

    def stop(self) -> None:
        """End those that run; their trials are given back."""


def watch(study: optuna.Study, space: Space, crew: Crew, pause: Callable[[float], None] = time.sleep) -> None:
    """Show one progress of all workers until the budget is spent; they end with this process.

    Raises:
        AscSearchError: all ended before that; with what they said.
    """
    total, told = space.search.trials, set()
    try:
        with Stage("search", total, trained_count(study)) as stage:
            told = {trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()}
            while True:
                alive = crew.alive()  # before the look, so that what ended in between is seen
                trials = study.get_trials(deepcopy=False)
                for trial in trials:
                    if trial.state in (TrialState.COMPLETE, TrialState.FAIL) and trial.number not in told:
                        told.add(trial.number)
                        stage.tell(described(trial, space))
                trained = sum(trial.state in (TrialState.COMPLETE, TrialState.FAIL) for trial in trials)
                stage.reached(trained)
                if trained >= total:
                    _let_end(crew, pause)
                    break
                if not alive:
                    what = f"all workers ended with {trained} of {total} trainings done; the same command goes on"
                    raise AscSearchError(f"{what}\n{crew.why_ended()}")
                pause(LOOK_S)
    finally:
        crew.stop()
    rejected = sum(trial.state is TrialState.PRUNED for trial in trials)
    console.print(f"search: {trained} candidates trained, {rejected} refused by their price alone")


def _let_end(crew: Crew, pause: Callable[[float], None]) -> None:
    """Let workers that have nothing more to do say so and end."""
    end = time.monotonic() + FAREWELL_S
    while crew.alive() and time.monotonic() < end:
        pause(LOOK_S / 5)


def described(trial: FrozenTrial, space: Space) -> str:
    """An ended trial in one line."""
    attrs = trial.user_attrs
    if trial.state is TrialState.FAIL:
        return f"trial {trial.number}: failed, {attrs.get('reason', 'no reason is known')}"
    if str(attrs.get("reason", "")).startswith("the same candidate"):
        return f"trial {trial.number}: {attrs['reason']}, not trained again"
    last = Result.from_json(attrs["rungs"][-1])
    return trial_line(trial.number, attrs, last, attrs["status"], space.search.rungs[-1])
