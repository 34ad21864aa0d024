"""Whether a trial goes on from a rung, against all others of its study that reached it."""

from __future__ import annotations

import optuna
from optuna.trial import TrialState

from asc_search.space.space import Space
from asc_search.study.lease import SupersededError
from asc_search.study.pool import as_point
from asc_search.study.rungs import TELLS, goes_on
from asc_search.study.sampler import PricedSampler


def promotes(study: optuna.Study, space: Space, number: int, rung: int) -> bool:
    """Whether trial ``number`` goes on: always from a rung that tells little of the last one, as the sampler has learnt.

    Raises:
        SupersededError: it is another worker's now.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING))
    measured = [one for one in trials if one.user_attrs.get("rungs")]
    there = {one.number: one for one in measured if len(one.user_attrs["rungs"]) > rung}
    if number not in there:
        raise SupersededError
    sampler = study.sampler
    if isinstance(sampler, PricedSampler) and sampler.tells(measured, rung) < TELLS:
        return True
    points = {
        one: as_point(space, trial.user_attrs["rungs"][rung]["accuracy"], trial.user_attrs)
        for one, trial in there.items()
    }
    mine = points.pop(number)
    return goes_on(mine, list(points.values()), space.search.reduction)
