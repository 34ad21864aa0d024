"""Teachers: each runs once over the training windows, and its logits are kept; trials only read them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asc_search.audio.filterbank_jitter import jitter_centre
from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.kaldi_mel import RATE_HZ, TaggerFrontEnd
from asc_search.audio.standardise import standardising
from asc_search.data.clips import Clips
from asc_search.data.tau import join_segments
from asc_search.distill.alignment import around
from asc_search.distill.head import cross_fitted_logits, fit_head
from asc_search.distill.tuned import tune
from asc_search.errors import WeightsError
from asc_search.files import read_json, write_atomically, write_json
from asc_search.nets.tagger import load_tagger
from asc_search.space.candidate import Candidate, Training
from asc_search.space.space import NetworkTeacher, TaggerTeacher
from asc_search.train.candidate import Material, train_candidate
from asc_search.train.features import frontend_windows
from asc_search.train.fit import TrainState, device
from asc_search.train.metrics import Metrics, evaluate
from asc_search.train.mixtures import Mixtures
from asc_search.train.predict import score_clips, window_logits, window_outputs
from asc_search.train.responses import ALL_GENERATED, Responses
from asc_search.train.targets import Lesson
from asc_search.train.windows import Windows, save_array, transformed_windows, window_counts

VERSION = 2  # raise when a teacher of the same declaration would give other logits


@dataclass(frozen=True)
class Taught:
    """What a teacher said of the training windows, its metrics on the validation clips, and, of one as which students may
    begin, its checkpoint.
    """

    lesson: Lesson
    validation: Metrics
    checkpoint: Path | None = None


def teach(
    folder: Path,
    teacher: NetworkTeacher | TaggerTeacher,
    training: Clips,
    validation: Clips,
    frontend: FrontEnd,
    recipe: Training,
    seed: int,
    after_epoch: Callable[[TrainState], None],
    responses: Responses = ALL_GENERATED,
    mixtures: Mixtures | None = None,
) -> Taught:
    """Train (or load and fit) ``teacher`` on ``training``, run it once over its windows and ``mixtures`` of them, keep what
    it says in ``folder``.

    Done before with the same declaration, clips, mixtures and seed: read back. The lesson is about the students' windows;
    that of a network with longer ones is what it says to its own window around each, and of a mixture what it says to
    both, in their shares.

    Raises:
        WeightsError: a tagger's weights file is missing or not what it should be.
    """
    rest = [*([responses] if recipe.response_p else []), *([] if mixtures is None else [mixtures.digest])]
    name = _key(teacher, training, validation, frontend, recipe, seed, *rest)
    paths = [folder / "logits" / f"{name}.{what}.npy" for what in ("logits", "embedding")]
    note_path = folder / "logits" / f"{name}.json"
    note = read_json(note_path)
    tuned = isinstance(teacher, TaggerTeacher) and teacher.epochs > 0
    checkpoint = folder / "teachers" / name / "checkpoint.safetensors" if tuned else None
    if checkpoint is not None and not checkpoint.exists():
        note = None
    if note is None or [path.stat().st_size if path.exists() else 0 for path in paths] != note["bytes"]:
        if checkpoint is not None:
            material = Material(folder, training, {}, responses, mixtures)
            one, state = tune(material, checkpoint, teacher, frontend.seconds, recipe, seed, after_epoch)
            lesson, metrics = _heard(state, one.frontend, training, validation, folder, mixtures)
        elif isinstance(teacher, TaggerTeacher):
            lesson, metrics = _tagger(folder, teacher, training, validation, frontend.seconds, mixtures)
        else:
            material = Material(folder, training, {}, responses, mixtures)
            lesson, metrics = _network(material, name, teacher, validation, frontend, recipe, seed, after_epoch)
        for path, values in zip(paths, (lesson.logits, lesson.embedding), strict=True):
            write_atomically(path, lambda aside, values=values: save_array(aside, np.asarray(values, np.float16)))
        sizes = [path.stat().st_size for path in paths]
        note = {"teacher": teacher.name, "bytes": sizes, "validation": metrics.to_json()}
        write_json(note_path, note)
    return Taught(Lesson(*(np.load(path) for path in paths)), Metrics.from_json(note["validation"]), checkpoint)


def _heard(
    state: TrainState,
    frontend: FrontEnd,
    training: Clips,
    validation: Clips,
    folder: Path,
    mixtures: Mixtures | None,
) -> tuple[Lesson, Metrics]:
    """What a trained network says of the windows that students hear, and its metrics."""
    seen, held_out = (
        frontend_windows(folder, training, frontend, mixtures),
        frontend_windows(folder, validation, frontend),
    )
    lesson = Lesson(*window_outputs(state.network, state.standardise, seen.values, device()))
    whole = standardising(state.standardise, state.network)
    return lesson, _measure(window_logits(whole, held_out.values, device()), held_out)


def check_weights(pool: Iterable[NetworkTeacher | TaggerTeacher]) -> None:
    """Look for the weights of all pretrained teachers before any work is done.

    Raises:
        WeightsError: lists the files that are not there.
    """
    missing = [
        f"{one.name}: {one.weights}" for one in pool if isinstance(one, TaggerTeacher) and not one.weights.is_file()
    ]
    if missing:
        raise WeightsError("no weights file for teacher " + "; ".join(missing))


def _key(teacher: NetworkTeacher | TaggerTeacher, training: Clips, validation: Clips, *rest: object) -> str:
    """Names a teacher's files by everything its logits depend on."""
    weights = ""
    if isinstance(teacher, TaggerTeacher):  # what the file holds counts, not where it lies
        check_weights([teacher])
        weights = _content(teacher.weights)
        teacher = replace(teacher, weights=Path(teacher.written))
    declared = json.dumps([repr(teacher), [repr(part) for part in rest], weights, VERSION])
    content = f"{declared}\0{training.digest()}\0{validation.digest()}"
    return f"{teacher.name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def _content(file: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _measure(logits: np.ndarray, windows: Windows) -> Metrics:
    """Clip-level metrics of window logits (windows, classes)."""
    clips = windows.clips
    return evaluate(score_clips(logits, windows), clips.label_array(), clips.classes, clips.devices)


def _network(
    material: Material,
    name: str,
    teacher: NetworkTeacher,
    validation: Clips,
    frontend: FrontEnd,
    recipe: Training,
    seed: int,
    after_epoch: Callable[[TrainState], None],
) -> tuple[Lesson, Metrics]:
    """A larger network of our own, trained with cross-entropy in the run.

    One that hears longer windows takes as many fewer of them from a clip, and where its training clips are segments it is
    measured on those of the validation part, too. Where the recipe jitters mel filters, its upper edge comes down as far
    as the jitter needs.
    """
    folder, training = material.folder, material.training
    own = jitter_centre(teacher.frontend_on(frontend), recipe.jitter_fmax_hz)
    longer = own.seconds / frontend.seconds
    recipe = replace(recipe, lr=teacher.lr, crops_per_clip=max(1, round(recipe.crops_per_clip / longer)))
    if longer > 1 and any(training.more):
        validation = join_segments(validation)
    candidate = Candidate(own, teacher.network(own.shape, len(training.classes)), training=recipe)
    state = train_candidate(
        candidate,
        material,
        folder / "teachers" / name / "checkpoint.safetensors",
        seed=seed,
        epochs=teacher.epochs,
        after_epoch=after_epoch,
    )
    seen = frontend_windows(folder, training, own, None if longer > 1 else material.mixtures)
    held_out = frontend_windows(folder, validation, own)
    whole = standardising(state.standardise, state.network)
    lesson = Lesson(*window_outputs(state.network, state.standardise, seen.values, device()))
    if longer > 1:
        counts = window_counts(training, frontend.seconds)
        rows = around(counts, frontend.seconds, np.bincount(seen.clip_of), own.seconds)
        lesson = Lesson(*(_with_mixed(values[rows], material.mixtures) for values in (lesson.logits, lesson.embedding)))
    return lesson, _measure(window_logits(whole, held_out.values, device()), held_out)


def _with_mixed(values: np.ndarray, mixtures: Mixtures | None) -> np.ndarray:
    """``values`` (windows, width), followed by those of ``mixtures`` as if they were linear."""
    if mixtures is None:
        return values
    share = mixtures.share[:, None]
    return np.concatenate([values, share * values[mixtures.first] + (1 - share) * values[mixtures.second]])


def _tagger(
    folder: Path,
    teacher: TaggerTeacher,
    training: Clips,
    validation: Clips,
    seconds: float,
    mixtures: Mixtures | None,
) -> tuple[Lesson, Metrics]:
    """The AudioSet tagger with a linear head fitted on its frozen embeddings of the same windows."""
    tagger, front = load_tagger(teacher.weights), TaggerFrontEnd().to(device())
    tagger.network.to(device())
    key = {"transform": "tagger", "weights": _content(teacher.weights)}
    seen, held_out = (
        transformed_windows(
            folder / "features",
            clips,
            RATE_HZ,
            seconds,
            lambda samples: tagger.embed(front(samples.to(device()))),
            key,
            f"{teacher.name}: embeddings",
            mixtures=added,
        )
        for clips, added in ((training, mixtures), (validation, None))
    )
    classes = len(training.classes)
    embedding = seen.values[np.arange(len(seen))]
    labels = training.label_array()[seen.clip_of]
    head = fit_head(embedding[seen.audible], labels[seen.audible], classes, teacher.decay)
    lesson = Lesson(cross_fitted_logits(seen, classes, teacher.decay), embedding)
    return lesson, _measure(head(np.asarray(held_out.values)), held_out)
