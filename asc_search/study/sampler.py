"""The sampler of a search: it knows every price before a training, so only the accuracy has to be learnt.

A draw is the best of a pool of candidates that are all within the budget: random points and variations of the best ones so
far, by the hypervolume that each is expected to add to the front (``improvement``) as a model of the accuracy at the last
rung (``surrogate``) has it. Nothing is learnt from rejected draws, as none is made.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from asc_search.processes import cpu_threads
from asc_search.space.columns import draw_columns, known_columns, recorded
from asc_search.space.encoding import encoded, groups_of
from asc_search.space.space import Space
from asc_search.study.improvement import best_within, budgets, expected_improvement
from asc_search.study.pool import (
    ERA,
    Points,
    Pool,
    Pricer,
    log_costs,
    pool_for,
    relative_costs,
    rows_of,
    variations,
)
from asc_search.study.seeds import derived_seed
from asc_search.study.surrogate import Observations, Shape, Surrogate, likeliest_shape

RANDOM = 512  # of the pool's points, looked at for a draw
VARIED, PARENTS = 128, 12  # variations looked at, and of how many of the best trials
PRICE_CLASSES = 4  # equal shares of the random points, by the first cost
EXACT = 4  # variations that promise most by a rough price, and are priced
MOST_SEEN = 256  # measurements the model is given
COST_TOP = 1.25  # budgets reach so far over the limit: more accuracy counts there at any cost
SHAPED_AT = (1, 8, 12, 18, 27, 40, 60, 90, 128)  # numbers of measurements at which the covariance is fitted anew


@dataclass(frozen=True)
class History:
    """What was measured so far: trials that were trained, and ``pending`` ones under way elsewhere; ``encode`` gives the
    points of some of them as the model sees them, (n, d).
    """

    trials: Sequence[FrozenTrial]
    pending: Sequence[FrozenTrial]
    encode: Callable[[Sequence[FrozenTrial]], np.ndarray]


class PricedSampler(BaseSampler):
    """Proposes for each trial the point of the space that promises most; random ones until ``startup`` were trained.

    A trial's proposal depends on the seed, its number and the trials that ended before it alone, but is another one where
    others are under way. ``key`` says which space it is and how priced: pools of priced points are kept by it.
    """

    def __init__(self, space: Space, key: str, price: Pricer, seed: int, startup: int) -> None:
        self._space, self._key, self._price, self._seed, self._startup = space, key, price, seed, startup
        self._proposed: Mapping[str, Any] | None = None  # for the trial that is being drawn
        self._points: dict[int, np.ndarray] = {}  # of trials by number, (d,): what a trial was given stays

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Forget what was proposed before, under the same number too: a known design may have been drawn for under it."""
        self._proposed = None

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if self._proposed is None:
            with cpu_threads(1):  # its matrices are small: more only wait for each other
                self._proposed = self._propose(study, trial.number)
        if param_name in self._proposed:
            value = param_distribution.to_internal_repr(self._proposed[param_name])
            if param_distribution._contains(value):
                return self._proposed[param_name]
        # The trial was given other values than proposed (a known design), and so has other parameters.
        random = RandomSampler(seed=derived_seed(self._seed, trial.number, param_name))
        return random.sample_independent(study, trial, param_name, param_distribution)

    def _propose(self, study: optuna.Study, number: int) -> Mapping[str, Any]:
        pool = pool_for(self._space, self._key, self._price, derived_seed(self._seed, "pool", number // ERA))
        if pool.points is None:
            return {}
        history = History(*history_of(study, number), self._encode)
        apart = (secrets.randbits(64),) if history.pending else ()  # other than what other workers draw now
        rng = np.random.default_rng(derived_seed(self._seed, "draw", number, *apart))
        if len(history.trials) < self._startup:
            return recorded(self._space, pool.points.columns, _untried(pool.points, history, rng))
        return propose(self._space, self._price, pool, history, rng, number)

    def tells(self, trials: Sequence[FrozenTrial], rung: int) -> float:
        """How far what is measured at ``rung`` correlates with the last one's, as the model has it of ``trials``, which all
        reached a rung.
        """
        with cpu_threads(1):
            prices = log_costs(_costs(self._space, trials))
            seen = _observed(trials, self._encode(trials), prices, groups_of(self._space))
            return _shape(seen).correlation(rung, len(self._space.search.rungs) - 1)

    def _encode(self, trials: Sequence[FrozenTrial]) -> np.ndarray:
        fresh = [one for one in trials if one.number not in self._points]
        if fresh:
            records = [one.params for one in fresh]
            columns = draw_columns(
                self._space, np.random.default_rng(0), len(fresh), known_columns(self._space, records)
            )
            self._points |= zip((one.number for one in fresh), encoded(self._space, columns), strict=True)
        return np.stack([self._points[one.number] for one in trials])


def history_of(study: optuna.Study, number: int) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
    """The trials that count for the draw of trial ``number``: those that were trained, those under way elsewhere."""
    trials = study._get_trials(deepcopy=False, use_cache=True)  # as Optuna's samplers do: read once for a draw
    done = [one for one in trials if one.state is TrialState.COMPLETE and one.user_attrs.get("rungs")]
    pending = [one for one in trials if one.state is TrialState.RUNNING and one.number != number]
    return done, [one for one in pending if "digest" in one.user_attrs]


@dataclass(frozen=True)
class Learnt:
    """The model, what it was given, and the front it measures improvements against."""

    surrogate: Surrogate
    top: int
    limits: np.ndarray
    best: np.ndarray
    features: np.ndarray
    trials: Sequence[FrozenTrial]
    final: np.ndarray
    costs: np.ndarray

    def gain(self, features: np.ndarray, costs: np.ndarray) -> np.ndarray:
        """What candidates (n,) are expected to add to the front; -1 for those that were tried."""
        mean, std = self.surrogate.predict(features, log_costs(costs), self.top)
        gain = expected_improvement(mean, std, costs, self.limits, self.best)
        return np.where(_known(features, self.features), -1.0, gain)


def _costs(space: Space, trials: Sequence[FrozenTrial]) -> np.ndarray:
    return np.array([relative_costs(space, one.user_attrs) for one in trials])


def _observed(
    trials: Sequence[FrozenTrial], features: np.ndarray, prices: np.ndarray, groups: np.ndarray
) -> Observations:
    """What ``trials``, of ``features`` (n, d) and ``prices`` (n, k), measured at their rungs: log errors."""
    rungs = [one.user_attrs["rungs"] for one in trials]
    row = np.repeat(np.arange(len(trials)), [len(one) for one in rungs])
    rung = np.concatenate([np.arange(len(one)) for one in rungs])
    errors = np.array([max(1 - reached["accuracy"], 1e-3) for one in rungs for reached in one])
    return Observations(features[row], prices[row], rung, row, np.log(errors), groups)


def learn(space: Space, history: History) -> Learnt:
    """A model of the accuracy from ``history``, which is not empty."""
    trials = _chosen(history.trials)
    everyone = [*trials, *history.pending]
    features, costs = history.encode(everyone), _costs(space, everyone)
    prices, top = log_costs(costs), len(space.search.rungs) - 1
    measured = _observed(trials, features, prices, groups_of(space))
    seen = _tamed(measured)
    surrogate = Surrogate(seen, _shape(measured).for_rungs(top + 1))
    if history.pending:  # as if they had come out as expected, so that the next draw looks elsewhere
        waiting = np.arange(len(trials), len(everyone))
        expected, _ = surrogate.predict(features[waiting], prices[waiting], 0)
        both = Observations(
            *(
                np.concatenate([old, new])
                for old, new in (
                    (seen.features, features[waiting]),
                    (seen.prices, prices[waiting]),
                    (seen.rung, np.zeros(len(waiting), int)),
                    (seen.trial, waiting),
                    (seen.values, expected),
                )
            ),
            seen.groups,
        )
        surrogate = Surrogate(both, surrogate.shape)
    final, _ = surrogate.predict(features, prices, top, np.arange(len(everyone)))
    finished = np.array([len(one.user_attrs.get("rungs", ())) == top + 1 for one in everyone])
    limits = budgets(costs.shape[1], COST_TOP)
    worst = float(np.exp(np.quantile(seen.values, 0.95)))
    if not finished.any():
        finished = np.array([len(one.user_attrs.get("rungs", ())) == seen.rung.max() + 1 for one in everyone])
    best = best_within(np.exp(final[finished]), costs[finished], limits, worst)
    return Learnt(surrogate, top, limits, best, features, everyone, final, costs)


def propose(
    space: Space, price: Pricer, pool: Pool, history: History, rng: np.random.Generator, number: int
) -> Mapping[str, Any]:
    """What to try next."""
    learnt = learn(space, history)
    points = pool.points
    some = rng.permutation(len(points.costs))[:RANDOM]
    gain = learnt.gain(points.features[some], points.costs[some])
    low, high = _price_class(points.costs, number)
    gain = np.where(_within(points.costs[some], low, high), gain, -2.0)
    at = int(np.argmax(gain))
    best, columns, row = float(gain[at]), points.columns, int(some[at])
    parents = [learnt.trials[parent].params for parent in _parents(learnt)]
    varied, features = variations(space, parents, rng, VARIED)
    rough = pool.rough_costs(features)
    gain = np.where(_within(rough, low, high), learnt.gain(features, rough), -2.0)
    promising = np.argsort(-gain, kind="stable")[:EXACT]
    chosen = rows_of(varied, promising)
    priced = price(chosen)
    allowed = priced.fits & _within(priced.costs, low, high)
    gain = np.where(allowed, learnt.gain(features[promising], priced.costs), -2.0)
    at = int(np.argmax(gain))
    if gain[at] > best:
        columns, row = chosen, at
    return recorded(space, columns, row)


def _untried(points: Points, history: History, rng: np.random.Generator) -> int:
    """A random one of ``points``, if possible not one of ``history``: spaces may be small."""
    row, tried = int(rng.integers(len(points.costs))), [*history.trials, *history.pending]
    if not tried:
        return row
    features = history.encode(tried)
    if _known(points.features[row : row + 1], features)[0]:
        fresh = np.flatnonzero(~_known(points.features, features))
        row = int(rng.choice(fresh)) if len(fresh) else row
    return row


def _price_class(costs: np.ndarray, number: int) -> tuple[float, float]:
    """The first cost between which trial ``number`` is looked for: each class of prices in turn, then any.

    The model's doubt about the cheapest would else draw all trials there: a gain at a low price counts for every budget.
    """
    turn = number % (PRICE_CLASSES + 1)
    if costs.shape[1] == 0 or turn == PRICE_CLASSES:
        return 0.0, np.inf
    low, high = np.quantile(costs[:, 0], (turn / PRICE_CLASSES, (turn + 1) / PRICE_CLASSES))
    return float(low), float(high)


def _within(costs: np.ndarray, low: float, high: float) -> np.ndarray:
    if costs.shape[1] == 0:
        return np.ones(len(costs), bool)
    return (costs[:, 0] >= low) & (costs[:, 0] <= high)


def _parents(learnt: Learnt) -> np.ndarray:
    """Trials, best first: by how many of the budgets each is the best of, then by error."""
    errors = np.exp(learnt.final)
    inside = (learnt.costs[None] <= learnt.limits[:, None]).all(axis=2)
    table = np.where(inside, errors, np.inf)
    order = np.argsort(table, axis=1, kind="stable")[:, :3]
    score = np.zeros(len(errors))
    for place, weight in zip(order.T, (1.0, 0.5, 0.25), strict=False):
        np.add.at(score, place, weight)
    return np.lexsort((errors, -score))[:PARENTS]


def _known(features: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which rows of ``features`` are among ``others``."""
    squared = (features**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * features @ others.T
    return (squared < 1e-9).any(axis=1)


def _chosen(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """At most so many trials that the model has ``MOST_SEEN`` measurements: the first, of which it learns its shape, those of
    the highest rung, and the latest."""
    rungs = np.array([len(one.user_attrs["rungs"]) for one in trials])
    if rungs.sum() <= MOST_SEEN:
        return list(trials)
    first = int((np.cumsum(rungs) <= SHAPED_AT[-1] + 8).sum())
    later = first + np.lexsort((-np.arange(first, len(trials)), -rungs[first:]))
    fitting = int((np.cumsum(rungs[later]) <= MOST_SEEN - rungs[:first].sum()).sum())
    return [trials[index] for index in sorted([*range(first), *later[:fitting]])]


def _tamed(seen: Observations) -> Observations:
    """Values far worse than their rung's median brought near it: a failure is no measure of how bad."""
    values = seen.values.copy()
    for rung in range(int(seen.rung.max()) + 1):
        at = seen.rung == rung
        if at.sum() < 4:
            continue
        low, middle = np.quantile(values[at], (0.1, 0.5))
        values[at] = np.minimum(values[at], middle + 2 * (middle - low) + 1e-6)
    return replace(seen, values=values)


def _shape(seen: Observations) -> Shape:
    """The covariance's shape from the first measurements, so many that it is fitted rarely and the same after a resume."""
    count = max(one for one in SHAPED_AT if one <= len(seen.values))
    parts = [part[:count] for part in (seen.features, seen.prices, seen.rung, seen.trial, seen.values)]
    return _fitted(tuple((part.tobytes(), part.dtype.str, part.shape) for part in (*parts, seen.groups)))


@lru_cache(maxsize=8)
def _fitted(packed: tuple) -> Shape:
    # Copies, as PyTorch wants arrays that may be written.
    parts = [np.frombuffer(raw, dtype).reshape(size).copy() for raw, dtype, size in packed]
    return likeliest_shape(_tamed(Observations(*parts)))
