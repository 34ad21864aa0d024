"""The front: which trials of a search are worth retraining, by validation results alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import optuna
from optuna.trial import FrozenTrial, TrialState

from asc_search.space.space import Space
from asc_search.study.pareto import Point, fronts
from asc_search.study.pool import as_point
from asc_search.study.records import TrialPoint
from asc_search.study.search import rank


def trial_points(trials: Iterable[FrozenTrial]) -> list[TrialPoint]:
    """Every ended one of ``trials``, rejected ones too."""
    points = []
    for trial in trials:
        if not trial.state.is_finished() or "digest" not in trial.user_attrs:
            continue
        attrs, rungs = trial.user_attrs, trial.user_attrs.get("rungs", [])
        points.append(
            TrialPoint(
                number=trial.number,
                state=attrs["status"],
                params=attrs["params"],
                macs=attrs["macs"],
                weight_bytes=attrs["weight_bytes"],
                accuracy=rungs[-1]["accuracy"] if rungs else None,
                epochs=rungs[-1]["epochs"] if rungs else 0,
                reason=attrs.get("reason", ""),
            )
        )
    return points


def by_rung(study: optuna.Study, space: Space) -> Iterator[tuple[list[FrozenTrial], list[Point]]]:
    """The trained trials that ended at each rung and their points, the highest rung first; of equal candidates one."""
    ended: dict[int, list[FrozenTrial]] = {}
    seen: set[str] = set()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if trial.user_attrs["digest"] not in seen:
            seen.add(trial.user_attrs["digest"])
            ended.setdefault(len(trial.user_attrs["rungs"]), []).append(trial)
    for rung in sorted(ended, reverse=True):
        trials = ended[rung]
        yield trials, [as_point(space, one.user_attrs["rungs"][-1]["accuracy"], one.user_attrs) for one in trials]


def finalist_trials(study: optuna.Study, space: Space) -> list[FrozenTrial]:
    """The trials to retrain, best first: the non-dominated ones of the highest rung, at most ``retrain.finalists``.

    Where these are fewer than the wanted number (or than 3), the next fronts of that rung and then of lower rungs follow:
    accuracies of different rungs are never compared. Of equal candidates one is kept.
    """
    ordered: list[FrozenTrial] = []
    least = min(3, space.retrain.finalists)
    for trials, points in by_rung(study, space):
        order = rank(space, points)
        wanted = max(least, len(fronts(points)[0])) if not ordered else least
        ordered += [trials[i] for i in order[: max(0, wanted - len(ordered))]]
    return ordered[: space.retrain.finalists]
