"""A new study begun with the good candidates of an earlier run, whose budget, labels or space may have been others.

What the earlier run measured is not taken over: its candidates are tried first, as known designs are, and priced and judged
anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from asc_search.errors import RunFolderError
from asc_search.nets.spec import Scalar
from asc_search.oracle.budget import assess
from asc_search.oracle.to_budget import fitted
from asc_search.progress import console
from asc_search.space.domains import equal
from asc_search.space.draw import DECIDE, FixedSuggest, drawn_values
from asc_search.space.presets import Preferring, expressed
from asc_search.space.space import Space
from asc_search.study.create import open_storage, sqlite_url, study_name
from asc_search.study.finished import reopened_space
from asc_search.study.front import by_rung
from asc_search.study.pareto import fronts
from asc_search.study.run_folder import RunFolder
from asc_search.study.search import rank

CANDIDATES = 12  # taken over at most
FRONTS = 2  # of the highest rung: the front and those right behind it


@dataclass(frozen=True)
class Wanted:
    """A good candidate of an earlier run: its trial there and the values of all its parameters."""

    trial: int
    values: Mapping[str, Any]


def begin_with(study: optuna.Study, space: Space, classes: int, earlier: RunFolder) -> None:
    """Enqueue the good candidates of ``earlier`` that ``space`` can express within its budget; the rest are named with the
    reason. Done once for a study.

    Raises:
        RunFolderError: the earlier run's study cannot be found.
    """
    name = str(earlier.root.resolve())
    if study.user_attrs.get("warm_start") == name:
        return
    taken = 0
    candidates = good_candidates(earlier)
    for wanted in candidates:
        params, reason = taken_over(space, wanted.values, classes)
        if params is None:
            _say(f"--warm-start: trial {wanted.trial} is left out: {reason}")
        else:
            study.enqueue_trial(params, user_attrs={"design": f"trial {wanted.trial} of {name}"}, skip_if_exists=True)
            taken += 1
    study.set_user_attr("warm_start", name)
    _say(f"--warm-start: {taken} of {len(candidates)} good candidates of {earlier.root} are tried first")


def good_candidates(run: RunFolder) -> list[Wanted]:
    """The candidates of a run's highest rungs that are on or right behind the front, best first, at most ``CANDIDATES``."""
    if not run.database.exists():
        raise RunFolderError(f"--warm-start {run.root}: no study.db in it; the run was kept in another database")
    space = reopened_space(run)
    storage = open_storage(sqlite_url(run.database))
    study = optuna.load_study(study_name=study_name(run, shared=False), storage=storage)
    chosen: list[FrozenTrial] = []
    for trials, points in by_rung(study, space):
        near = {index for front in fronts(points)[:FRONTS] for index in front}
        chosen += [trials[index] for index in rank(space, points) if index in near]
    return [Wanted(one.number, drawn_values(space, FixedSuggest(one.params))) for one in chosen[:CANDIDATES]]


def taken_over(space: Space, wanted: Mapping[str, Any], classes: int) -> tuple[dict[str, Scalar] | None, str]:
    """The drawn parameters with which ``space`` has the candidate with the values ``wanted``, or None and the reason.

    What decides the network and its price must be as it was; how it is trained is taken as near as the space has it.
    """
    flat = {name: value for name, value in wanted.items() if value is not None and not isinstance(value, tuple)}
    for name, members in wanted.items():
        if isinstance(members, tuple):
            flat |= {f"{name}[{member}]": 1 for member in members}
    suggest = Preferring(flat)
    values = drawn_values(space, suggest)
    domains = {parameter.name: parameter.range for parameter in space.parameters}
    for name in dict.fromkeys([*wanted, *values]):
        if not name.startswith(DECIDE):
            continue
        was, now = wanted.get(name), values.get(name)
        if not (was is None and now is None) and not equal(was, now):
            there = f"this space has {domains[name]}" if name in domains else "this space does not have that"
            return None, f"{name} was {'not there' if was is None else was}, {there}"
    params = {name: value for name, value in suggest.params.items() if name in flat or name.partition("[")[0] in wanted}
    verdict = assess(fitted(expressed(space, params, classes)[0], space.budget), space.budget).verdict
    return (params, "") if verdict.fits else (None, verdict.reason)


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
