"""Teachers run once, are read afterwards, and know nothing but the clips they were given."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from passt_files import passt_on_tones
from support import SHARED
from tau_trees import make_tree

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.kaldi_mel import TaggerFrontEnd
from asc_search.data.source import open_source
from asc_search.distill import teachers
from asc_search.distill.teachers import teach
from asc_search.errors import AscSearchError, WeightsError
from asc_search.nets.passt import load_passt
from asc_search.nets.plan import mobile
from asc_search.space.candidate import Candidate, Distillation, Training
from asc_search.space.teachers import NetworkTeacher, TaggerTeacher
from asc_search.train.candidate import Material, train_candidate
from asc_search.train.mixtures import draw_mixtures
from asc_search.train.windows import open_cuts

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
    assert first.lesson.logits.shape == (len(training), 10) and first.lesson.logits.dtype == np.float16
    assert len(first.lesson.embedding) == len(training)
    np.testing.assert_array_equal(first.lesson.logits, again.lesson.logits)
    np.testing.assert_array_equal(first.lesson.embedding, again.lesson.embedding)
    assert first.validation == again.validation
    teach_it(tmp_path, demo_folder, replace(TEACHER, lr=4e-3), epochs)
    assert epochs == [1, 2, 1, 2], "another declaration is another teacher"


def test_a_teacher_on_another_rate_makes_room_for_the_jitter_of_the_recipe(tmp_path: Path, demo_folder: Path) -> None:
    half = replace(TEACHER, frontend=(("rate_hz", 16_000), ("hop", 1000), ("fmax_hz", 0.0)))
    taught, _ = teach_it(tmp_path, demo_folder, half, [], jitter_fmax_hz=1000)
    assert np.isfinite(taught.lesson.logits).all()
    made = [json.loads(path.read_text()) for path in (tmp_path / "features").glob("*.json")]
    assert {one["fmax_hz"] for one in made if one.get("kind") == "logmel"} == {7_500.0}, "evaluated in the middle"


@pytest.mark.parametrize("what", ["logits", "embedding"])
def test_a_damaged_file_is_made_again(tmp_path: Path, demo_folder: Path, what: str) -> None:
    first, _ = teach_it(tmp_path, demo_folder, TEACHER, [])
    path = next((tmp_path / "logits").glob(f"*.{what}.npy"))
    path.write_bytes(path.read_bytes()[:100])
    again = teach_it(tmp_path, demo_folder, TEACHER, [])[0]
    np.testing.assert_array_equal(again.lesson.logits, first.lesson.logits)
    np.testing.assert_array_equal(again.lesson.embedding, first.lesson.embedding)


def test_no_teacher_hears_a_test_clip(tmp_path: Path, demo_folder: Path) -> None:
    poisoned = shutil.copytree(demo_folder, tmp_path / "poisoned")
    first, _ = teach_it(tmp_path / "one", demo_folder, TEACHER, [])
    clips = open_source(f"folder:{poisoned}", tmp_path / "two", validation_fraction=0.34).clips
    test = clips.split("test")
    assert len(test)
    for file in test.files:
        (poisoned / file).write_bytes(b"not audio: reading it is an error")
    training, validation = clips.split("train"), clips.split("validation")
    taught = teach(
        tmp_path / "two",
        TEACHER,
        training,
        validation,
        FRONTEND,
        Training(batch=16, freq_mask=4),
        0,
        lambda state: None,
    )
    np.testing.assert_array_equal(taught.lesson.logits, first.lesson.logits)
    with pytest.raises((AscSearchError, soundfile.LibsndfileError)):  # poison does work
        teach(tmp_path / "two", TEACHER, test, validation, FRONTEND, Training(batch=16), 0, lambda state: None)


def test_mixtures_follow_the_windows_in_a_lesson(tmp_path: Path, demo_folder: Path) -> None:
    clips = open_source(f"folder:{demo_folder}", tmp_path, validation_fraction=0.34).clips
    training, validation = clips.split("train"), clips.split("validation")
    cuts = open_cuts(tmp_path / "features", training, FRONTEND.rate_hz, FRONTEND.seconds)
    mixtures = draw_mixtures(cuts.clip_of, cuts.audible, 0, per_window=2)
    recipe = Training(batch=16, freq_mask=4)
    parts = (tmp_path, TEACHER, training, validation, FRONTEND, recipe, 0, lambda state: None)
    plain, both = teach(*parts), teach(*parts, mixtures=mixtures)
    assert len(both.lesson.logits) == len(cuts) + len(mixtures) == len(both.lesson.embedding)
    np.testing.assert_array_equal(both.lesson.logits[: len(cuts)], plain.lesson.logits)


def test_missing_tagger_weights_are_named(tmp_path: Path, demo_folder: Path) -> None:
    teacher = TaggerTeacher("tagger", tmp_path / "absent.pt", "absent.pt", 1e-4)
    with pytest.raises(WeightsError, match=r"absent\.pt"):
        teach_it(tmp_path, demo_folder, teacher, [])


def test_the_real_tagger_teaches_the_demo_scenes(tmp_path: Path, demo_folder: Path) -> None:
    weights = SHARED / "data" / "weights" / "mn04_as_mAP_432.pt"
    if not weights.exists():
        pytest.skip("the tagger's weights are not beside the checkout (../shared/data/weights)")
    taught, training = teach_it(tmp_path, demo_folder, TaggerTeacher("tagger", weights, weights.name, 1e-3), [])
    honest = (taught.lesson.logits.argmax(1) == training.label_array()).mean()
    assert honest > 0.3, "frozen AudioSet embeddings know scenes far better than chance (0.1)"


def test_a_passt_teaches_by_a_head_on_its_frozen_embeddings(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, clips = passt_on_tones(tmp_path)
    students = FrontEnd(rate_hz=4_000, window=256, hop=200, n_fft=256, mels=16)
    recipe = Training(batch=4, freq_mask=2)
    parts = (tmp_path / "run", teacher, clips, clips, students, recipe, 0, lambda state: None)
    taught = teach(*parts)
    assert "patch_embed" not in "".join(capfd.readouterr())
    waves = [soundfile.read(clips.root / file, dtype="float32")[0] for file in clips.files]
    heard = load_passt(teacher.weights).embed(TaggerFrontEnd()(torch.from_numpy(np.stack(waves)))).detach().numpy()
    np.testing.assert_allclose(taught.lesson.embedding, heard, rtol=2e-3, atol=2e-3)
    linear = pytest.importorskip("sklearn.linear_model").LogisticRegression(C=1e3, max_iter=1000)
    scaled = (heard - heard.mean(0)) / heard.std(0)
    assert (linear.fit(scaled, clips.label_array()).predict(scaled) == clips.label_array()).all()
    assert taught.validation.accuracy == 1.0, "the head parts the two kinds of tones it was fitted on, as another does"
    assert taught.lesson.logits.shape == taught.lesson.held_out.shape == (8, 2)
    monkeypatch.setattr(teachers, "load_passt", None)
    again = teach(*parts)
    np.testing.assert_array_equal(again.lesson.logits, taught.lesson.logits)
    material = Material(tmp_path / "run", clips, {"passt": taught.lesson})
    network = mobile("cp", students.shape, 2, 8, 1.5, 2.0, (2, 2))
    student = Candidate(students, network, training=recipe, distillation=Distillation(("passt",)))
    assert train_candidate(student, material, tmp_path / "checkpoint.safetensors", seed=0, epochs=1).epoch == 1


def test_a_teacher_of_longer_windows_teaches_the_students_windows_in_them(tmp_path: Path) -> None:
    root = make_tree(tmp_path, "tau2022")
    clips = open_source(f"tau2022:{root}", tmp_path, segments=True).clips
    training, validation = clips.split("train"), clips.split("validation")
    students = FrontEnd(rate_hz=4_000, window=256, hop=200, n_fft=256, mels=16)
    teacher = replace(TEACHER, frontend=(("seconds", 10.0),))
    recipe = Training(batch=8, freq_mask=2, crops_per_clip=10)
    taught = teach(tmp_path / "run", teacher, training, validation, students, recipe, 0, lambda state: None)
    assert taught.lesson.logits.shape == (19 * len(training), 2)
    by_clip = taught.lesson.logits.reshape(len(training), 19, 2)
    assert (by_clip == by_clip[:, :1]).all(), "one window of the teacher holds all of a segment"
    assert len(np.unique(by_clip[:, 0], axis=0)) > len(training) // 2
    material = Material(tmp_path / "run", training, {"one": taught.lesson})
    candidate = Candidate(
        students,
        mobile("cp", students.shape, 2, 8, 1.5, 2.0, (2, 2)),
        training=replace(recipe, gain_db=3.0, batch=16),
        distillation=Distillation(("one",)),
    )
    state = train_candidate(candidate, material, tmp_path / "checkpoint.safetensors", seed=0, epochs=1)
    assert state.epoch == 1


def test_a_teacher_of_longer_windows_teaches_repeated_short_clips(tmp_path: Path, demo_folder: Path) -> None:
    taught, training = teach_it(tmp_path, demo_folder, replace(TEACHER, frontend=(("seconds", 2.0),)), [])
    assert taught.lesson.logits.shape == (len(training), 10)
