"""What a search looks like from outside: workers, running trials, front so far, rate, share refused."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Group
from rich.live import Live
from rich.table import Table

from asc_search.progress import results
from asc_search.scale.worker import REGISTERED, join
from asc_search.space.space import Space
from asc_search.study.finished import reopened_space
from asc_search.study.front import finalist_trials
from asc_search.study.lease import epochs_of, shared
from asc_search.study.owner import Owner
from asc_search.study.run_folder import RunFolder
from asc_search.study.storage import WORKER

EVERY_S = 2.0
RATE_WINDOW_S = 3600.0  # a rate is that of the last hour


@dataclass(frozen=True)
class Running:
    """A trial under way: epochs had of those of its next rung and of all, seconds left to both, silence of its worker."""

    trial: int
    worker: str
    rung: int
    epochs: int
    rung_epochs: int
    all_epochs: int
    rung_left_s: float | None
    left_s: float | None
    silent_s: float | None
    params: int
    macs: int
    deaths: int


@dataclass(frozen=True)
class Status:
    """A search at one moment; accuracies are those on validation at the last rung a trial reached."""

    study: str
    budget: int
    trained: int
    failed: int
    rejected: int
    waiting: int
    running: tuple[Running, ...]
    workers: tuple[dict[str, Any], ...]
    front: tuple[dict[str, Any], ...]
    trainings_per_h: float | None
    rejected_share: float
    left_s: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def look(run: RunFolder, url: str | None) -> Status:
    """The state of the search of ``run``.

    Raises:
        RunFolderError: it has no study (yet), or its database needs a password.
    """
    return status_of(join(run, url), reopened_space(run))


def status_of(study: optuna.Study, space: Space) -> Status:
    """The state of ``study``."""
    trials = study.get_trials(deepcopy=False)
    by = {state: [trial for trial in trials if trial.state is state] for state in TrialState}
    trained = by[TrialState.COMPLETE] + by[TrialState.FAIL]
    silence = shared(study).silence(study._study_id)
    running = tuple(_running(trial, space, silence) for trial in by[TrialState.RUNNING])
    rate = _rate(trained)
    left = max(0, space.search.trials - len(trained))
    front = [
        {
            "trial": trial.number,
            "accuracy": trial.user_attrs["rungs"][-1]["accuracy"],
            "epochs": trial.user_attrs["rungs"][-1]["epochs"],
            **{key: trial.user_attrs[key] for key in ("params", "macs", "weight_bytes")},
        }
        for trial in finalist_trials(study, space)
    ]
    return Status(
        study=study.study_name,
        budget=space.search.trials,
        trained=len(trained),
        failed=len(by[TrialState.FAIL]),
        rejected=len(by[TrialState.PRUNED]),
        waiting=len(by[TrialState.WAITING]),
        running=running,
        workers=tuple(_workers(study, trials)),
        front=tuple(front),
        trainings_per_h=rate,
        rejected_share=len(by[TrialState.PRUNED]) / max(1, len(by[TrialState.PRUNED]) + len(trained) + len(running)),
        left_s=left / rate * 3600 if rate and left else 0.0 if not left else None,
    )


def _running(trial: FrozenTrial, space: Space, silence: dict[int, float]) -> Running:
    attrs, rungs = trial.user_attrs, space.search.rungs
    worker, epochs = Owner.parse(attrs.get(WORKER)), epochs_of(trial)
    rung = min(sum(epochs >= at for at in rungs), len(rungs) - 1)
    each = attrs.get("progress", {}).get("epoch_s")
    return Running(
        trial=trial.number,
        worker=worker.name if worker else "?",
        rung=rung,
        epochs=epochs,
        rung_epochs=rungs[rung],
        all_epochs=rungs[-1],
        rung_left_s=None if each is None else max(0.0, (rungs[rung] - epochs) * each),
        left_s=None if each is None else max(0.0, (rungs[-1] - epochs) * each),
        silent_s=silence.get(trial._trial_id),
        params=attrs.get("params", 0),
        macs=attrs.get("macs", 0),
        deaths=len(attrs.get("deaths", [])),
    )


def _rate(trained: list[FrozenTrial]) -> float | None:
    """Trainings an hour."""
    ends = sorted(trial.datetime_complete.timestamp() for trial in trained if trial.datetime_complete)
    starts = [trial.datetime_start.timestamp() for trial in trained if trial.datetime_start]
    if not ends:
        return None
    begin = max(min(starts), ends[-1] - RATE_WINDOW_S)
    span = ends[-1] - begin
    return sum(end >= begin for end in ends) / span * 3600 if span > 0 else None


def _workers(study: optuna.Study, trials: list[FrozenTrial]) -> list[dict[str, Any]]:
    """Who works or worked on the study, and how many trainings each ended."""
    ended: dict[str, int] = {}
    busy: dict[str, int] = {}
    for trial in trials:
        text = trial.user_attrs.get(WORKER)
        if text and trial.state in (TrialState.COMPLETE, TrialState.FAIL):
            ended[text] = ended.get(text, 0) + 1
        elif text and trial.state is TrialState.RUNNING:
            busy[text] = trial.number
    listed = []
    for key, note in study.user_attrs.items():
        if not key.startswith(REGISTERED) or (owner := Owner.parse(note["worker"])) is None:
            continue
        if note["until"] is not None:
            state = "ended" if note["why"] == "done" else f"ended: {note['why']}"
        elif owner.gone:
            state = "killed"
        else:
            state = f"trial {busy[owner.text]}" if owner.text in busy else "waiting"
        end = note["until"] or time.time()
        listed.append(
            {
                "worker": owner.name,
                "state": state,
                "since": note["since"],
                "up_s": round(end - note["since"], 1),
                "trainings": ended.get(owner.text, 0),
                "active": note["until"] is None and not owner.gone,
            }
        )
    return sorted(listed, key=lambda one: (not one["active"], one["since"]))


def show(run: RunFolder, url: str | None, once: bool) -> None:
    """Print the state, or keep it on the screen until Ctrl-C or the end of the search."""
    study, space = join(run, url), reopened_space(run)
    if once or not results.is_terminal:
        results.print(as_table(status_of(study, space)))
        return
    with Live(console=results, auto_refresh=False) as live:
        while True:
            status = status_of(study, space)
            live.update(as_table(status), refresh=True)
            if status.trained >= status.budget:
                return
            time.sleep(EVERY_S)


def as_table(status: Status) -> Group:
    """The state for a terminal."""
    rate = f"{status.trainings_per_h:,.1f} trainings an hour" if status.trainings_per_h else "no training has ended yet"
    head = Table(title=f"study {status.study}", show_header=False)
    head.add_row(
        "trained", f"{status.trained} of {status.budget}" + (f", {status.failed} failed" if status.failed else "")
    )
    head.add_row("rate", f"{rate}, {_span(status.left_s)} left")
    head.add_row("refused by price", f"{status.rejected} ({status.rejected_share:.0%} of all candidates)")
    if status.waiting:
        head.add_row("waiting", str(status.waiting))
    workers = Table("worker", "is at", "up", "trainings", title="workers")
    for one in [*(w for w in status.workers if w["active"]), *[w for w in status.workers if not w["active"]][-5:]]:
        workers.add_row(one["worker"], one["state"], _span(one["up_s"]), str(one["trainings"]))
    running = Table("trial", "worker", "rung", "epochs", "to rung", "to end", "silent", "M MACs/s", title="running")
    for trial in status.running:
        running.add_row(
            str(trial.trial),
            trial.worker,
            str(trial.rung),
            f"{trial.epochs} of {trial.rung_epochs} ({trial.all_epochs})",
            _span(trial.rung_left_s),
            _span(trial.left_s),
            _span(trial.silent_s),
            f"{trial.macs / 1e6:.2f}",
        )
    front = Table("trial", "validation %", "epochs", "M MACs/s", "bytes", title="front so far")
    for one in status.front:
        accuracy, macs = f"{100 * one['accuracy']:.1f}", f"{one['macs'] / 1e6:.2f}"
        front.add_row(str(one["trial"]), accuracy, str(one["epochs"]), macs, f"{one['weight_bytes']:,}")
    return Group(head, *(table for table in (workers, running, front) if table.row_count))


def _span(seconds: float | None) -> str:
    """Seconds for people."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h" if whole >= 3600 else f"{whole // 60}:{whole % 60:02d} min"
