"""Teachers run once, are read afterwards, and know nothing but the clips they were given."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import SHARED

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.data.source import open_source
from asc_search.distill.teachers import teach
from asc_search.errors import WeightsError
from asc_search.space.candidate import Training
from asc_search.space.space import NetworkTeacher, TaggerTeacher

FRONTEND = FrontEnd(mels=32, hop=2000, window=2048, n_fft=2048)
TEACHER = NetworkTeacher("one", "cp", 8, 1.5, 2.0, (2, 2), 2, 5e-3)


def teach_it(  # type: ignore[no-untyped-def]
    folder: Path, demo: Path, teacher: NetworkTeacher | TaggerTeacher, epochs: list[int], **keys: float
):
    clips = open_source(f"folder:{demo}", folder, validation_fraction=0.34).clips
    training, validation = clips.split("train"), clips.split("validation")
    recipe = Training(batch=16, freq_mask=4, **keys)
    return teach(
        folder, teacher, training, validation, FRONTEND, recipe, 0, lambda state: epochs.append(state.epoch)
    ), training


def test_a_network_teacher_is_trained_once_and_then_read(tmp_path: Path, demo_folder: Path) -> None:
    epochs: list[int] = []
    first, training = teach_it(tmp_path, demo_folder, TEACHER, epochs)
    again, _ = teach_it(tmp_path, demo_folder, TEACHER, epochs)
    assert epochs == [1, 2]
    assert first.logits.shape == (len(training), 10) and first.logits.dtype == np.float16
    np.testing.assert_array_equal(first.logits, again.logits)
    assert first.validation == again.validation
    teach_it(tmp_path, demo_folder, replace(TEACHER, lr=4e-3), epochs)
    assert epochs == [1, 2, 1, 2], "another declaration is another teacher"


def test_a_teacher_on_another_rate_makes_room_for_the_jitter_of_the_recipe(tmp_path: Path, demo_folder: Path) -> None:
    half = replace(TEACHER, frontend=(("rate_hz", 16_000), ("hop", 1000), ("fmax_hz", 0.0)))
    taught, _ = teach_it(tmp_path, demo_folder, half, [], jitter_fmax_hz=1000)
    assert np.isfinite(taught.logits).all()
    made = [json.loads(path.read_text()) for path in (tmp_path / "features").glob("*.json")]
    assert {one["fmax_hz"] for one in made if one.get("kind") == "logmel"} == {7_500.0}, "evaluated in the middle"


def test_a_damaged_logit_file_is_made_again(tmp_path: Path, demo_folder: Path) -> None:
    first, _ = teach_it(tmp_path, demo_folder, TEACHER, [])
    path = next((tmp_path / "logits").glob("*.npy"))
    path.write_bytes(path.read_bytes()[:100])
    np.testing.assert_array_equal(teach_it(tmp_path, demo_folder, TEACHER, [])[0].logits, first.logits)


def test_missing_tagger_weights_are_named(tmp_path: Path, demo_folder: Path) -> None:
    teacher = TaggerTeacher("tagger", tmp_path / "absent.pt", "absent.pt", 1e-4)
    with pytest.raises(WeightsError, match=r"absent\.pt"):
        teach_it(tmp_path, demo_folder, teacher, [])


def test_the_real_tagger_teaches_the_demo_scenes(tmp_path: Path, demo_folder: Path) -> None:
    weights = SHARED / "data" / "weights" / "mn04_as_mAP_432.pt"
    if not weights.exists():
        pytest.skip("the tagger's weights are not beside the checkout (../shared/data/weights)")
    taught, training = teach_it(tmp_path, demo_folder, TaggerTeacher("tagger", weights, weights.name, 1e-3), [])
    honest = (taught.logits.argmax(1) == training.label_array()).mean()
    assert honest > 0.3, "frozen AudioSet embeddings know scenes far better than chance (0.1)"
