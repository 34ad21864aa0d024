"""Teachers: each runs once over the training windows, and its logits are kept; trials only read them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.kaldi_mel import RATE_HZ, TaggerFrontEnd
from asc_search.data.clips import Clips
from asc_search.distill.head import cross_fitted_logits, fit_head
from asc_search.distill.logits_file import table_logits
from asc_search.distill.networks import Hearing, measured, most_confused, open_network, speak, train_network, with_mixed
from asc_search.distill.tuned import tune
from asc_search.distill.weights import check_weights, content, file_of
from asc_search.errors import WeightsError
from asc_search.files import read_json, write_atomically, write_json
from asc_search.nets.passt import Passt, load_passt
from asc_search.nets.tagger import Tagger, load_tagger
from asc_search.space.candidate import Training
from asc_search.space.teachers import (
    LogitsTeacher,
    ModelTeacher,
    NetworkTeacher,
    PasstTeacher,
    PretrainedTeacher,
    SpecialistTeacher,
    TaggerTeacher,
    Teacher,
)
from asc_search.train.candidate import Material, Origin
from asc_search.train.clip_scores import softmax
from asc_search.train.fit import TrainState, device
from asc_search.train.metrics import Metrics, evaluate
from asc_search.train.mixtures import Mixtures
from asc_search.train.model_file import Model
from asc_search.train.responses import ALL_GENERATED, Responses
from asc_search.train.targets import Lesson
from asc_search.train.windows import open_cuts, save_array, transformed_windows

VERSION = 3  # raise when a teacher of the same declaration would give other logits
PARTS = ("logits", "embedding", "held_out")


@dataclass(frozen=True)
class Taught:
    """What a teacher said of the training windows, and its metrics on the validation clips (None: it did not hear them).

    ``checkpoint`` is where the training of a network is kept: students may begin as it.
    """

    lesson: Lesson
    validation: Metrics | None
    checkpoint: Path


def teach(
    folder: Path,
    teacher: Teacher,
    training: Clips,
    validation: Clips,
    frontend: FrontEnd,
    recipe: Training,
    seed: int,
    after_epoch: Callable[[TrainState], None],
    responses: Responses = ALL_GENERATED,
    mixtures: Mixtures | None = None,
    generalist: Taught | None = None,
) -> Taught:
    """Train (or load and fit) ``teacher`` on ``training``, run it once over its windows and ``mixtures`` of them, keep what
    it says in ``folder``.

    Done before with the same declaration, clips, mixtures and seed: read back. The lesson is about the students' windows
    (``networks.speak``). A specialist comes from its ``generalist``.

    Raises:
        MissingExtraError: the teacher needs a package that is not installed.
        WeightsError: a weights file is missing or not what it should be.
        DataError: a table of logits has mistakes, or lacks clips.
    """
    rest = [*([responses] if recipe.response_p else []), *([] if mixtures is None else [mixtures.digest])]
    name = _key(teacher, training, validation, frontend, recipe, seed, *rest)
    checkpoint = folder / "teachers" / name / "checkpoint.safetensors"
    note_path = folder / "logits" / f"{name}.json"
    paths = _parts(note_path)
    note = whole_note(note_path)
    if isinstance(teacher, TaggerTeacher) and teacher.epochs and not checkpoint.exists():
        note = None  # students begin as it
    if note is None:
        heard = Hearing(Material(folder, training, {}, responses, mixtures), validation, frontend, recipe)
        lesson, metrics = _lesson(heard, teacher, checkpoint, seed, after_epoch, generalist)
        held_out = np.zeros((0, len(training.classes))) if lesson.held_out is None else lesson.held_out
        for path, values in zip(paths, (lesson.logits, lesson.embedding, held_out), strict=True):
            write_atomically(path, lambda aside, values=values: save_array(aside, np.asarray(values, np.float16)))
        sizes = [path.stat().st_size for path in paths]
        note = {"teacher": teacher.name, "bytes": sizes, "validation": None if metrics is None else metrics.to_json()}
        write_json(note_path, note)
        if isinstance(teacher, PasstTeacher):
            checkpoint.unlink(missing_ok=True)  # a gigabyte, and no student begins as it
    logits, embedding, held_out = (np.load(path) for path in paths)
    known = None if note["validation"] is None else Metrics.from_json(note["validation"])
    return Taught(Lesson(logits, embedding, held_out if len(held_out) else None), known, checkpoint)


def whole_note(path: Path) -> dict[str, Any] | None:
    """The note at ``path`` on what a teacher said, None where there is none or a file of it is missing or cut."""
    note = read_json(path)
    sizes = [part.stat().st_size if part.exists() else 0 for part in _parts(path)]
    return note if note is not None and note.get("bytes") == sizes else None


def _parts(note: Path) -> list[Path]:
    return [note.with_suffix(f".{what}.npy") for what in PARTS]


def _lesson(
    heard: Hearing,
    teacher: Teacher,
    checkpoint: Path,
    seed: int,
    after_epoch: Callable[[TrainState], None],
    generalist: Taught | None,
) -> tuple[Lesson, Metrics | None]:
    """What ``teacher`` says of the training windows, and its metrics on the validation clips."""
    match teacher:
        case PretrainedTeacher() if teacher.epochs:
            where, seconds = heard.material, heard.frontend.seconds
            tuned, state = tune(where, checkpoint, teacher, seconds, heard.recipe, seed, after_epoch)
            return speak(Model(tuned, where.training.classes, state.network, state.standardise), heard)
        case PretrainedTeacher():
            material = heard.material
            return _frozen(
                material.folder,
                teacher,
                material.training,
                heard.validation,
                heard.frontend.seconds,
                material.mixtures,
            )
        case ModelTeacher():
            return open_network(heard, teacher)
        case LogitsTeacher():
            return _table(heard, teacher)
        case NetworkTeacher():
            return train_network(heard, teacher, checkpoint, seed, after_epoch)
        case SpecialistTeacher():
            if generalist is None or generalist.validation is None:
                raise WeightsError(f"teacher {teacher.name}: no generalist to come from; please report this")
            origin = Origin(generalist.checkpoint, most_confused(generalist.validation, teacher.pair))
            own = replace(teacher.of, epochs=teacher.epochs, lr=teacher.lr)
            return train_network(heard, own, checkpoint, seed, after_epoch, origin)
    raise WeightsError(f"teacher {teacher.name}: of no known kind; please report this")


def _key(teacher: Teacher, training: Clips, validation: Clips, *rest: object) -> str:
    """Names a teacher's files by everything its logits depend on."""
    held = ""
    if (file := file_of(teacher)) is not None:  # what the file holds counts, not where it lies
        check_weights({teacher.name: teacher})
        held = content(file)
        here = "file" if isinstance(teacher, LogitsTeacher) else "weights"
        teacher = replace(teacher, **{here: Path(teacher.written)})
    declared = json.dumps([repr(teacher), [repr(part) for part in rest], held, VERSION])
    files = f"{declared}\0{training.digest()}\0{validation.digest()}"
    return f"{teacher.name}-{hashlib.sha256(files.encode()).hexdigest()[:12]}"


def _table(heard: Hearing, teacher: LogitsTeacher) -> tuple[Lesson, Metrics | None]:
    """Logits of whole clips: every window is taught its clip's; there is no embedding."""
    training, validation, frontend = heard.material.training, heard.validation, heard.frontend
    logits, held_out = table_logits(teacher.file, training, validation, teacher.name)
    cuts = open_cuts(
        heard.material.folder / "features", training, frontend.rate_hz, frontend.seconds, frontend.channels
    )
    of_windows = with_mixed(logits[cuts.clip_of], heard.material.mixtures)
    metrics = None
    if held_out is not None:
        metrics = evaluate(softmax(held_out), validation.label_array(), validation.classes, validation.devices)
    return Lesson(of_windows, np.zeros((len(of_windows), 0), np.float32), held_out), metrics


def _frozen(
    folder: Path,
    teacher: PretrainedTeacher,
    training: Clips,
    validation: Clips,
    seconds: float,
    mixtures: Mixtures | None,
) -> tuple[Lesson, Metrics]:
    """The pretrained network with a linear head fitted on its frozen embeddings of the same windows."""
    kind, load = ("passt", load_passt) if isinstance(teacher, PasstTeacher) else ("tagger", load_tagger)
    pretrained: Passt | Tagger = load(teacher.weights)
    pretrained.network.to(device())
    front = TaggerFrontEnd().to(device())
    key = {"transform": kind, "weights": content(teacher.weights)}
    seen, held_out = (
        transformed_windows(
            folder / "features",
            clips,
            RATE_HZ,
            seconds,
            lambda samples: pretrained.embed(front(samples.to(device()))),
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
    said, metrics = measured(head(np.asarray(held_out.values)), held_out)
    return Lesson(cross_fitted_logits(seen, classes, teacher.decay), embedding, said), metrics
