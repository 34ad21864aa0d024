"""Training one finalist on a part of the training clips, teachers included, as the data-efficient rules ask."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.data.clips import Clips
from asc_search.distill.teachers import Taught, teach
from asc_search.progress import Stage
from asc_search.space.candidate import Candidate, Training
from asc_search.space.space import Space
from asc_search.space.teachers import HeadPeer, RunTeacher, SpecialistTeacher
from asc_search.study.assistants import from_run
from asc_search.study.retrain import Finalist, Trained, retrain
from asc_search.study.run_folder import RunFolder
from asc_search.study.seeds import derived_seed
from asc_search.train.candidate import Material
from asc_search.train.corrections import parallel_pairs
from asc_search.train.mixtures import draw_mixtures
from asc_search.train.responses import GENERATED, Responses
from asc_search.train.shares import Judged
from asc_search.train.windows import open_cuts

OF_DATA = "responses"  # what `data.responses: responses` means: the folder so called in that of the data


def teach_all(
    space: Space, run: RunFolder, names: tuple[str, ...], training: Clips, validation: Clips, stage: Stage | None
) -> Material:
    """The material of trainings on ``training``: each named teacher trained on these clips alone, logits cached.

    Without a ``stage`` nothing is said of it.

    Raises:
        WeightsError: a tagger's weights cannot be used.
        DivergedError: a teacher's training diverged.
        DataError: the responses cannot be used, or spectrum correction has no parallel recordings.
    """
    frontend = FrontEnd(**_constants(space, "frontend"))
    recipe = Training(**_constants(space, "training"))
    responses = responses_of(space)
    if _may_be(space, "training.correction_p"):
        parallel_pairs(training)  # before anything is trained
    mixtures = None
    if _may_be(space, "distillation.mixed"):
        cuts = open_cuts(run.root / "features", training, frontend.rate_hz, frontend.seconds, frontend.channels)
        mixtures = draw_mixtures(cuts.clip_of, cuts.audible, derived_seed(space.search.seed, "mixtures"))
    known: dict[str, Taught] = {}
    for name in in_order(space, names):
        teacher = space.pool[name]
        if stage is not None:
            stage.begin(f"teacher {name}", max(1, getattr(teacher, "epochs", 1)))
        known[name] = taught = teach(
            run.root,
            from_run(teacher, training) if isinstance(teacher, RunTeacher) else teacher,
            training,
            validation,
            frontend,
            recipe,
            derived_seed(space.search.seed, "teacher", name),
            (lambda state: None) if stage is None else (lambda state: stage.epoch(state.epoch)),
            responses,
            mixtures,
            known[teacher.of.name] if isinstance(teacher, SpecialistTeacher) else None,
        )
        if stage is None:
            continue
        reached = "not measured" if taught.validation is None else f"{100 * taught.validation.accuracy:.1f} %"
        stage.end(f"teacher {name}: {reached} on validation ({len(training)} training clips)")
    lessons = {name: taught.lesson for name, taught in known.items()}
    parents = {name: taught.checkpoint for name, taught in known.items()}
    judged = Judged(validation.label_array(), validation.devices)
    return Material(run.root, training, lessons, responses, mixtures, space.peers, parents, judged)


def in_order(space: Space, names: Collection[str]) -> list[str]:
    """The teachers ``names`` and those that they come from, none before the one it comes from."""
    specialists = [name for name in names if isinstance(space.pool[name], SpecialistTeacher)]
    needed = {*names, *(space.pool[name].of.name for name in specialists)}
    return [name for name in space.pool if name in needed and name not in specialists] + specialists


def needed_by(space: Space, candidate: Candidate) -> tuple[str, ...]:
    """The teachers of a training of ``candidate``, those among its peers and the one that it begins as included."""
    plan = candidate.distillation
    peers = [space.peers[name] for name in plan.peers]
    heads = [peer.teacher for peer in peers if isinstance(peer, HeadPeer)]
    return tuple(dict.fromkeys([*plan.teachers, *heads, *([candidate.parent] if candidate.parent else [])]))


def _may_be(space: Space, name: str) -> bool:
    """Whether the number ``name`` is above 0 anywhere in the space."""
    return any(p.name == name and max(p.domain.corners) > 0 for p in space.parameters)


def responses_of(space: Space) -> Responses:
    """The device responses of the space; a folder is relative to the space's file, ``responses`` is that of the data.

    Raises:
        DataError: the folder or a file in it cannot be used.
    """
    source = space.data.responses
    if source == OF_DATA:
        source = str(Path(space.data.source.partition(":")[2]) / OF_DATA)
    if source != GENERATED:
        source = str(Path(space.file).parent / Path(source).expanduser())
        Responses(source).at(16_000)  # before anything is trained
    return Responses(source, space.data.response_devices)


def _constants(space: Space, section: str) -> dict[str, object]:
    """The fixed values of a section; what is searched stays at its default for teachers."""
    prefix = f"{section}."
    return {name.removeprefix(prefix): value for name, value in space.constants.items() if name.startswith(prefix)}


def train_on_subset(
    space: Space, run: RunFolder, finalist: Finalist, part: str, training: Clips, validation: Clips, stage: Stage
) -> Trained:
    """``finalist`` and its teachers trained from scratch on the clips of ``part`` alone."""
    material = teach_all(space, run, needed_by(space, finalist.candidate), training, validation, stage)
    folder = run.root / "subsets" / part / f"{finalist.digest}-{training.digest()[:8]}"
    stage.begin(f"split {part}", space.retrain.epochs)
    plan = space.retrain
    trained = retrain(finalist, material, validation, folder, plan.epochs, 0, stage.epoch, int8=plan.int8)
    stage.end(f"split {part}: {100 * trained.validation.accuracy:.1f} % on validation ({len(training)} training clips)")
    return trained
