"""Trainings that only take time: the very code of a worker around a stand-in that is right to the last digit.

`python -m asc_search.bench.simulated_trials NOTE.json` is a worker on such a study, for tests that kill it.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from asc_search.data.clips import Clips
from asc_search.files import read_json, write_json
from asc_search.oracle.budget import assess
from asc_search.scale.worker import work_on
from asc_search.space.candidate import Candidate
from asc_search.space.columns import draw_columns, recorded
from asc_search.space.domains import Choice, Constant, FloatRange
from asc_search.space.draw import FixedSuggest, draw, parameters
from asc_search.space.load import loads
from asc_search.space.space import Space
from asc_search.study.create import open_storage, open_study
from asc_search.study.drawing import Drawn
from asc_search.study.lease import shared
from asc_search.study.objective import Result
from asc_search.study.run_folder import RunFolder
from asc_search.study.tasks import GoesOn, Setting
from asc_search.train.candidate import Material

CLASSES = tuple("abcdefghij")
NO_CLIPS = Clips(Path(), CLASSES, (), (), (), (), ())
SPACE = """
frontend: {hop: {choice: [500, 1000]}, mels: 128}
network:
  stem: {choice: [cp, sscp]}
  stem_stride: {choice: ["2x2", "2x1"]}
  base: {int: [16, 48], step: 8}
  multiplier: {float: [1.0, 2.0]}
  stages:
    - &stage
      family: {choice: [cp, sscp, mn, bc_res]}
      depth: {int: [1, 3]}
      stride: {choice: ["1x2", "2x1", "2x2"]}
      expansion: {float: [1.5, 4]}
      attachment: {choice: [none, se, eca]}
    - *stage
    - *stage
pruning: {ratio: {choice: [0, 0.5]}}
training: {lr: {float: [0.001, 0.01], log: true}}
search: {trials: 60, rungs: [1], startup: 10, enqueue: []}
"""


@dataclass(frozen=True)
class Simulation:
    """A study of simulated trainings: its name, ``folder`` for checkpoints, and how long an epoch takes."""

    study: str
    folder: str
    trials: int
    epoch_s: float
    rungs: tuple[int, ...] = (1,)
    grace_s: int = 600
    most_deaths: int = 2

    @property
    def space(self) -> Space:
        """The space, with this budget of trainings."""
        space = loads(SPACE, "simulated")
        return replace(space, search=replace(space.search, trials=self.trials, rungs=self.rungs))

    def open(self, url: str) -> optuna.Study:
        """The study, created if it is new."""
        return open_study(open_storage(url, self.grace_s), self.study, self.space, len(CLASSES))

    @property
    def setting(self) -> Setting:
        """What its trials share."""
        folder = Path(self.folder)
        material = Material(folder, NO_CLIPS, {})
        return Setting(self.space, RunFolder(folder), material, NO_CLIPS, self.train, self.most_deaths)

    def train(
        self, candidate: Candidate, folder: Path, seed: int, goes_on: GoesOn, on_epoch: Callable[[int], None]
    ) -> list[Result]:
        """Wait ``epoch_s`` an epoch, keeping the count of epochs in ``folder`` as a training keeps its checkpoint."""
        del seed
        results: list[Result] = []
        digest = candidate.digest()
        for rung, epochs in enumerate(self.rungs):
            done = (read_json(folder / "epochs.json") or {"epochs": 0})["epochs"]
            for epoch in range(done, epochs):
                time.sleep(self.epoch_s)
                write_json(folder / "epochs.json", {"epochs": epoch + 1})
                if epoch + 1 == self.rungs[-1]:
                    with (folder / "ended.log").open("a", encoding="utf-8") as log:
                        log.write("trained to its end\n")
                on_epoch(epoch + 1)
            results.append(Result(epochs, accuracy(digest, epochs), 1.0))
            if rung + 1 < len(self.rungs) and not goes_on(rung, results[-1]):
                break
        return results


def accuracy(digest: str, epochs: int) -> float:
    """What the stand-in for a training reaches: it depends on the candidate and its epochs alone."""
    share = int.from_bytes(hashlib.sha256(digest.encode()).digest()[:4], "big") / 2**32
    return round(0.9 * share * epochs / (epochs + 1), 6)


def fill(study: optuna.Study, space: Space, rows: int, seed: int = 0, fits_only: bool = False) -> list[Candidate]:
    """Store ``rows`` random candidates as a search would have left them: refused, or trained; with ``fits_only`` only such as
    fit, waiting to be trained. The candidates in order.
    """
    rng = np.random.default_rng(seed)
    stored: list[Candidate] = []
    seen: set[str] = set()
    while len(stored) < rows:
        columns = draw_columns(space, rng, 4 * rows)
        for index in range(4 * rows):
            drawn = _drawn(space, recorded(space, columns, index))
            fits, digest = drawn.assessment.verdict.fits, drawn.candidate.digest()
            if len(stored) == rows or (fits_only and not fits) or digest in seen:
                continue
            seen.add(digest)
            stored.append(drawn.candidate)
            if fits_only:
                trial = drawn.trial(TrialState.WAITING)
            elif fits:
                value, last = accuracy(digest, 1), space.search.rungs[0]
                rungs = [Result(last, value, 1.0).to_json()]
                trial = drawn.trial(TrialState.COMPLETE, [value, drawn.cost["macs"]], status="finished", rungs=rungs)
            else:
                trial = drawn.trial(TrialState.PRUNED, status="rejected", reason=drawn.assessment.verdict.reason)
            shared(study).add(study._study_id, trial)
    return stored


def _drawn(space: Space, params: dict) -> Drawn:
    candidate = draw(space, FixedSuggest(params), len(CLASSES))
    distributions = {p.name: _distribution(p.domain) for p in parameters(space)}
    known = {name: distributions[name] for name in params}
    return Drawn(candidate, assess(candidate, space.budget), params, known)


def _distribution(domain: object) -> CategoricalDistribution | FloatDistribution | IntDistribution:
    """The distribution Optuna would have drawn from."""
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.values)
    if isinstance(domain, FloatRange):
        return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
    assert not isinstance(domain, Constant)
    return IntDistribution(domain.low, domain.high, log=domain.log, step=domain.step)  # type: ignore[attr-defined]


def spend(url: str, simulation: Simulation) -> None:
    """Be a worker of ``simulation``."""
    work_on(simulation.open(url), simulation.setting)


def write_note(path: Path, url: str, simulation: Simulation) -> None:
    """What ``main`` reads."""
    write_json(path, {"url": url, "simulation": asdict(simulation)})


def main(note: str) -> None:
    known = json.loads(Path(note).read_text(encoding="utf-8"))
    given = known["simulation"]
    spend(known["url"], Simulation(**{**given, "rungs": tuple(given["rungs"])}))


if __name__ == "__main__":
    main(sys.argv[1])
