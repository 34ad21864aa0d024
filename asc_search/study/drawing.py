"""Drawing a candidate by a study's sampler and pricing it, before the study knows of it.

Optuna's own ``Trial`` writes and reads the database for every parameter; here a trial is stored once, whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from asc_search.nets.cost import Cost
from asc_search.oracle.budget import Assessment, assess, macs_per_second
from asc_search.oracle.to_budget import fitted
from asc_search.space.candidate import Candidate
from asc_search.space.draw import draw
from asc_search.space.space import Space


class SamplerSuggest:
    """Values by the study's sampler, as Optuna's ``Trial`` asks it; ``fixed`` ones are taken as they are.

    ``trials`` are those of the study, where they have just been read.
    """

    def __init__(
        self, study: optuna.Study, fixed: Mapping[str, Any], trials: Sequence[FrozenTrial] | None = None
    ) -> None:
        self._study, self._fixed = study, fixed
        self.params: dict[str, Any] = {}
        self.distributions: dict[str, BaseDistribution] = {}
        self._relative: tuple[dict[str, BaseDistribution], dict[str, Any]] | None = None
        # As Optuna does at the start of every trial: what it has cached of the study is valid within one.
        trials = study.get_trials(deepcopy=False) if trials is None else trials
        study._thread_local.cached_all_trials = list(trials)
        self._trial = create_trial(state=TrialState.RUNNING)
        self._trial.number = len(trials)
        study.sampler.before_trial(study, self._trial)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._suggest(name, CategoricalDistribution(choices))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return self._suggest(name, IntDistribution(low, high, log=log, step=step))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return self._suggest(name, FloatDistribution(low, high, log=log, step=step))

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self.params:
            self.params[name] = self._sample(name, distribution)
            self.distributions[name] = distribution
            self._trial.distributions[name], self._trial.params[name] = distribution, self.params[name]
        return self.params[name]

    def _sample(self, name: str, distribution: BaseDistribution) -> Any:
        if name in self._fixed:
            return self._fixed[name]
        if distribution.single():
            return distribution.choices[0] if isinstance(distribution, CategoricalDistribution) else distribution.low
        study, sampler = self._study, self._study.sampler
        if self._relative is None:
            space = sampler.infer_relative_search_space(study, self._trial)
            self._relative = space, sampler.sample_relative(study, self._trial, space)
        found = self._relative[1]
        if name in found and distribution._contains(distribution.to_internal_repr(found[name])):
            return found[name]
        return sampler.sample_independent(study, self._trial, name, distribution)


@dataclass(frozen=True)
class Drawn:
    """A candidate, its price, and what was drawn for it."""

    candidate: Candidate
    assessment: Assessment
    params: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]

    @property
    def cost(self) -> dict[str, int]:
        """``params``, ``macs`` per second of audio and ``weight_bytes``."""
        return describe_cost(self.assessment, self.candidate)

    def trial(self, state: TrialState, values: Sequence[float] | None = None, **attrs: Any) -> FrozenTrial:
        """The trial to store; ``attrs`` besides what is known of the candidate."""
        known = {**self.cost, "candidate": self.candidate.to_json(), "digest": self.candidate.digest()}
        return create_trial(
            state=state,
            values=values,
            params=dict(self.params),
            distributions=dict(self.distributions),
            user_attrs={**known, **attrs},
            constraints=dict(self.assessment.verdict.constraints),
        )


def draw_candidate(
    study: optuna.Study,
    space: Space,
    classes: int,
    fixed: Mapping[str, Any] | None = None,
    trials: Sequence[FrozenTrial] | None = None,
) -> Drawn:
    """One point of ``space`` by the study's sampler, priced; parameters in ``fixed`` (a known design's) are given.

    ``trials`` are all those of the study, where the caller has just read them.
    """
    suggest = SamplerSuggest(study, fixed or {}, trials)
    candidate = fitted(draw(space, suggest, classes), space.budget)
    return Drawn(candidate, assess(candidate, space.budget), suggest.params, suggest.distributions)


def describe_cost(assessment: Assessment, candidate: Candidate) -> dict[str, int]:
    """``params``, ``macs`` per second of audio and ``weight_bytes`` of a candidate; zeros where it cannot exist."""
    cost = assessment.cost or Cost()
    return {
        "params": cost.params,
        "macs": macs_per_second(cost.macs, candidate.frontend.seconds),
        "weight_bytes": cost.weight_bytes(candidate.weight_type),
    }
