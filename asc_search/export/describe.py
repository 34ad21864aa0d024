"""A candidate in the words of the official meta file."""

from __future__ import annotations

from collections.abc import Mapping

from asc_search.export.profile import Profile
from asc_search.export.submission import ExternalDataset
from asc_search.space.candidate import Candidate
from asc_search.space.space import Export
from asc_search.space.teachers import PretrainedTeacher, Teacher

AUDIOSET = ExternalDataset("AudioSet (weights of a pretrained tagger)", "https://research.google.com/audioset/")


def on_audioset(taught: Mapping[str, Teacher]) -> bool:
    """Whether a teacher was pretrained on AudioSet."""
    return any(isinstance(teacher, PretrainedTeacher) for teacher in taught.values())


def describe(candidate: Candidate, pretrained: bool, profile: Profile) -> Mapping[str, str | int | None]:
    """The system description of the meta file, in the tags the official template suggests."""
    training, taught, peers = candidate.training, candidate.distillation.teachers, candidate.distillation.peers
    stripes = training.stripes_p > 0
    augmentations = {
        "mixup": training.mixup_alpha > 0,
        "waveform mixing": candidate.distillation.mixed > 0,
        "freq-mixstyle": training.mixstyle_p > 0,
        "time rolling": training.roll_s > 0 and training.roll_p > 0,
        "time shifting": training.shift_s > 0 and training.shift_p > 0,
        "frequency masking": training.freq_mask > 0 or (stripes and training.freq_stripes * training.freq_width > 0),
        "time masking": stripes and training.time_stripes * training.time_mask > 0,
        "dir augmentation": training.response_p > 0,
        "time stretching": training.stretch > 0 and training.stretch_p > 0,
        "gain": training.gain_db > 0 and training.gain_p > 0,
        "filter-bank jitter": training.jitter_fmax_hz > 0 or training.jitter_fmin_hz > 1,
        "spectrum correction": training.correction_p > 0,
    }
    management = {
        "knowledge distillation": candidate.distillation.by_others,
        "pruning": candidate.pruning.removes,
        "precision_16": candidate.weight_type == "fp16" and not profile.weight_type,
        "weight quantization": "int8" in (candidate.weight_type, profile.weight_type),
        "network design": True,
    }
    together = " and peers by deep mutual learning" if peers else ""
    if taught:
        steps = ["train teachers", f"train student using knowledge distillation{together}"]
    else:
        steps = [f"train student{together}"] if peers else ["train"]
    if len(taught) > 1:
        steps.insert(1, "ensemble teachers")
    rate_khz = candidate.frontend.rate_hz / 1000
    known: dict[str, str | int | None] = {
        "input_sampling_rate": f"{rate_khz:g}kHz",
        "acoustic_features": "log-mel energies",
        "data_augmentation": ", ".join(name for name, used in augmentations.items() if used) or None,
        "machine_learning_method": "CNN",
        "external_data_usage": "pre-trained model" if pretrained else None,
        "complexity_management": ", ".join(name for name, used in management.items() if used),
        "pipeline": ", ".join(steps),
        "framework": "pytorch",
        "split_adaptations": None,
        "system_adaptations": None,
    }
    return {key: known.get(key) for key in profile.description_keys}


def described(
    candidate: Candidate, pretrained: bool, profile: Profile, said: Export | None
) -> Mapping[str, str | int | None]:
    """``describe``, with what a person says instead; keys of other years are left out."""
    own = {key: value for key, value in (said.description if said else {}).items() if key in profile.description_keys}
    return {**describe(candidate, pretrained, profile), **own}


def datasets_of(pretrained: bool, said: Export | None) -> tuple[ExternalDataset, ...]:
    """AudioSet where a pretrained tagger taught, and the datasets a person names."""
    named = tuple(ExternalDataset(**data) for data in (said.external_datasets if said else ()))
    return (*((AUDIOSET,) if pretrained else ()), *named)
