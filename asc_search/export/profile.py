"""What one year's challenge asks of a submission, as a value: one entry of PROFILES per year."""

from __future__ import annotations

from dataclasses import dataclass, replace

from asc_search.data.tau_facts import SCENES
from asc_search.errors import ExportError, Problem
from asc_search.space.challenge_keys import DESCRIPTION_KEYS, ENERGY_KEYS

FULL = "100"  # the split that is the whole training part


@dataclass(frozen=True)
class Profile:
    """Names, counts and limits of a challenge.

    ``splits`` are the training splits, in percent, with one model and one output file each, ``devices`` those of the
    development test. ``max_weight_bytes`` counts parameters only (1 kB = 1,000 bytes), ``max_macs`` is for one second of
    audio; ``max_params`` counts zeros, too, where a year limits that. ``weight_type`` is what a year fixes for every
    parameter, "" where any will do. ``package`` asks for code that the organisers run.
    """

    name: str
    evaluation_clips: int
    splits: tuple[str, ...]
    complexity_keys: tuple[str, ...]
    description_keys: tuple[str, ...]
    energy_keys: tuple[str, ...] = ()
    max_index: int = 4
    max_params: int | None = None
    weight_type: str = ""
    package: bool = False
    task: str = "task1"
    classes: tuple[str, ...] = SCENES
    devices: tuple[str, ...] = ("a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6")
    max_abbreviation: int = 10
    max_weight_bytes: int = 128_000
    max_macs: int = 30_000_000

    @property
    def by_split(self) -> bool:
        """Whether outputs and results are named after the splits; one model needs no name."""
        return len(self.splits) > 1

    @property
    def system_keys(self) -> tuple[str, ...]:
        """Keys of the ``system`` block of meta.yaml, in the order of the template."""
        energy = ("energy_consumption",) if self.energy_keys else ()
        return ("description", "complexity", *energy, "external_datasets", "source_code")

    def columns(self) -> tuple[str, ...]:
        """Header of an output file, in the canonical order."""
        return ("filename", "scene_label", *self.classes)

    def output_entry(self, label: str, split: str) -> str:
        """Path inside the zip of the outputs of the model trained on ``split``."""
        return f"{self.task}/{label}/{label}.output{f'.split_{split}' if self.by_split else ''}.csv"

    def meta_entry(self, label: str) -> str:
        """Path inside the zip of the meta information."""
        return f"{self.task}/{label}/{label}.meta.yaml"

    def report_entries(self, label: str) -> tuple[str, str]:
        """Paths inside the zip that the technical report may have; the first is the usual one."""
        return f"{self.task}/{label}.technical_report.pdf", f"{self.task}/{label}/{label}.technical_report.pdf"


_2022 = Profile(
    name="dcase2022",
    evaluation_clips=118_800,
    splits=(FULL,),
    complexity_keys=("total_parameters", "total_parameters_non_zero", "memory_use", "macs"),
    description_keys=DESCRIPTION_KEYS["dcase2022"],
    max_params=128_000,
    weight_type="int8",
)
_2023 = replace(
    _2022,
    name="dcase2023",
    complexity_keys=("total_model_size", *_2022.complexity_keys),
    description_keys=DESCRIPTION_KEYS["dcase2023"],
    energy_keys=ENERGY_KEYS["dcase2023"],
    max_params=None,
    weight_type="",
)
_2024 = Profile(
    name="dcase2024",
    evaluation_clips=135_730,
    splits=("5", "10", "25", "50", FULL),
    complexity_keys=("total_model_size", "total_parameters", "macs"),
    description_keys=DESCRIPTION_KEYS["dcase2024"],
    max_index=3,
)
# No template of 2025's meta.yaml is known: it is 2024's with the results of the one model.
_2025 = replace(
    _2024,
    name="dcase2025",
    evaluation_clips=178_930,
    splits=("25",),
    description_keys=DESCRIPTION_KEYS["dcase2025"],
    max_index=4,
    package=True,
)
PROFILES = {profile.name: profile for profile in (_2022, _2023, _2024, _2025)}


def profile_named(name: str) -> Profile:
    """The profile of a year.

    Raises:
        ExportError: there is none of this name.
    """
    if name not in PROFILES:
        raise ExportError("The profile is not known:", [Problem(name, f"known profiles are {', '.join(PROFILES)}")])
    return PROFILES[name]
