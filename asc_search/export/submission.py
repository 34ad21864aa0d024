"""A challenge submission as a value: who, what, what it costs, and what it answered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from asc_search.errors import ExportError
from asc_search.export.profile import PROFILES, Profile
from asc_search.export.rules import label_problems
from asc_search.train.metrics import Metrics


@dataclass(frozen=True)
class Label:
    """The four parts of ``<Lastname>_<Institute>_task1_<index>``."""

    lastname: str
    institute: str
    task: str
    index: int


@dataclass(frozen=True)
class Affiliation:
    """Where an author works."""

    abbreviation: str
    institute: str
    location: str
    department: str | None = None


@dataclass(frozen=True)
class Author:
    """One author; exactly one of a submission is ``corresponding``, and its last name opens the label."""

    lastname: str
    firstname: str
    email: str
    affiliation: Affiliation
    corresponding: bool = False


@dataclass(frozen=True)
class ExternalDataset:
    """Data beyond the official development set; ``total_audio_length`` in minutes, None where unknown."""

    name: str
    url: str
    total_audio_length: float | None = None


@dataclass(frozen=True)
class Complexity:
    """Price as measured on the exported model; ``weight_bytes`` of all parameters stored as ``weight_type``.

    ``macs`` are those for one second of audio; ``params_non_zero`` is None where nobody counted.
    """

    params: int
    macs: int
    weight_bytes: int
    weight_type: str
    params_non_zero: int | None = None

    def stated(self, keys: Collection[str]) -> dict[str, int | None]:
        """The figures under the ``keys`` of meta.yaml; sizes in bytes."""
        figures = {
            "total_model_size": self.weight_bytes,
            "total_parameters": self.params,
            "total_parameters_non_zero": self.params_non_zero,
            "memory_use": self.weight_bytes,
            "macs": self.macs,
        }
        return {key: figures[key] for key in keys}


@dataclass(frozen=True, eq=False)
class SplitOutput:
    """What the model trained on one split answered.

    ``probabilities`` (clips, classes) belong to ``files`` (``17.wav`` or ``audio/17.wav``) and to the submission's
    ``classes``; ``development`` was measured on the development test; ``training_files`` are those the model was
    trained on, None where that is not known.
    """

    split: str
    files: tuple[str, ...]
    probabilities: np.ndarray
    development: Metrics | None = None
    training_files: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Submission:
    """One system of a team.

    ``complexity`` is one value or one per split; ``description`` maps keys of the profile to text, None where not
    applicable; ``energy`` maps those of the profile to kWh. A ``practice`` submission rehearses on any number of clips and
    may leave development results and energy unknown.
    """

    label: str
    name: str
    abbreviation: str
    authors: tuple[Author, ...]
    classes: tuple[str, ...]
    outputs: tuple[SplitOutput, ...]
    complexity: Complexity | Mapping[str, Complexity]
    description: Mapping[str, str | int | None] = field(default_factory=dict)
    energy: Mapping[str, float | None] = field(default_factory=dict)
    external_datasets: tuple[ExternalDataset, ...] = ()
    source_code: str | None = None
    technical_report: Path | None = None
    practice: bool = False

    def complexities(self) -> tuple[Complexity, ...]:
        """The different complexities stated, normally one."""
        if isinstance(self.complexity, Complexity):
            return (self.complexity,)
        return tuple(dict.fromkeys(self.complexity.values()))


def parse_label(label: str, profile: Profile = PROFILES["dcase2024"]) -> Label:
    """The parts of a submission label.

    Raises:
        ExportError: not of the form ``<Lastname>_<Institute>_task1_<index>``; lists every reason.
    """
    problems = label_problems("label", label, profile)
    if problems:
        raise ExportError("The submission label cannot be used:", problems)
    lastname, institute, task, index = label.split("_")
    return Label(lastname, institute, task, int(index))
