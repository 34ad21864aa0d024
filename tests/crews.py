"""What the tests of workers share: worker processes on simulated studies, and what must hold at the end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState
from support import ENVIRONMENT

from asc_search.bench.simulated_trials import Simulation, accuracy, fill, write_note
from asc_search.nets.network import price
from asc_search.space.candidate import Candidate
from asc_search.study.owner import Owner
from asc_search.study.storage import WORKER


class Crew:
    """Worker processes on one simulated study."""

    def __init__(self, url: str, simulation: Simulation, count: int) -> None:
        self.note = Path(simulation.folder) / "note.json"
        write_note(self.note, url, simulation)
        self.log = (Path(simulation.folder) / "crew.log").open("ab")
        self.processes = [self.start() for _ in range(count)]

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "asc_search.bench.simulated_trials", str(self.note)]
        return subprocess.Popen(command, env=ENVIRONMENT, stdout=self.log, stderr=self.log)

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
            found[:] = [
                at for at, process in enumerate(self.processes) if process.pid in pids and process.poll() is None
            ]
            return found

        until(any_found, 240)
        return found

    def kill(self, at: int) -> None:
        """Kill process ``at`` and start another in its place."""
        self.processes[at].kill()
        self.processes[at].wait()
        self.processes[at] = self.start()

    def wait(self, seconds: float) -> list[int]:
        end = time.monotonic() + seconds
        return [process.wait(max(1.0, end - time.monotonic())) for process in self.processes]

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.log.close()

    def said(self) -> str:
        return Path(self.log.name).read_text()


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
        assert ended.read_text().count("\n") == 1, f"trial {trial.number} was trained to its end twice"
    front = {
        number
        for number, (mine, macs) in enumerate(expected)
        if not any(a >= mine and m <= macs and (a, m) != (mine, macs) for a, m in expected)
    }
    assert {trial.number for trial in study.best_trials} == front
