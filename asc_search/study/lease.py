"""Holding a trial: signs of life while it is trained, what is said of it, and giving it back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from asc_search.progress import console
from asc_search.study.owner import Owner
from asc_search.study.storage import WORKER, SharedStorage

TELL_EVERY_S = 1.0  # how often an epoch is told to the database at most
MAX_DEATHS = 2  # workers that one candidate may take with it without getting on by an epoch


class SupersededError(Exception):
    """The trial was given to another worker while this one gave no sign of life."""


def shared(study: optuna.Study) -> SharedStorage:
    """The storage behind Optuna's cache."""
    return getattr(study._storage, "_backend", study._storage)


@dataclass
class Lease:
    """One trial while it is trained here: all that is written of it counts only as long as it is ours."""

    storage: SharedStorage
    trial_id: int
    worker: str
    _lost: threading.Event = field(default_factory=threading.Event)
    _told: float = float("-inf")

    def tell(self, state: TrialState | None = None, values: list[float] | None = None, **attrs: Any) -> None:
        """Write ``attrs`` and the ``state``.

        Raises:
            SupersededError: it is no longer ours; nothing was written.
        """
        if self._lost.is_set() or not self.storage.settle(self.trial_id, self.worker, attrs, state, values):
            raise SupersededError

    def epoch(self, done: int, of: int, began: float, first: int) -> None:
        """Say that ``done`` of ``of`` epochs are trained, from ``first`` on since ``began`` (by ``time.monotonic``).

        Of the last epoch nothing is said: the trial's end is.
        """
        if self._lost.is_set():
            raise SupersededError
        if done == of:
            return
        now = time.monotonic()
        if now - self._told >= TELL_EVERY_S:
            self._told = now
            a_epoch_s = (now - began) / max(1, done - first)
            self.tell(progress={"epochs": done, "of": of, "epoch_s": round(a_epoch_s, 3)})

    def give_back(self, deaths: list[dict[str, Any]] | None = None) -> bool:
        """Let anyone take it up where it is."""
        attrs = {} if deaths is None else {"deaths": deaths}
        return self.storage.settle(self.trial_id, self.worker, attrs, TrialState.WAITING)

    def live(self, every_s: float, ended: threading.Event) -> None:
        """Signs of life until ``ended``."""
        while not ended.wait(every_s):
            try:
                if not self.storage.beat(self.trial_id, self.worker):
                    self._lost.set()
                    return
            except Exception as error:  # a thread has nobody to raise it to, and the training may still end well
                console.print(f"no sign of life could be given: {type(error).__name__}", style="yellow", markup=False)


@contextmanager
def holding(study: optuna.Study, trial_id: int, owner: Owner) -> Iterator[Lease]:
    """The lease of a trial that ``owner`` has stored or claimed; signs of life are given as long as it is held."""
    storage = shared(study)
    lease, ended = Lease(storage, trial_id, owner.text), threading.Event()
    thread = threading.Thread(target=lease.live, args=(storage.heartbeat_interval or 60, ended), daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        ended.set()


def take_back(
    study: optuna.Study, trials: Sequence[FrozenTrial], owner: Owner, most_deaths: int = MAX_DEATHS
) -> list[str]:
    """Give running ones of ``trials`` whose workers are gone back to all, or close those that took ``most_deaths`` workers
    with them; a line for each.

    A worker of this machine is gone when its process is, any other when it gave no sign of life for the storage's grace
    period.
    """
    storage, lines = shared(study), []
    silence: dict[int, float] | None = None
    for trial in trials:
        if trial.state is not TrialState.RUNNING:
            continue
        text = trial.user_attrs.get(WORKER)
        worker = Owner.parse(text)
        if text == owner.text:  # stored by us, but the connection was lost before we heard of it
            if storage.settle(trial._trial_id, text, {}, TrialState.WAITING):
                lines.append(f"trial {trial.number}: given back, it was stored while the database went away")
            continue
        if worker is None or worker.gone:
            why = "its process ended"
        else:
            silence = storage.silence(study._study_id) if silence is None else silence
            quiet = silence.get(trial._trial_id, 0.0)
            if quiet <= (storage.grace_period or 600):
                continue
            why = f"no sign of life for {quiet:.0f} s"
        name = worker.name if worker else "an older version"
        lines += close_or_free(study, trial, text, f"{name}, {why}", most_deaths)
    return lines


def close_or_free(study: optuna.Study, trial: FrozenTrial, worker: str | None, why: str, most_deaths: int) -> list[str]:
    """Give back a running trial of a dead ``worker``; too many deaths at the same epoch close it as failed, with the reason."""
    deaths = [*trial.user_attrs.get("deaths", []), {"why": why, "epochs": epochs_of(trial)}]
    last = deaths[-most_deaths:]
    if len(last) == most_deaths and len({death["epochs"] for death in last}) == 1:
        reason = f"took {most_deaths} workers with it ({'; '.join(death['why'] for death in last)}), perhaps for want of memory"
        attrs = {"deaths": deaths, "status": "failed", "reason": reason}
        done = shared(study).settle(trial._trial_id, worker, attrs, TrialState.FAIL)
        return [f"trial {trial.number}: closed, it {reason}"] if done else []
    done = shared(study).settle(trial._trial_id, worker, {"deaths": deaths}, TrialState.WAITING)
    return [f"trial {trial.number}: given back, its worker is gone ({why})"] if done else []


def epochs_of(trial: FrozenTrial) -> int:
    """Epochs that a trial is known to have had."""
    return trial.user_attrs.get("progress", {}).get("epochs", 0)
