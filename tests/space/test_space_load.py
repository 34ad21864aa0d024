"""What a correct space becomes: values, defaults, conditions, teachers, and the digest."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from support import points

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.errors import SpaceError
from asc_search.nets.blocks import Family, Option, registry
from asc_search.nets.blocks.sscp import FAMILIES
from asc_search.nets.plan import mobile
from asc_search.space import schema
from asc_search.space.candidate import Pruning, Training
from asc_search.space.domains import Choice, Constant, FloatRange, IntRange, Subset
from asc_search.space.draw import FixedSuggest, draw, parameters
from asc_search.space.export_section import read_export
from asc_search.space.load import load, loads
from asc_search.space.space import Space
from asc_search.space.teachers import NetworkTeacher, PasstTeacher, TaggerTeacher
from asc_search.train import fit, optimizers, schedules

NETWORK = """network:
  stem: cp
  base: 32
  stages:
    - {family: cp, depth: 1}
"""
STUDENT = Path(__file__).resolve().parents[2] / "spaces" / "student.yaml"


def domains(space: Space) -> dict:
    return {parameter.name: parameter.domain for parameter in space.parameters}


def test_sections_that_are_left_out_have_the_documented_defaults() -> None:
    space = loads(NETWORK)
    assert parameters(space) == []
    assert space.data.source == "demo"
    assert (space.budget.macs, space.budget.weight_bytes) == (30_000_000, 128_000)
    assert space.objectives == ("accuracy", "macs")
    assert space.search.rungs == (1, 3, 9)
    assert space.search.reduction == 3
    assert space.search.max_rejections == 200
    assert "dcase2024-baseline" in space.search.enqueue
    assert space.export is None
    candidate = draw(space, FixedSuggest({}), 10)
    assert candidate.frontend == FrontEnd()
    assert candidate.training == Training()
    assert candidate.pruning == Pruning()
    assert candidate.distillation.teachers == ()


def test_every_field_of_the_values_can_be_searched() -> None:
    unsearched = {"channels", "scale"}  # data have one channel; a scale is undone by the first BatchNorm
    for options, value in ((schema.FRONTEND, FrontEnd), (schema.TRAINING, Training), (schema.PRUNING, Pruning)):
        assert set(options) | unsearched == {field.name for field in fields(value)} | unsearched


def test_every_form_of_a_value() -> None:
    space = loads(
        NETWORK
        + """pruning:
  ratio: {choice: [0, 0.5]}
  start: {value: 0.6, when: {ratio: 0.5}}
weight_type: {choice: [fp32, fp16]}
training:
  batch: {int: [16, 64], step: 16}
  crops_per_clip: {int: [1, 8], log: true}
  lr: {float: [1e-3, 1e-2], log: true}
  warmup: {float: [0, 0.3], step: 0.1}
  roll_s: 1
"""
    )
    found = domains(space)
    assert found["pruning.ratio"] == Choice((0.0, 0.5))
    assert found["pruning.start"] == Constant(0.6)
    assert found["weight_type"] == Choice(("fp32", "fp16"))
    assert found["training.batch"] == IntRange(16, 64, 16)
    assert found["training.crops_per_clip"] == IntRange(1, 8, log=True)
    assert found["training.lr"] == FloatRange(0.001, 0.01, log=True)
    assert found["training.warmup"] == FloatRange(0.0, 0.3, 0.1)
    assert found["training.roll_s"] == Constant(1.0)
    assert isinstance(found["training.roll_s"].value, float)
    rows = {row.name: (row.kind, row.range, row.condition) for row in parameters(space)}
    assert rows["training.batch"] == ("int", "16 to 64, step 16", "")
    assert rows["training.lr"] == ("float", "0.001 to 0.01, log", "")
    assert "pruning.start" not in rows  # constant where it exists
    assert space.varying[-1].name.startswith("training.")


def test_short_names_of_stems_are_resolved_in_values_and_conditions() -> None:
    space = loads(
        NETWORK.replace("stem: cp", "stem: {choice: [cp, sscp_stem]}") + "training: {lr: {value: 0.1, when: "
        "{network.stem: sscp}}}\n"
    )
    assert domains(space)["network.stem"] == Choice(("cp_stem", "sscp_stem"))
    assert draw(space, FixedSuggest({"network.stem": "sscp_stem"}), 10).training.lr == 0.1
    assert draw(space, FixedSuggest({"network.stem": "cp_stem"}), 10).training.lr == Training().lr


def test_a_condition_may_name_what_is_written_later() -> None:
    space = loads(
        NETWORK
        + """frontend:
  mels: {choice: [64, 128], when: {training.batch: [32, 64]}}
training:
  batch: {choice: [16, 32, 64]}
"""
    )
    assert [row.name for row in parameters(space)] == ["training.batch", "frontend.mels"]
    assert parameters(space)[1].condition == "training.batch = 32 or 64"
    assert draw(space, FixedSuggest({"training.batch": 16}), 3).frontend.mels == FrontEnd().mels
    assert draw(space, FixedSuggest({"training.batch": 64, "frontend.mels": 64}), 3).frontend.mels == 64


def test_an_option_exists_only_where_a_family_that_offers_it_is_drawn() -> None:
    text = NETWORK.replace("{family: cp, depth: 1}", "{family: {choice: [cp, sscp]}, depth: 1, fusion: serial}")
    space = loads(text)
    (fusion,) = [parameter for parameter in space.parameters if parameter.name.endswith("fusion")]
    assert fusion.condition == "network.stages.0.family = sscp"
    cp, sscp = (
        draw(space, FixedSuggest({"network.stages.0.family": name}), 10).network.layers[1] for name in ("cp", "sscp")
    )
    assert sscp.options["fusion"] == "serial"
    assert "fusion" not in cp.options


def test_a_new_family_is_known_by_its_registration_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    block = FAMILIES[1]
    options = {**block.options, "dilation": Option("int", 1, "dilation", 1, 4)}
    new = Family("wave", "block", "a new family", options, block.plan, block.price, block.build)
    monkeypatch.setitem(registry._FAMILIES, "wave", new)
    stage = "{family: {choice: [wave, cp]}, depth: 1, dilation: {int: [1, 4]}}"
    space = loads(NETWORK.replace("{family: cp, depth: 1}", stage))
    row = {row.name: row for row in parameters(space)}["network.stages.0.dilation"]
    assert (row.range, row.condition) == ("1 to 4", "network.stages.0.family = wave")


def test_an_explicit_width_replaces_the_rule() -> None:
    text = NETWORK.replace("{family: cp, depth: 1}", "{family: cp, depth: 1, width: {choice: [40, 48]}}")
    assert draw(loads(text), FixedSuggest({"network.stages.0.width": 48}), 10).network.layers[1].out == 48
    assert draw(loads(NETWORK), FixedSuggest({}), 10).network.layers[1].out == 32


def test_teachers_keep_the_order_of_the_pool_and_resolve_their_files(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        NETWORK
        + """distillation:
  teachers: {subset_of: [tagger, wide], min: 0}
  temperature: {float: [1, 4], when: {teachers: [wide]}}
  pool:
    wide: {kind: network, family: sscp, stem_stride: "2x1", lr: 1e-2, frontend: {mels: 64}}
    tagger: {kind: tagger, weights: weights/mn04.safetensors}
    home: {kind: tagger, weights: ~/mn.safetensors, decay: 0.5}
    large: {kind: passt, weights: weights/passt.pt, decay: 0.25}
    tuned: {kind: passt, weights: weights/passt.pt, epochs: 3, lr: 0.0001}
"""
    )
    space = load(path)
    assert domains(space)["distillation.teachers"] == Subset(("wide", "tagger"), 0)
    wide, tagger, home, large, tuned = space.pool.values()
    assert isinstance(wide, NetworkTeacher)
    assert (wide.name, wide.family, wide.stem_stride, wide.lr) == ("wide", "sscp", (2, 1), 0.01)
    assert wide.frontend_on(FrontEnd(hop=1000)) == FrontEnd(hop=1000, mels=64)
    assert mobile(wide.family, (1, 64, 33), 10, wide.base, wide.multiplier, wide.expansion, wide.stem_stride)
    assert isinstance(tagger, TaggerTeacher)
    assert tagger.weights == tmp_path / "weights" / "mn04.safetensors"
    assert home.weights == Path.home() / "mn.safetensors"
    assert large == PasstTeacher("large", tmp_path / "weights" / "passt.pt", "weights/passt.pt", 0.25)
    assert (large.epochs, large.lr, tuned.epochs, tuned.lr) == (0, 1e-5, 3, 1e-4)
    off = {"distillation.teachers[wide]": 0, "distillation.teachers[tagger]": 1}
    assert draw(space, FixedSuggest(off), 10).distillation.temperature == 2.0
    on = {**off, "distillation.teachers[wide]": 1, "distillation.temperature": 3.5}
    drawn = draw(space, FixedSuggest(on), 10).distillation
    assert (drawn.teachers, drawn.temperature) == (("wide", "tagger"), 3.5)


def test_too_small_a_subset_is_completed_in_the_order_of_the_pool() -> None:
    space = loads(
        NETWORK
        + "distillation:\n  teachers: {subset_of: [a, b, c], min: 2}\n  pool:\n"
        + "".join(f"    - {{name: {name}, kind: network, family: cp}}\n" for name in "abc")
    )
    names = [f"distillation.teachers[{name}]" for name in "abc"]
    for drawn, expected in (((0, 0, 0), "ab"), ((0, 0, 1), "ac"), ((0, 1, 1), "bc"), ((1, 1, 1), "abc")):
        candidate = draw(space, FixedSuggest(dict(zip(names, drawn, strict=True))), 10)
        assert "".join(candidate.distillation.teachers) == expected


def test_data_and_export_are_read_by_type() -> None:
    space = loads(
        NETWORK
        + """data: {source: "folder:audio/tau", labels: [bus, park], train_folds: [1, 2], test_folds: ["3"]}
export:
  label: Doe_UNI_task1_1
  authors:
    - {lastname: Doe, corresponding: true, affiliation: {institute: A University}}
    - Jane Roe
"""
    )
    assert (space.data.labels, space.data.train_folds, space.data.test_folds) == (("bus", "park"), ("1", "2"), ("3",))
    assert space.export.label == "Doe_UNI_task1_1"
    assert space.export.authors[0]["affiliation"] == {"institute": "A University"}
    assert loads(NETWORK + "data: folder:x\n").data.source == "folder:x"


def test_the_keys_of_a_year(tmp_path: Path) -> None:
    section = """export:
  profile: dcase2023
  label: Doe_UNI_task1_1
  source_code: https://example.org/code
  description: {embeddings: PaSST, ensemble_method_subsystem_count: 3, decision_making: null}
  energy: {training: 0.21, inference: 0.002, baseline_inference: 0}
  external_datasets:
    - {name: MicIRP, url: "https://micirp.example", total_audio_length: 2}
    - {name: 'A "set" <b>', url: "https://set.example"}
"""
    said = loads(NETWORK + section).export
    assert said.source_code == "https://example.org/code"
    assert said.description == {
        "embeddings": "PaSST",
        "ensemble_method_subsystem_count": 3,
        "decision_making": None,
    }
    assert said.energy == {"training": 0.21, "inference": 0.002, "baseline_inference": 0.0}
    assert said.external_datasets == (
        {"name": "MicIRP", "url": "https://micirp.example", "total_audio_length": 2.0},
        {"name": 'A "set" <b>', "url": "https://set.example"},
    )
    (tmp_path / "about.yaml").write_text(section)
    assert read_export(tmp_path / "about.yaml") == said
    (tmp_path / "about.yaml").write_text("profile: dcase2023\nenergy: {trainig: 1}\n")
    with pytest.raises(SpaceError, match=r"about\.yaml:2: energy\.trainig|about\.yaml:2: export\.energy\.trainig"):
        read_export(tmp_path / "about.yaml")


def test_yaml_is_version_1_2_with_merge_keys() -> None:
    text = """network:
  stem: cp
  base: 32
  stages:
    - &stage {family: cp, depth: 2, expansion: 3}
    - {<<: *stage, depth: 1}
export: {label: on, name: 2024-01-02}
"""
    space = loads(text)
    assert domains(space)["network.stages.1.depth"] == Constant(1)
    assert domains(space)["network.stages.1.expansion"] == Constant(3.0)
    assert (space.export.label, space.export.name) == ("on", "2024-01-02")


def test_the_digest_sees_meaning_and_nothing_else() -> None:
    digest = loads(NETWORK).digest()
    same = """# a comment
training: {lr: 5.0e-3}     # the default, spelled out
network:
    base: 32
    stem: "cp_stem"
    stages: [{depth: 1, family: cp, stride: 1x1}]
"""
    assert loads(same, "other.yaml").digest() == digest
    others = [
        NETWORK.replace("base: 32", "base: 40"),
        NETWORK.replace("base: 32", "base: {choice: [32]}"),
        NETWORK + "search: {seed: 1}\n",
        NETWORK + "data: {seed: 1}\n",
        NETWORK + "budget: {macs: 1}\n",
        NETWORK + "objectives: [accuracy]\n",
        NETWORK + "distillation: {teachers: [], pool: {a: {kind: network, family: cp}}}\n",
    ]
    assert len({digest, *(loads(text).digest() for text in others)}) == len(others) + 1


def test_the_same_text_loads_from_elsewhere() -> None:
    space = load(STUDENT)
    assert space.source_text == STUDENT.read_text(encoding="utf-8")
    assert loads(space.source_text, "copy.yaml", STUDENT.parent).digest() == space.digest()


def test_a_gate_of_one_family_does_not_forbid_pruning_the_others() -> None:
    text = NETWORK.replace(
        "{family: cp, depth: 1}",
        "{family: {choice: [cp, dssdb]}, depth: 1, attachment: {value: eca, when: {family: dssdb}}}",
    )
    space = loads(text + "pruning: {ratio: {choice: [0, 0.5]}}\n")
    ratio = next(parameter for parameter in space.parameters if parameter.name == "pruning.ratio")
    assert dict(ratio.when) == {"network.stages.0.attachment": (None,)}, "that of cp, which has none here"
    drawn = [candidate for candidate, _ in points(space, 0, 60)]
    assert {one.network.layers[1].family for one in drawn if one.pruning.ratio} == {"cp"}
    assert any(one.pruning.ratio == 0 for one in drawn if one.network.layers[1].family == "cp")


def test_names_of_the_train_room_are_those_the_space_offers() -> None:
    assert set(schema.OPTIMIZERS) == set(optimizers.OPTIMIZERS)
    assert set(schema.SCHEDULES) == set(schedules.FALLS)
    assert set(schema.PUBLISHED_SCHEDULES) == set(schedules.PUBLISHED)
    assert set(schema.TRAINING["ramp"].choices) == set(schedules.RAMPS)
    assert set(schema.TRAINING["precision"].choices) == set(fit.PRECISIONS)
