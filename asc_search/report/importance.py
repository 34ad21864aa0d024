"""Which parameters decide the accuracy: PED-ANOVA over the candidates trained, conditional parameters included."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, create_trial

LEAST_TRAINED = 8
TOP = 5  # trials that the best are at least, as the evaluator's documentation asks


def importances(trained: Sequence[FrozenTrial]) -> dict[str, float]:
    """Share of each parameter, largest first, in being among the best at the first rung, which all have reached.

    PED-ANOVA for conditional spaces (Watanabe et al., IJCAI 2023; conditional: 2026), as Optuna has it. Empty below
    ``LEAST_TRAINED`` trials or where nothing varies.
    """
    if len(trained) < LEAST_TRAINED:
        return {}
    # Imported where it is needed: with its other evaluators comes scikit-learn, which takes seconds.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    study = optuna.create_study()
    study.add_trials(
        create_trial(
            value=-trial.user_attrs["rungs"][0]["accuracy"], params=trial.params, distributions=trial.distributions
        )
        for trial in trained
    )
    quantile = min(0.5, max(0.1, TOP / len(trained)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=quantile))
    return {name: value for name, value in found.items() if value > 0}
