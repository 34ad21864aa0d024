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
from asc_search.errors import WeightsError
from asc_search.files import read_json, write_atomically, write_json
from asc_search.nets.plan import mobile
from asc_search.nets.tagger import load_tagger
from asc_search.space.candidate import Candidate, Training
from asc_search.space.space import NetworkTeacher, TaggerTeacher
from asc_search.train.candidate import Material, train_candidate
from asc_search.train.features import frontend_windows
from asc_search.train.fit import TrainState, device
from asc_search.train.metrics import Metrics, evaluate
from asc_search.train.predict import score_clips, window_logits
from asc_search.train.responses import ALL_GENERATED, Responses
from asc_search.train.windows import Windows, save_array, transformed_windows, window_counts

VERSION = 1  # raise when a teacher of the same declaration would give other logits


@dataclass(frozen=True)
class Taught:
    """A teacher's logits (training windows, classes) and its metrics on the validation clips."""

    logits: np.ndarray
    validation: Metrics


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
) -> Taught:
    """Train (or load and fit) ``teacher`` on ``training``, run it once over its windows, keep the logits in ``folder``.

    Done before with the same declaration, clips and seed: read back. The logits are of the students' windows; those of a
    network with longer ones are what it says to its own window around each.

    Raises:
        WeightsError: a tagger's weights file is missing or not what it should be.
    """
    name = _key(teacher, training, validation, frontend, recipe, seed, *([responses] if recipe.response_p else []))
    logits_path, note_path = folder / "logits" / f"{name}.npy", folder / "logits" / f"{name}.json"
    note = read_json(note_path)
    if note is None or not logits_path.exists() or logits_path.stat().st_size != note["bytes"]:
        if isinstance(teacher, TaggerTeacher):
            logits, metrics = _tagger(folder, teacher, training, validation, frontend.seconds)
        else:
            material = Material(folder, training, {}, responses)
            logits, metrics = _network(material, name, teacher, validation, frontend, recipe, seed, after_epoch)
        write_atomically(logits_path, lambda aside: save_array(aside, logits.astype(np.float16)))
        size = logits_path.stat().st_size
        note = {"teacher": teacher.name, "bytes": size, "validation": metrics.to_json()}
        write_json(note_path, note)
    return Taught(np.load(logits_path), Metrics.from_json(note["validation"]))


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
) -> tuple[np.ndarray, Metrics]:
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
    spec = mobile(
        teacher.family,
        own.shape,
        len(training.classes),
        teacher.base,
        teacher.multiplier,
        teacher.expansion,
        teacher.stem_stride,
    )
    candidate = Candidate(own, spec, training=recipe)
    state = train_candidate(
        candidate,
        material,
        folder / "teachers" / name / "checkpoint.safetensors",
        seed=seed,
        epochs=teacher.epochs,
        after_epoch=after_epoch,
    )
    seen, held_out = (frontend_windows(folder, clips, own) for clips in (training, validation))
    whole = standardising(state.standardise, state.network)
    logits = window_logits(whole, seen.values, device())
    if longer > 1:
        counts = window_counts(training, frontend.seconds)
        logits = logits[around(counts, frontend.seconds, np.bincount(seen.clip_of), own.seconds)]
    return logits, _measure(window_logits(whole, held_out.values, device()), held_out)


def _tagger(
    folder: Path, teacher: TaggerTeacher, training: Clips, validation: Clips, seconds: float
) -> tuple[np.ndarray, Metrics]:
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
        )
        for clips in (training, validation)
    )
    classes = len(training.classes)
    labels = training.label_array()[seen.clip_of]
    head = fit_head(seen.values[seen.audible], labels[seen.audible], classes, teacher.decay)
    return cross_fitted_logits(seen, classes, teacher.decay), _measure(head(np.asarray(held_out.values)), held_out)
