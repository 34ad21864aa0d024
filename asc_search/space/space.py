"""Space: everything a search may vary and everything it is given, as one value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.nets.spec import NetSpec, Scalar
from asc_search.space.candidate import Groups
from asc_search.space.domains import Constant, Domain, Value
from asc_search.space.teachers import HeadPeer, Peer, Teacher
from asc_search.space.weight_type import Int8

Condition = tuple[tuple[str, tuple[Scalar | None, ...]], ...]


@dataclass(frozen=True)
class Parameter:
    """One parameter: its dotted path, its domain, and when it exists.

    ``when`` lists (path, values): each of those parameters must have one of the values, or hold one where it is a set.
    Otherwise the parameter is ``default``; None means that it then has no value.
    """

    name: str
    domain: Domain
    default: Value = None
    when: Condition = ()
    doc: str = ""

    @property
    def kind(self) -> str:
        """``constant``, ``choice``, ``int``, ``float`` or ``subset``."""
        return self.domain.kind

    @property
    def range(self) -> str:
        """What it may be, in words."""
        return self.domain.text

    @property
    def condition(self) -> str:
        """When it exists, in words; empty for always."""
        told = ((name, ("unused" if value is None else str(value) for value in values)) for name, values in self.when)
        return " and ".join(f"{name} = {' or '.join(values)}" for name, values in told)


@dataclass(frozen=True)
class Data:
    """Where the clips come from and how they are split; empty tuples: not given.

    ``validation_devices`` are left out of the training part, so that validation hears devices the network never heard.
    With ``segments`` a training clip is a whole 10-s segment, whose 1-s files are joined; validation and test stay by file.
    ``subset`` is the share of the training part: of TAU 2022 the official one, its list looked for in the folder ``lists``.
    ``responses`` are the device responses of the training (``generated``, or a folder), ``response_devices`` the devices
    whose clips may be heard through them, all if none is given. ``groups`` of the classes, each class in one, are learnt
    beside them.
    """

    source: str = "demo"
    labels: tuple[str, ...] = ()
    train_folds: tuple[str, ...] = ()
    test_folds: tuple[str, ...] = ()
    subset: str = "100%"
    segments: bool = False
    lists: str = ""
    validation_fraction: float = 0.2
    validation_devices: tuple[str, ...] = ()
    seed: int = 0
    allow_leaky_split: bool = False
    responses: str = "generated"
    response_devices: tuple[str, ...] = ()
    groups: Groups = ()

    @property
    def percent(self) -> int:
        """``subset`` as a number."""
        return int(self.subset.removesuffix("%"))


@dataclass(frozen=True)
class Budget:
    """What a deployed network may cost at most, limits included: ``macs`` per second of audio, bytes of all weights.

    The defaults are those of DCASE Task 1 since 2023.
    """

    macs: int = 30_000_000
    weight_bytes: int = 128_000


@dataclass(frozen=True)
class Search:
    """The search: ``trials`` trainings through ``rungs`` (total epochs), ``startup`` random ones before a model of the
    accuracy chooses."""

    trials: int
    rungs: tuple[int, ...]
    reduction: int
    startup: int
    seed: int
    max_rejections: int
    enqueue: tuple[str, ...]


@dataclass(frozen=True)
class Retrain:
    """Full training of at most ``finalists`` networks and the ``references``, ``seeds`` times ``epochs`` each; ``int8``
    says how those of that weight type are quantised. Finalists are measured with ``tta`` passes of test-time augmentation,
    too."""

    epochs: int
    seeds: int
    finalists: int
    undistilled: bool
    dense_twins: bool
    references: tuple[str, ...]
    tta: int = 0
    int8: Int8 = field(default_factory=Int8)


@dataclass(frozen=True)
class Export:
    """What a submission says about itself; an author is a name or a mapping of texts.

    ``description`` replaces what would be said of the system, ``energy`` is in kWh; the keys of both are those of the
    ``profile``. An external dataset has ``name``, ``url`` and, where known, ``total_audio_length`` in minutes.
    """

    profile: str
    label: str
    name: str
    abbreviation: str
    source_code: str = ""
    authors: tuple[Any, ...] = ()
    description: Mapping[str, str | int | None] = field(default_factory=dict)
    energy: Mapping[str, float] = field(default_factory=dict)
    external_datasets: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Space:
    """A search space as loaded from ``file``.

    ``parameters`` are all parameters, constants too, each after those its condition names; ``stages`` holds the names
    of the family options that each stage gives, ``ends`` those given for stem and head; ``pool`` the teachers there are
    and ``peers`` the networks that may learn beside a student, in the order written.
    """

    file: str
    source_text: str
    parameters: tuple[Parameter, ...]
    ends: dict[str, tuple[str, ...]]
    stages: tuple[tuple[str, ...], ...]
    pool: dict[str, Teacher]
    search: Search
    retrain: Retrain
    data: Data = field(default_factory=Data)
    budget: Budget = field(default_factory=Budget)
    objectives: tuple[str, ...] = ("accuracy", "macs")
    export: Export | None = None
    peers: dict[str, Peer | HeadPeer] = field(default_factory=dict)

    @cached_property
    def constants(self) -> dict[str, Value]:
        """The values of the parameters that never vary, by name."""
        return {p.name: p.domain.value for p in self.parameters if isinstance(p.domain, Constant) and not p.when}

    @cached_property
    def varying(self) -> tuple[Parameter, ...]:
        """The parameters that vary or exist under a condition, in the order in which they are drawn."""
        return tuple(p for p in self.parameters if p.name not in self.constants)

    def start(self, parent: str, outputs: int) -> tuple[FrontEnd, NetSpec]:
        """Front end and network of what begins as the teacher ``parent``.

        Raises:
            WeightsError: its weights cannot be used.
        """
        return self.pool[parent].start(self.constants["frontend.seconds"], outputs)

    def outputs(self, classes: int) -> int:
        """Outputs of a network's last layer: one for each of ``classes``, and for each group of them."""
        return classes + len(self.data.groups)

    def digest(self) -> str:
        """Short hash of what the space means: comments, formatting and spelled-out defaults do not change it.

        Left out is what a run may be continued with: more trials, other retraining, another submission.
        """
        # Parameters have names, so their order (and with it the order of keys in the file) carries no meaning.
        parameters = {p.name: [p.kind, asdict(p.domain), p.default, sorted(p.when)] for p in self.parameters}
        pool = [_declared(teacher) for teacher in self.pool.values()]
        parts = (self.data, self.budget, replace(self.search, trials=0))
        content = [parameters, pool, [asdict(part) for part in parts], self.objectives]
        content += [[asdict(peer) for peer in self.peers.values()]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _declared(teacher: Teacher) -> dict[str, Any]:
    """A teacher as declared, without where the folder of the space lies on this machine."""
    here = ("weights", "folder", "file")
    return {key: value for key, value in asdict(teacher).items() if key not in here} | {"kind": type(teacher).__name__}
