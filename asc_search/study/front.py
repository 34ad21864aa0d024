"""The front: which trials of a search are worth retraining, by validation results alone."""

from __future__ import annotations

from collections.abc import Iterable

import optuna
from optuna.trial import FrozenTrial, TrialState

from asc_search.space.space import Space
from asc_search.study.pareto import fronts
from asc_search.study.records import TrialPoint
from asc_search.study.search import as_point, rank


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


def finalist_trials(study: optuna.Study, space: Space) -> list[FrozenTrial]:
    """The trials to retrain, best first: the non-dominated ones of the highest rung, at most ``retrain.finalists``.

    Where these are fewer than the wanted number (or than 3), the next fronts of that rung and then of lower rungs follow:
    accuracies of different rungs are never compared. Of equal candidates one is kept.
    """
    by_rung: dict[int, list[FrozenTrial]] = {}
    seen: set[str] = set()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if trial.user_attrs["digest"] not in seen:
            seen.add(trial.user_attrs["digest"])
            by_rung.setdefault(len(trial.user_attrs["rungs"]), []).append(trial)
    ordered: list[FrozenTrial] = []
    least = min(3, space.retrain.finalists)
    for rung in sorted(by_rung, reverse=True):
        trials = by_rung[rung]
        points = [as_point(space, trial.user_attrs["rungs"][-1]["accuracy"], trial.user_attrs) for trial in trials]
        order = rank(space, points)
        wanted = max(least, len(fronts(points)[0])) if not ordered else least
        ordered += [trials[i] for i in order[: max(0, wanted - len(ordered))]]
    return ordered[: space.retrain.finalists]
