"""Which parameters decide the accuracy: PED-ANOVA over the candidates trained, conditional parameters included."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, create_trial

from asc_search.report.page import Plot, Section, missing, paragraph
from asc_search.report.theme import BLUE, axis_title, base_figure
from asc_search.report.view import View

LEAST_TRAINED = 8
TOP = 5  # trials that the best are at least, as the evaluator's documentation asks
MOST_SHOWN = 15


def importances(trained: Sequence[FrozenTrial]) -> dict[str, float]:
    """Share of each parameter, largest first, in being among the best at the first rung, which all have reached.

    PED-ANOVA for conditional spaces (Watanabe et al., IJCAI 2023; conditional: 2026), as Optuna has it. Empty below
    ``LEAST_TRAINED`` trials or where nothing varies.
    """
    if len(trained) < LEAST_TRAINED:
        return {}
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


def importance_section(view: View) -> Section:
    """The section of a run."""
    title, trained = "What decides the accuracy", view.trained
    found = importances(trained)
    if not found:
        why = f"No figure yet: {len(trained)} candidates are trained, importances need {LEAST_TRAINED}."
        return Section("importance", title, (missing(why),))
    shown = list(found.items())[:MOST_SHOWN][::-1]
    fig = base_figure(60 + 24 * len(shown), xaxis_title=axis_title("importance (%)"), bargap=0.35)
    fig.add_bar(
        x=[100 * value for _, value in shown], y=[short(name) for name, _ in shown], orientation="h", marker={"color": BLUE},
        hovertext=[name for name, _ in shown], hovertemplate="%{hovertext}: %{x:.1f} %<extra></extra>",
    )  # fmt: skip
    fig.update_yaxes(showgrid=False, ticksuffix=" ")
    lead = paragraph(
        f"Share of each parameter in being among the best at the first rung, by PED-ANOVA over the {len(trained):,} candidates "
        f"trained (conditional parameters included). "
        + ("With so few candidates it is a hint, not a finding." if len(trained) < 50 else "")
    )
    caption = f"The first {len(shown)} of {len(found)} parameters." if len(found) > len(shown) else ""
    return Section("importance", title, (lead, Plot("importance-plot", fig, "Importance of the parameters", caption)))


def short(name: str) -> str:
    """A parameter's path without what is clear: ``network.stages.0.family`` as ``stage 1 family``."""
    words = name.removeprefix("network.").split(".")
    if words[0] == "stages":
        return f"stage {int(words[1]) + 1} {' '.join(words[2:])}"
    return " ".join(words[-1:] if words[0] in ("training", "frontend", "distillation") else words)
