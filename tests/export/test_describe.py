"""What a submission says of its training: each augmentation that was used, and none that was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.export.describe import datasets_of, describe, on_audioset
from asc_search.export.profile import PROFILES
from asc_search.nets.plan import mobile
from asc_search.space.candidate import Candidate, Distillation, Training
from asc_search.space.teachers import NetworkTeacher, PasstTeacher, PretrainedTeacher, TaggerTeacher

NONE = {"roll_s": 0.0, "freq_mask": 0, "mixstyle_p": 0.0}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, None),
        ({"mixup_alpha": 0.2, "roll_s": 0.1}, "mixup, time rolling"),
        ({"roll_s": 0.1, "roll_p": 0.0, "gain_db": 3.0, "gain_p": 0.0, "stretch": 0.1, "stretch_p": 0.0}, None),
        ({"freq_width": 3}, "frequency masking"),
        ({"freq_width": 3, "time_mask": 3, "stripes_p": 0.0}, None),
        ({"freq_mask": 8, "time_mask": 3, "stripes_p": 0.5}, "frequency masking, time masking"),
        ({"shift_s": 0.1, "response_p": 0.5}, "time shifting, dir augmentation"),
        ({"stretch": 0.1, "gain_db": 3.0}, "time stretching, gain"),
        ({"jitter_fmin_hz": 1}, None),  # moves by less than 1 Hz
        ({"jitter_fmax_hz": 1000, "correction_p": 0.9}, "filter-bank jitter, spectrum correction"),
    ],
)
def test_augmentations_are_named(keys: dict[str, float], said: str | None) -> None:
    frontend = FrontEnd()
    candidate = Candidate(frontend, mobile("cp", frontend.shape, 10, 8, 1.5, 2.0), training=Training(**NONE | keys))
    assert describe(candidate, False, PROFILES["dcase2024"])["data_augmentation"] == said


def test_mixtures_of_waveforms_are_named_with_and_without_teachers() -> None:
    frontend = FrontEnd()
    network, quiet = mobile("cp", frontend.shape, 10, 8, 1.5, 2.0), Training(**NONE)
    for teachers in ((), ("one",)):
        plan = Distillation(teachers, mixed=0.5)
        candidate = Candidate(frontend, network, training=quiet, distillation=plan)
        assert describe(candidate, False, PROFILES["dcase2024"])["data_augmentation"] == "waveform mixing"


@pytest.mark.parametrize("kind", [TaggerTeacher, PasstTeacher])
def test_who_was_taught_by_weights_from_audioset_says_so(kind: type[PretrainedTeacher]) -> None:
    own = NetworkTeacher("own", "cp", 8, 1.5, 2.0, (2, 2), 2, 5e-3)
    assert not on_audioset({"own": own}) and datasets_of(on_audioset({"own": own}), None) == ()
    taught = {"own": own, "large": kind("large", Path("w.pt"), "w.pt", 1e-3)}
    (dataset,) = datasets_of(on_audioset(taught), None)
    assert dataset.name.startswith("AudioSet") and dataset.url == "https://research.google.com/audioset/"
