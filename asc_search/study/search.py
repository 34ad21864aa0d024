"""The search: draw, price, reject or train, tell. Any number of workers do this with one study, each resumable at any epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import TrialState

from asc_search.errors import AscSearchError, DivergedError, NetworkError
from asc_search.progress import Stage, console
from asc_search.space.space import Space
from asc_search.study.create import make_sampler, trained_count
from asc_search.study.lease import Lease, SupersededError, close_or_free, holding
from asc_search.study.objective import Result, train_trial
from asc_search.study.owner import Owner
from asc_search.study.pareto import Point, ranking
from asc_search.study.promotion import promotes
from asc_search.study.seeds import derived_seed
from asc_search.study.tasks import MAX_FAILURES, Setting, Task, failing, next_task


def objective_values(space: Space, accuracy: float, cost: Mapping[str, int]) -> list[float]:
    """Values in the order of the space's objectives; ``cost`` has ``macs`` (per second), ``params``, ``weight_bytes``."""
    return [accuracy if name == "accuracy" else float(cost[name]) for name in space.objectives]


COST_REFERENCE = 1.5  # times the limit: what a network at the limit itself is still worth


def reference_point(space: Space) -> Point:
    """The corner hypervolumes of points from ``as_point`` are measured from."""
    return (1.0,) + (COST_REFERENCE,) * (len(space.objectives) - 1)


def rank(space: Space, points: Sequence[Point]) -> list[int]:
    """Indices of ``points`` (from ``as_point``) from best to worst."""
    return ranking(points, reference_point(space))


def search(study: optuna.Study, setting: Setting, owner: Owner | None = None) -> None:
    """Train candidates until the space's budget of trainings is spent; rejected ones cost nothing and do not count.

    The budget is that of all workers on the study together. Trials of workers that are gone are taken up first. Ends when
    all trainings have, those of other workers, too.

    Raises:
        InfeasibleSpaceError: too many rejections in a row; the message says how much of the space fits and what costs most.
        AscSearchError: too many failures in a row.
        StorageAwayError: the database was away for too long.
    """
    owner, failures = owner or Owner.here(), 0
    study.sampler = make_sampler(setting.space, study)
    with Stage("search", setting.space.search.trials, trained_count(study)) as stage:
        while (task := next_task(study, setting, owner, stage)) is not None:
            failures = 0 if _train(study, task, setting, owner, stage) else failures + 1
            if failures >= MAX_FAILURES:
                raise AscSearchError(failing(failures))
    rejected = len(study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)))
    console.print(f"search: {trained_count(study)} candidates trained, {rejected} refused by their price alone")


def _train(study: optuna.Study, task: Task, setting: Setting, owner: Owner, stage: Stage) -> bool:
    """Train one trial and tell the study; False if it failed.

    Trained to its end, or stopped at a rung, it is told COMPLETE with the accuracy it reached there; diverged, FAIL with the
    reason. Whatever else ends the training gives it back.
    """
    space, number = setting.space, task.number
    rungs = space.search.rungs
    stage.begin(f"trial {number}", rungs[-1])
    with holding(study, task.trial_id, owner) as lease:
        try:
            results = _results(study, task, setting, lease, stage)
            last = results[-1]
            status = "finished" if len(results) == len(rungs) else "stopped"
            values = objective_values(space, last.accuracy, task.attrs)  # type: ignore[arg-type]
            lease.tell(TrialState.COMPLETE, values, rungs=[one.to_json() for one in results], status=status)
        except SupersededError:
            stage.tell(f"trial {number}: another worker has it now; what was trained here is left out")
            return True
        except (DivergedError, NetworkError) as error:
            lease.tell(TrialState.FAIL, status="failed", reason=str(error))
            stage.end(f"trial {number}: failed, {error}")
            return False
        except (AscSearchError, OSError, KeyboardInterrupt, SystemExit):  # nothing that the candidate could help
            lease.give_back()
            raise
        except BaseException as error:
            (trial,) = (one for one in study.get_trials(deepcopy=False) if one._trial_id == task.trial_id)
            for line in close_or_free(study, trial, owner.text, f"{owner.name}, {_short(error)}", setting.most_deaths):
                stage.tell(line)
            raise
    stage.end(trial_line(number, task.attrs, last, status, rungs[-1]))
    return True


def _results(study: optuna.Study, task: Task, setting: Setting, lease: Lease, stage: Stage) -> list[Result]:
    """Results at the rungs the trial reached; each is told to the study at once, for the others to be compared with."""
    rungs, began = setting.space.search.rungs, time.monotonic()
    first: list[int] = []
    reached: list[Result] = []

    def at_rung(rung: int, result: Result) -> bool:
        reached.append(result)
        lease.tell(rungs=[one.to_json() for one in reached])
        return promotes(study, setting.space, task.number, rung)

    def on_epoch(done: int) -> None:
        first.append(done - 1)
        stage.epoch(done)
        lease.epoch(done, rungs[-1], began, first[0])

    folder = setting.run.trial(task.number, task.candidate.digest())
    seed = derived_seed(setting.space.search.seed, task.number)
    if setting.train is not None:
        return setting.train(task.candidate, folder, seed, at_rung, on_epoch)
    return train_trial(
        task.candidate, setting.material, setting.validation, folder, rungs, seed, at_rung, on_epoch
    )  # fmt: skip


def trial_line(number: int, cost: Mapping[str, Any], last: Result, status: str, epochs: int) -> str:
    """A trained trial in one line."""
    return (
        f"trial {number}: {100 * last.accuracy:.1f} % after {last.epochs} of {epochs} epochs"
        f"{'' if status == 'finished' else ' (stopped)'}, {cost['macs'] / 1e6:.2f} M MACs/s, {cost['weight_bytes']:,} bytes"
    )


def _short(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
