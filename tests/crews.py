"""What the tests of workers share: worker processes on simulated studies, and what must hold at the end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from asc_search.bench.simulated_trials import Simulation, accuracy, fill, main, write_note
from asc_search.nets.network import price
from asc_search.space.candidate import Candidate
from asc_search.study.owner import Owner
from asc_search.study.storage import WORKER

CONTEXT = multiprocessing.get_context(
    "forkserver"
)  # a worker that is killed is soon replaced: nothing is imported anew
CONTEXT.set_forkserver_preload(["asc_search.bench.simulated_trials"])


def _member(note: str, log: str) -> None:
    """In a process of its own: a worker whose output goes to ``log``."""
    with open(log, "ab", buffering=0) as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    main(note)


class Crew:
    """Worker processes on one simulated study."""

    def __init__(self, url: str, simulation: Simulation, count: int) -> None:
        Path(simulation.folder).mkdir(parents=True, exist_ok=True)
        self.note = Path(simulation.folder) / "note.json"
        write_note(self.note, url, simulation)
        self.log = Path(simulation.folder) / "crew.log"
        self.processes = [self.start() for _ in range(count)]

    def start(self) -> Any:
        process = CONTEXT.Process(target=_member, args=(str(self.note), str(self.log)))
        process.start()
        return process

    def has(self, trial: FrozenTrial) -> bool:
        """Whether a worker of this crew trains ``trial``."""
        owner = Owner.parse(trial.user_attrs.get(WORKER))
        pids = [process.pid for process in self.processes]
        return trial.state is TrialState.RUNNING and owner is not None and owner.pid in pids

    def busy(self, study: optuna.Study) -> list[int]:
        """Which processes train a trial now; waits for the first."""
        found: list[int] = []

        def any_found() -> list[int]:
            held = [trial.user_attrs.get(WORKER) for trial in study.get_trials(states=(TrialState.RUNNING,))]
            pids = {owner.pid for text in held if (owner := Owner.parse(text)) is not None}
            found[:] = [at for at, process in enumerate(self.processes) if process.pid in pids and process.is_alive()]
            return found

        until(any_found, 240)
        return found

    def kill(self, at: int) -> None:
        """Kill process ``at`` and start another in its place."""
        self.processes[at].kill()
        self.processes[at].join()
        self.processes[at] = self.start()

    def send(self, at: int, how: signal.Signals) -> None:
        """Send process ``at`` a signal."""
        os.kill(self.processes[at].pid, how)

    def alive(self) -> int:
        return sum(process.is_alive() for process in self.processes)

    def wait(self, seconds: float) -> list[int | None]:
        """Exit statuses; None for one that does not end within ``seconds``."""
        end = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(1.0, end - time.monotonic()))
        return [process.exitcode for process in self.processes]

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes:
            process.kill()
            process.join()

    def said(self) -> str:
        return self.log.read_text()


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def prepared(url: str, simulation: Simulation) -> tuple[optuna.Study, list[Candidate]]:
    """The study with all its candidates waiting, and these."""
    study = simulation.open(url)
    return study, fill(study, simulation.space, simulation.trials, fits_only=True)


def check_whole(study: optuna.Study, simulation: Simulation, candidates: list[Candidate]) -> None:
    """Every trial ended once, none was lost, none was trained twice to its end; values and front are those of a study that
    nothing happened to, computed here from the candidates alone.
    """
    trials = study.get_trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * len(candidates)
    assert [trial.user_attrs["digest"] for trial in trials] == [candidate.digest() for candidate in candidates]
    expected = [
        [accuracy(candidate.digest(), simulation.rungs[-1]), float(price(candidate.deployed).macs)]
        for candidate in candidates
    ]
    assert [trial.values for trial in trials] == expected
    for trial in trials:
        ended = Path(simulation.folder) / "trials" / f"{trial.number:05d}-{trial.user_attrs['digest']}" / "ended.log"
        lines = ended.read_text().count("\n") if ended.exists() else 0  # none: killed before it could be written
        assert lines <= 1, f"trial {trial.number} was trained to its end twice"
    front = {
        number
        for number, (mine, macs) in enumerate(expected)
        if not any(a >= mine and m <= macs and (a, m) != (mine, macs) for a, m in expected)
    }
    assert {trial.number for trial in study.best_trials} == front
