"""Training one finalist on a part of the training clips, teachers included, as the data-efficient rules ask."""

from __future__ import annotations

from pathlib import Path

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.data.clips import Clips
from asc_search.distill.teachers import teach
from asc_search.progress import Stage
from asc_search.space.candidate import Training
from asc_search.space.space import Space
from asc_search.study.retrain import Finalist, Trained, retrain
from asc_search.study.run_folder import RunFolder
from asc_search.study.seeds import derived_seed
from asc_search.train.candidate import Material
from asc_search.train.corrections import parallel_pairs
from asc_search.train.mixtures import draw_mixtures
from asc_search.train.responses import GENERATED, Responses
from asc_search.train.windows import open_cuts


def teach_all(
    space: Space, run: RunFolder, names: tuple[str, ...], training: Clips, validation: Clips, stage: Stage
) -> Material:
    """The material of trainings on ``training``: each named teacher trained on these clips alone, logits cached.

    Raises:
        WeightsError: a tagger's weights cannot be used.
        DivergedError: a teacher's training diverged.
        DataError: the responses cannot be used, or spectrum correction has no parallel recordings.
    """
    frontend = FrontEnd(**_constants(space, "frontend"))
    recipe = Training(**_constants(space, "training"))
    lessons, responses = {}, responses_of(space)
    if _may_be(space, "training.correction_p"):
        parallel_pairs(training)  # before anything is trained
    mixtures = None
    if _may_be(space, "distillation.mixed"):
        cuts = open_cuts(run.root / "features", training, frontend.rate_hz, frontend.seconds, frontend.channels)
        mixtures = draw_mixtures(cuts.clip_of, cuts.audible, derived_seed(space.search.seed, "mixtures"))
    for name in names:
        teacher = space.pool[name]
        epochs = getattr(teacher, "epochs", 1)
        stage.begin(f"teacher {name}", epochs)
        seed = derived_seed(space.search.seed, "teacher", name)
        taught = teach(
            run.root,
            teacher,
            training,
            validation,
            frontend,
            recipe,
            seed,
            lambda state: stage.epoch(state.epoch),
            responses,
            mixtures,
        )
        lessons[name] = taught.lesson
        stage.end(
            f"teacher {name}: {100 * taught.validation.accuracy:.1f} % on validation ({len(training)} training clips)"
        )
    return Material(run.root, training, lessons, responses, mixtures, space.peers)


def _may_be(space: Space, name: str) -> bool:
    """Whether the number ``name`` is above 0 anywhere in the space."""
    return any(p.name == name and max(p.domain.corners) > 0 for p in space.parameters)


def responses_of(space: Space) -> Responses:
    """The device responses of the space; a folder is relative to the space's file.

    Raises:
        DataError: the folder or a file in it cannot be used.
    """
    source = space.data.responses
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
    material = teach_all(space, run, finalist.candidate.distillation.teachers, training, validation, stage)
    folder = run.root / "subsets" / part / f"{finalist.digest}-{training.digest()[:8]}"
    stage.begin(f"split {part}", space.retrain.epochs)
    trained = retrain(finalist, material, validation, folder, space.retrain.epochs, 0, stage.epoch)
    stage.end(f"split {part}: {100 * trained.validation.accuracy:.1f} % on validation ({len(training)} training clips)")
    return trained
