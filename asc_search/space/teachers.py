"""Teachers and peers: the networks a space declares beside its students, and where each comes from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.kaldi_mel import student_front_end
from asc_search.nets.cost import Shape
from asc_search.nets.plan import mobile
from asc_search.nets.spec import NetSpec
from asc_search.nets.systems import system
from asc_search.nets.tagger import tagger_spec


@dataclass(frozen=True)
class Peer:
    """A larger network that learns beside students, on their front end and by their training.

    It is a published ``design``, or where that is empty built of a family like a mobile network.
    """

    name: str
    family: str
    base: int
    multiplier: float
    expansion: float
    stem_stride: tuple[int, int]
    design: str = field(default="", kw_only=True)

    def network(self, shape: Shape, classes: int) -> NetSpec:
        """The network that hears inputs of ``shape``."""
        if self.design:
            return system(self.design)().with_input(shape).with_classes(classes)
        return mobile(self.family, shape, classes, self.base, self.multiplier, self.expansion, self.stem_stride)


@dataclass(frozen=True)
class NetworkTeacher(Peer):
    """A larger network of our own, trained in the run; ``frontend`` holds what differs from the student's.

    Its windows may be longer (``seconds``); a student's window is then taught what the teacher says to its own around it.
    """

    epochs: int
    lr: float
    frontend: tuple[tuple[str, int | float], ...] = ()

    def frontend_on(self, frontend: FrontEnd) -> FrontEnd:
        """The teacher's own front end beside students that hear through ``frontend``."""
        return replace(frontend, **dict(self.frontend))


@dataclass(frozen=True)
class PretrainedTeacher:
    """A network pretrained on AudioSet with a linear head (L2 penalty ``decay``) fitted on its frozen embeddings.

    With ``epochs``, all its layers are trained from there on for so long, up to the learning rate ``lr``.
    ``weights`` is the file, ``written`` what the space calls it: a path, or a URL, from which ``fetch_weights`` makes the
    file. ``sha256`` is what it must hash to, empty for anything.
    """

    name: str
    weights: Path
    written: str
    decay: float
    sha256: str = ""
    epochs: int = 0
    lr: float = 1e-3


@dataclass(frozen=True)
class PasstTeacher(PretrainedTeacher):
    """A pretrained PaSST, a transformer (``asc_search.nets.passt``)."""

    lr: float = 1e-5


@dataclass(frozen=True)
class TaggerTeacher(PretrainedTeacher):
    """A pretrained audio tagger, a MobileNetV3 (``asc_search.nets.tagger``); networks may begin as one with ``epochs``."""

    def start(self, seconds: float, outputs: int) -> tuple[FrontEnd, NetSpec]:
        """Front end and network of what begins as it, for windows of ``seconds``.

        Raises:
            WeightsError: the file cannot be used.
        """
        frontend = student_front_end(seconds)
        return frontend, tagger_spec(self.weights).with_classes(outputs).with_input(frontend.shape)


@dataclass(frozen=True)
class ModelTeacher:
    """A network that asc-search trained before, with its own front end: a ``model.safetensors``, named as a tagger's.

    Nothing in it says which clips it was trained on.
    """

    name: str
    weights: Path
    written: str
    sha256: str = ""


@dataclass(frozen=True)
class RunTeacher:
    """The best network on validation of another run's front, or that of ``trial`` (-1 for none): a teacher's assistant, or
    the same network once more. ``folder`` is the run, ``written`` what the space calls it.
    """

    name: str
    folder: Path
    written: str
    trial: int


@dataclass(frozen=True)
class LogitsTeacher:
    """What somebody else's teacher said of whole clips: a table of logits by file name. ``file`` is where it lies."""

    name: str
    file: Path
    written: str
    sha256: str = ""


@dataclass(frozen=True)
class SpecialistTeacher:
    """The network teacher ``of``, trained on for the pair of classes that it confuses most, next most (``pair`` 1, 2, ...)
    on the validation part, with batches half of that pair (Seoul 2019).
    """

    name: str
    of: NetworkTeacher
    pair: int
    epochs: int
    lr: float


Teacher = NetworkTeacher | PretrainedTeacher | ModelTeacher | RunTeacher | LogitsTeacher | SpecialistTeacher


@dataclass(frozen=True)
class HeadPeer:
    """A pretrained network that learns beside students by a linear layer on the kept embeddings of the pool's ``teacher``."""

    name: str
    teacher: str
