"""Teachers that are networks of ours: trained in the run, trained on for a pair of classes, or trained before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asc_search.audio.filterbank_jitter import jitter_centre
from asc_search.audio.frontend_spec import FrontEnd
from asc_search.data.clips import Clips
from asc_search.data.tau import join_segments
from asc_search.distill.alignment import around
from asc_search.errors import WeightsError
from asc_search.space.candidate import Candidate, Training
from asc_search.space.teachers import ModelTeacher, NetworkTeacher
from asc_search.train.candidate import Material, Origin, train_candidate
from asc_search.train.features import frontend_windows
from asc_search.train.fit import TrainState, device
from asc_search.train.metrics import Metrics, evaluate
from asc_search.train.mixtures import Mixtures
from asc_search.train.model_file import Model, load_model
from asc_search.train.predict import score_clips, window_logits, window_outputs
from asc_search.train.targets import Lesson
from asc_search.train.windows import Windows, window_counts

LEAST_PROBABILITY = 1e-6  # of a class in what is kept of a clip


@dataclass(frozen=True)
class Hearing:
    """What the students of a run hear: clips to learn from and to select on, front end, and what is kept where."""

    material: Material
    validation: Clips
    frontend: FrontEnd
    recipe: Training


def train_network(
    heard: Hearing,
    teacher: NetworkTeacher,
    checkpoint: Path,
    seed: int,
    after_epoch: Callable[[TrainState], None],
    origin: Origin | None = None,
) -> tuple[Lesson, Metrics]:
    """A larger network, trained with cross-entropy from its initialisation or ``origin``; what it says of all windows.

    One that hears longer windows takes as many fewer of them from a clip, and where its training clips are segments it is
    measured on those of the validation part, too. Where the recipe jitters mel filters, its upper edge comes down as far
    as the jitter needs.
    """
    recipe, training = heard.recipe, heard.material.training
    own = jitter_centre(teacher.frontend_on(heard.frontend), recipe.jitter_fmax_hz)
    longer = own.seconds / heard.frontend.seconds
    recipe = replace(recipe, lr=teacher.lr, crops_per_clip=max(1, round(recipe.crops_per_clip / longer)))
    candidate = Candidate(own, teacher.network(own.shape, len(training.classes)), training=recipe)
    state = train_candidate(
        candidate,
        heard.material,
        checkpoint,
        seed=seed,
        epochs=teacher.epochs,
        after_epoch=after_epoch,
        origin=origin,
    )
    return speak(Model(candidate, training.classes, state.network, state.standardise), heard)


def open_network(heard: Hearing, teacher: ModelTeacher) -> tuple[Lesson, Metrics]:
    """A network trained before; what it says of all windows.

    Raises:
        WeightsError: the file is no model of ours, was trained for other classes, or hears shorter windows.
    """
    model = load_model(teacher.weights)
    classes = heard.material.training.classes
    if model.classes != classes:
        raise WeightsError(
            f"teacher {teacher.name}: {teacher.weights} knows {len(model.classes)} classes "
            f"({', '.join(model.classes[:3])}, ...), the data have {len(classes)} ({', '.join(classes[:3])}, ...)"
        )
    if model.candidate.frontend.seconds < heard.frontend.seconds:
        raise WeightsError(
            f"teacher {teacher.name}: it hears windows shorter than the students' {heard.frontend.seconds:g} s"
        )
    return speak(replace(model, network=model.network.to(device())), heard)


def speak(model: Model, heard: Hearing) -> tuple[Lesson, Metrics]:
    """What ``model`` says of the students' training windows and the mixtures of them, and how well it does on validation.

    Of a model with longer windows it is what it says to its own window around each of theirs, and of a mixture what it
    says to both, in their shares.
    """
    folder, training, mixtures = heard.material.folder, heard.material.training, heard.material.mixtures
    own = model.candidate.frontend
    longer = own.seconds > heard.frontend.seconds
    validation = join_segments(heard.validation) if longer and any(training.more) else heard.validation
    seen = frontend_windows(folder, training, own, None if longer else mixtures)
    held_out = frontend_windows(folder, validation, own)
    whole = model.whole.to(device())
    logits, embedding = window_outputs(model.network, model.standardise, seen.values, device())
    if model.candidate.groups:
        logits = window_logits(whole, seen.values, device())
    if longer:
        counts = window_counts(training, heard.frontend.seconds)
        rows = around(counts, heard.frontend.seconds, np.bincount(seen.clip_of), own.seconds)
        logits, embedding = (with_mixed(values[rows], mixtures) for values in (logits, embedding))
    said, metrics = measured(window_logits(whole, held_out.values, device()), held_out)
    if len(validation) != len(heard.validation):
        said = None  # it spoke of whole segments
    return Lesson(logits, embedding, said), metrics


def with_mixed(values: np.ndarray, mixtures: Mixtures | None) -> np.ndarray:
    """``values`` (windows, width), followed by those of ``mixtures`` as if they were linear."""
    if mixtures is None:
        return values
    share = mixtures.share[:, None]
    return np.concatenate([values, share * values[mixtures.first] + (1 - share) * values[mixtures.second]])


def measured(logits: np.ndarray, windows: Windows) -> tuple[np.ndarray, Metrics]:
    """From window logits (windows, classes) the logarithm of clip probabilities (clips, classes), and their metrics."""
    clips = windows.clips
    probabilities = score_clips(logits, windows)
    metrics = evaluate(probabilities, clips.label_array(), clips.classes, clips.devices)
    return np.log(np.maximum(probabilities, LEAST_PROBABILITY)), metrics


def most_confused(metrics: Metrics, pair: int) -> tuple[int, int]:
    """The ``pair``-th (1, 2, ...) of the class pairs i < j by C + C^T of a confusion matrix C, the earlier of equals.

    Seoul 2019, section 2.

    Raises:
        WeightsError: there are not as many pairs.
    """
    counts = np.array(metrics.confusion)
    first, second = np.triu_indices(len(counts), 1)
    both = (counts + counts.T)[first, second]
    if pair > len(both):
        raise WeightsError(f"there is no {pair}-th pair of {len(counts)} classes")
    at = np.argsort(-both, kind="stable")[pair - 1]
    return int(first[at]), int(second[at])
