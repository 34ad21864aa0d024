"""The search: draw, price, reject or train, tell; one trial after the other, resumable at any epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from asc_search.data.clips import Clips
from asc_search.errors import AscSearchError, DivergedError, InfeasibleSpaceError, NetworkError
from asc_search.nets.cost import Cost
from asc_search.oracle.budget import Assessment, assess, macs_per_second
from asc_search.oracle.feasibility import estimate
from asc_search.oracle.to_budget import fitted
from asc_search.progress import Stage, console
from asc_search.space.candidate import Candidate
from asc_search.space.draw import draw
from asc_search.space.space import Space
from asc_search.study.create import make_sampler, trained_count
from asc_search.study.objective import Result, train_trial
from asc_search.study.pareto import Point, ranking
from asc_search.study.pool import relative_costs
from asc_search.study.run_folder import RunFolder
from asc_search.study.rungs import goes_on
from asc_search.study.seeds import derived_seed
from asc_search.train.candidate import Material

MAX_FAILURES = 5  # diverged trainings in a row after which something else than bad luck is at work


@dataclass(frozen=True)
class Setting:
    """What every trial of a search shares."""

    space: Space
    run: RunFolder
    material: Material
    validation: Clips


def objective_values(space: Space, accuracy: float, cost: Mapping[str, int]) -> list[float]:
    """Values in the order of the space's objectives; ``cost`` has ``macs`` (per second), ``params``, ``weight_bytes``."""
    return [accuracy if name == "accuracy" else float(cost[name]) for name in space.objectives]


COST_REFERENCE = 1.5  # times the limit: what a network at the limit itself is still worth


def as_point(space: Space, accuracy: float, cost: Mapping[str, int]) -> Point:
    """The objectives minimised, error first, costs scaled to their limits: what ranking compares."""
    return (1 - accuracy, *relative_costs(space, cost))


def reference_point(space: Space) -> Point:
    """The corner hypervolumes of points from ``as_point`` are measured from."""
    return (1.0,) + (COST_REFERENCE,) * (len(space.objectives) - 1)


def rank(space: Space, points: Sequence[Point]) -> list[int]:
    """Indices of ``points`` (from ``as_point``) from best to worst."""
    return ranking(points, reference_point(space))


def search(study: optuna.Study, setting: Setting) -> None:
    """Train candidates until the space's budget of trainings is spent; rejected ones cost nothing and do not count.

    Raises:
        InfeasibleSpaceError: too many rejections in a row; the message says how much of the space fits and what costs most.
    """
    space = setting.space
    total, done = space.search.trials, trained_count(study)
    with Stage("search", total, done) as stage:
        for trial_id in _unfinished(study):
            study.sampler = make_sampler(space, study)
            _train(study, optuna.trial.Trial(study, trial_id), setting, stage)
        while (done := trained_count(study)) < total:
            _check_progress(study, setting)
            study.sampler = make_sampler(space, study)
            trial = study.ask()
            _train(study, trial, setting, stage)
    rejected = len(study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)))
    console.print(f"search: {trained_count(study)} candidates trained, {rejected} refused by their price alone")


def _check_progress(study: optuna.Study, setting: Setting) -> None:
    """Stop a search that gets nowhere: too many trials in a row, up to the last, were rejected or failed."""
    ended = [trial.state for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    rejected = _run_length(ended, TrialState.PRUNED)
    if rejected >= setting.space.search.max_rejections:
        raise InfeasibleSpaceError(_advice(setting, rejected))
    failed = _run_length([state for state in ended if state is not TrialState.PRUNED], TrialState.FAIL)
    if failed >= MAX_FAILURES:
        raise AscSearchError(f"{failed} trainings in a row failed (see above); most often a lower training.lr helps")


def _run_length(states: Sequence[TrialState], state: TrialState) -> int:
    """How many of ``states`` at the end are ``state``."""
    return next((count for count, one in enumerate(reversed(states)) if one is not state), len(states))


def _unfinished(study: optuna.Study) -> list[int]:
    """Storage ids of trials a stopped process left behind; the run folder's lock says that nobody else trains them."""
    return [trial._trial_id for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]


def _train(study: optuna.Study, trial: optuna.trial.Trial, setting: Setting, stage: Stage) -> None:
    """Draw, price, and reject or train one trial; tell the study.

    Over the budget it is told PRUNED with its constraints; trained to its end, or stopped at a rung, COMPLETE with the
    accuracy it reached there; diverged, FAIL with the reason.
    """
    space = setting.space
    candidate = fitted(draw(space, trial, len(setting.material.training.classes)), space.budget)
    assessment = assess(candidate, setting.space.budget)
    cost = describe_cost(assessment, candidate)
    for name, value in assessment.verdict.constraints.items():
        if name not in trial.constraints:  # a resumed trial may have it already, and the first value stays
            trial.set_constraint(name, value)
    if "digest" not in trial.user_attrs:
        for name, value in {**cost, "candidate": candidate.to_json(), "digest": candidate.digest()}.items():
            trial.set_user_attr(name, value)  # the digest last: with it, all are there
    if not assessment.verdict.fits:
        trial.set_user_attr("status", "rejected")
        trial.set_user_attr("reason", assessment.verdict.reason)
        study.tell(trial, state=TrialState.PRUNED)
        return
    twin = _finished_twin(study, candidate)
    if twin is not None:
        trial.set_user_attr("status", twin.user_attrs["status"])
        trial.set_user_attr("reason", f"the same candidate as trial {twin.number}")
        trial.set_user_attr("rungs", twin.user_attrs["rungs"])
        study.tell(trial, twin.values)
        stage.end(f"trial {trial.number}: the same candidate as trial {twin.number}, not trained again")
        return
    rungs = space.search.rungs
    stage.begin(f"trial {trial.number}", rungs[-1])
    try:
        results = train_trial(
            candidate,
            setting.material,
            setting.validation,
            setting.run.trial(trial.number, candidate.digest()),
            rungs,
            derived_seed(space.search.seed, trial.number),
            _promotion(study, trial.number, setting, cost),
            stage.epoch,
        )
    except (DivergedError, NetworkError) as error:
        trial.set_user_attr("status", "failed")
        trial.set_user_attr("reason", str(error))
        study.tell(trial, state=TrialState.FAIL)
        stage.end(f"trial {trial.number}: failed, {error}")
        return
    last = results[-1]
    status = "finished" if len(results) == len(rungs) else "stopped"
    trial.set_user_attr("rungs", [result.to_json() for result in results])
    trial.set_user_attr("status", status)
    study.tell(trial, objective_values(space, last.accuracy, cost))
    stage.end(
        f"trial {trial.number}: {100 * last.accuracy:.1f} % after {last.epochs} of {rungs[-1]} epochs"
        f"{'' if status == 'finished' else ' (stopped)'}, {cost['macs'] / 1e6:.2f} M MACs/s, {cost['weight_bytes']:,} bytes"
    )


def describe_cost(assessment: Assessment, candidate: Candidate) -> dict[str, int]:
    """``params``, ``macs`` per second of audio and ``weight_bytes`` of a candidate; zeros where it cannot exist."""
    cost = assessment.cost or Cost()
    return {
        "params": cost.params,
        "macs": macs_per_second(cost.macs, candidate.frontend.seconds),
        "weight_bytes": cost.weight_bytes(candidate.weight_type),
    }


def _finished_twin(study: optuna.Study, candidate: Candidate) -> FrozenTrial | None:
    """A finished trial of the very same candidate."""
    digest = candidate.digest()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if trial.user_attrs.get("digest") == digest:
            return trial
    return None


def _promotion(
    study: optuna.Study, number: int, setting: Setting, cost: Mapping[str, int]
) -> Callable[[int, Result], bool]:
    """Whether trial ``number`` goes on from a rung, against all others that reached it."""
    space = setting.space

    def decide(rung: int, result: Result) -> bool:
        others = []
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            reached = trial.user_attrs.get("rungs", [])
            if trial.number != number and len(reached) > rung:
                others.append(as_point(space, reached[rung]["accuracy"], trial.user_attrs))
        return goes_on(as_point(space, result.accuracy, cost), others, space.search.reduction)

    return decide


def _advice(setting: Setting, rejections: int) -> str:
    """Why nothing fits: the share of the space that does and the parameter that costs most."""
    found = estimate(setting.space, len(setting.material.training.classes))
    return f"{rejections} candidates in a row are over the budget.\n{found.advice()}"
