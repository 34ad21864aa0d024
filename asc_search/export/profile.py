"""What one year's challenge asks of a submission, as a value: one entry of PROFILES per year."""

from __future__ import annotations

from dataclasses import dataclass

from asc_search.data.tau_facts import SCENES


@dataclass(frozen=True)
class Profile:
    """Names, counts and limits of a challenge.

    ``splits`` are the training splits with one output file each, ``devices`` those of the development test,
    ``max_weight_bytes`` counts parameters only (1 kB = 1,000 bytes), ``max_macs`` is for one second of audio.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    devices: tuple[str, ...]
    evaluation_clips: int
    max_index: int
    max_abbreviation: int
    max_weight_bytes: int
    max_macs: int
    description_keys: tuple[str, ...]
    complexity_keys: tuple[str, ...]

    def columns(self) -> tuple[str, ...]:
        """Header of an output file, in the canonical order."""
        return ("filename", "scene_label", *self.classes)

    def output_entry(self, label: str, split: str) -> str:
        """Path inside the zip of the outputs of the model trained on ``split``."""
        return f"{self.task}/{label}/{label}.output.split_{split}.csv"

    def meta_entry(self, label: str) -> str:
        """Path inside the zip of the meta information."""
        return f"{self.task}/{label}/{label}.meta.yaml"

    def report_entry(self, label: str) -> str:
        """Path inside the zip of the technical report."""
        return f"{self.task}/{label}.technical_report.pdf"


PROFILES = {
    "dcase2024": Profile(
        name="dcase2024",
        task="task1",
        classes=SCENES,
        splits=("5", "10", "25", "50", "100"),
        devices=("a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6"),
        evaluation_clips=135_730,
        max_index=3,
        max_abbreviation=10,
        max_weight_bytes=128_000,
        max_macs=30_000_000,
        description_keys=(
            "input_sampling_rate",
            "acoustic_features",
            "data_augmentation",
            "machine_learning_method",
            "external_data_usage",
            "complexity_management",
            "pipeline",
            "framework",
            "split_adaptations",
            "system_adaptations",
        ),
        complexity_keys=("total_model_size", "total_parameters", "macs"),
    ),
}
