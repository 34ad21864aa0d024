"""What each challenge year asks a submission to say of itself: the keys of the ``export`` section that depend on the year."""

from __future__ import annotations

_BEFORE_2024 = (
    "input_sampling_rate",
    "acoustic_features",
    "embeddings",
    "data_augmentation",
    "machine_learning_method",
    "ensemble_method_subsystem_count",
    "decision_making",
    "external_data_usage",
    "complexity_management",
    "pipeline",
    "framework",
)
_SINCE_2024 = (
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
)

# of meta.yaml's system.description, in the order of the official templates; of 2025 none is published, it takes 2024's
DESCRIPTION_KEYS = {
    "dcase2022": _BEFORE_2024,
    "dcase2023": _BEFORE_2024,
    "dcase2024": _SINCE_2024,
    "dcase2025": _SINCE_2024,
}

# kWh as CodeCarbon measures them; only 2023 asks
ENERGY_KEYS = {"dcase2023": ("training", "inference", "baseline_inference")}
