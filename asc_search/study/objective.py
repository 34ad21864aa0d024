"""Training one candidate of the search: epochs rung by rung, measured on the validation split, stopped or promoted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from asc_search.compress.calibration import post_training
from asc_search.compress.prune import prune_to
from asc_search.compress.weights import as_stored
from asc_search.data.clips import Clips
from asc_search.errors import AscSearchError
from asc_search.files import read_json, write_json
from asc_search.space.candidate import Candidate
from asc_search.train.candidate import Material, leave_gradients, train_candidate
from asc_search.train.features import frontend_windows
from asc_search.train.fit import TrainState, device
from asc_search.train.metrics import Metrics, evaluate
from asc_search.train.model_file import Model
from asc_search.train.predict import predict_clips

METRICS = "metrics-{}.json"  # all metrics at a rung, for those who look; the search itself reads the Result alone


@dataclass(frozen=True)
class Result:
    """What a candidate reached at a rung: epochs had, macro accuracy and log loss on the validation split."""

    epochs: int
    accuracy: float
    log_loss: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Result:
        return Result(**data)


def pruning_hook(candidate: Candidate, horizon: int, material: Material | None = None) -> Callable[[TrainState], None]:
    """A ``before_epoch`` hook for ``fit`` that takes the steps of the candidate's pruning, over ``horizon`` epochs.

    What was taken already is read from the state's spec; steps that fall on one epoch are one. Importance by gradients
    needs ``material``, of which it hears the training part.
    """
    pruning, stages = candidate.pruning, candidate.stages
    after = pruning.step_epochs(len(stages), horizon)

    def prune(state: TrainState) -> None:
        due = sum(at <= state.epoch for at in after)
        if due == 0 or state.spec == stages[due - 1]:
            return
        if pruning.importance == "taylor":
            if material is None:
                raise AscSearchError("pruning.importance taylor needs training clips; please report this")
            leave_gradients(candidate, material, state, horizon)
        state.network = prune_to(state.network, state.spec, stages[due - 1], pruning.importance)
        state.spec = stages[due - 1]

    return prune


def network_as_stored(model: Model) -> nn.Module:
    """What gives logits of windows as the front end makes them, with the weights of ``model`` as its file holds them."""
    return replace(model, network=as_stored(model.network, model.candidate.weight_type)).whole.to(device())


def measure(model: Model, folder: Path, clips: Clips, seen_devices: Collection[str]) -> Metrics:
    """Metrics of ``model`` as stored (its weight type) on ``clips``; features are kept under ``folder``."""
    windows = frontend_windows(folder, clips, model.candidate.frontend)
    probabilities = predict_clips(network_as_stored(model), windows, device())
    return evaluate(probabilities, clips.label_array(), clips.classes, clips.devices, seen_devices)


def train_trial(
    candidate: Candidate,
    material: Material,
    validation: Clips,
    folder: Path,
    rungs: Sequence[int],
    seed: int,
    goes_on: Callable[[int, Result], bool],
    on_epoch: Callable[[int], None],
) -> list[Result]:
    """Results at the rungs the candidate reached; the last is its own. Resumes from ``folder``, epoch by epoch.

    ``goes_on(rung, result)`` decides promotion. With pruning, all its steps are taken within the first rung, which already
    measures the pruned network. One whose weights are int8 is quantised at the last rung, float before: accuracies are
    compared within a rung.

    Raises:
        DivergedError: the training diverged.
    """
    prune = pruning_hook(candidate, rungs[0], material)
    results: list[Result] = []
    for rung, epochs in enumerate(rungs):
        note = folder / f"rung-{rung}.json"
        if (known := read_json(note)) is not None:
            results.append(Result.from_json(known))
        else:
            state = train_candidate(
                candidate,
                material,
                folder / "checkpoint.safetensors",
                seed=seed,
                epochs=rungs[-1],
                until=epochs,
                before_epoch=prune,
                after_epoch=lambda state: on_epoch(state.epoch),
            )
            prune(state)  # a first rung of one epoch is pruned right after it
            model = Model(candidate, material.training.classes, state.network, state.standardise)
            if candidate.weight_type == "int8" and rung + 1 == len(rungs):
                model = post_training(model, material)
            metrics = measure(model, material.folder, validation, ())
            results.append(Result(epochs, metrics.accuracy, metrics.log_loss))
            write_json(folder / METRICS.format(rung), metrics.to_json())
            write_json(note, results[-1].to_json())
        if rung + 1 < len(rungs) and not goes_on(rung, results[-1]):
            break
    return results
