"""Published designs as points of a space, against their published sizes."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from support import points

from asc_search.errors import NetworkError
from asc_search.nets.network import price
from asc_search.nets.systems import SYSTEMS
from asc_search.oracle.budget import assess
from asc_search.space.draw import FixedSuggest, draw
from asc_search.space.load import load, loads
from asc_search.space.presets import params_for_design
from asc_search.space.published import PRESETS
from asc_search.space.schema import PRESET

STUDENT = Path(__file__).resolve().parents[2] / "spaces" / "student.yaml"
# Parameters and MACs as the teams and the organisers publish them (1 s, 256 x 65, 10 classes).
PUBLISHED = {
    "dcase2024-baseline": (61_148, 29_419_156),
    "sscp-mobile": (62_564, 29_654_916),
    "sscp-s1": (63_748, 29_982_132),
}
FIXED = """network:
  stem: cp
  base: 32
  multiplier: 1.8
  stages:
    - {family: cp, depth: 3, stride: 1x2, stride_at: last, expansion: 2.1}
    - {family: cp, depth: 2, stride: 2x1, expansion: 2.1}
    - {family: cp, depth: 1, expansion: 2.1}
"""


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_design_is_a_point_of_the_student_space(name: str) -> None:
    space = loads(STUDENT.read_text().replace("mels: 128 ", "mels: 256 "), folder=STUDENT.parent)
    params = params_for_design(space, name)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(3):  # what is left open does not change the network
        study.enqueue_trial(params)
        trial = study.ask()
        candidate = draw(space, trial, 10)
        cost = price(candidate.deployed)
        assert (cost.params, cost.macs) == PUBLISHED[name]
        assert candidate.deployed == SYSTEMS[name]()
        assert candidate.frontend.hop == 500
        assert trial.params.items() >= params.items()
    assert not any(key.startswith(("training.", "distillation.")) for key in params)


def test_a_design_that_no_single_pruning_gives_is_not_a_point() -> None:
    assert params_for_design(load(STUDENT), "sscp-s3") is None


def test_an_unknown_design_is_an_error_with_those_there_are() -> None:
    with pytest.raises(NetworkError, match="known: dcase2024-baseline"):
        params_for_design(load(STUDENT), "sscp-s9")


def test_a_space_without_freedom_still_holds_its_one_design() -> None:
    space = loads(FIXED)
    assert params_for_design(space, "dcase2024-baseline") == {}
    assert params_for_design(space, "sscp-mobile") is None
    cost = price(draw(space, FixedSuggest({}), 10).deployed)
    assert (cost.params, cost.macs) == PUBLISHED["dcase2024-baseline"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("base: 32", "base: {choice: [24, 40]}"),
        ("multiplier: 1.8", "multiplier: {float: [2.0, 2.2]}"),
        ("depth: 3", "depth: {int: [1, 2]}"),
        ("stride: 1x2", "stride: {choice: [2x1, 2x2]}"),
        ("stride_at: last", "stride_at: first"),
        (
            "expansion: 2.1}\n    - {family: cp, depth: 1",
            "attachment: se, expansion: 2.1}\n    - {family: cp, depth: 1",
        ),
        ("    - {family: cp, depth: 1, expansion: 2.1}\n", ""),
        ("network:", "pruning: {ratio: 0.5}\nnetwork:"),
    ],
)
def test_a_space_that_cannot_hold_the_design_says_so(old: str, new: str) -> None:
    assert old in FIXED
    assert params_for_design(loads(FIXED.replace(old, new)), "dcase2024-baseline") is None


def test_the_layers_count_on_another_front_end_and_by_other_means() -> None:
    text = FIXED.replace("expansion: 2.1", "expansion: {float: [1, 4], step: 0.12}").replace(
        "depth: 2,", "depth: 2, width: {choice: [64, 56, 48]},"
    )
    space = loads(text + "frontend: {rate_hz: 44100, hop: {choice: [1024, 512]}, mels: 128}\n")
    params = params_for_design(space, "dcase2024-baseline")
    assert params["network.stages.1.width"] == 56
    assert params["network.stages.0.expansion"] == 2.08  # 32 * 2.08 and 32 * 2.1 are both 64 channels
    assert params["frontend.hop"] == 512  # nearest to 500


def test_a_preset_holds_what_its_network_depends_on() -> None:
    text = FIXED.replace("multiplier: 1.8", "multiplier: 2").replace("depth: 1,", "depth: 1, width: 104,")
    text = text.replace("depth: 2,", "depth: 2, width: {value: 56, when: {training.batch: 64}},")
    space = loads(text + "training: {batch: {choice: [64, 128]}, freq_mask: {choice: [0, 8]}}\n")
    assert params_for_design(space, "dcase2024-baseline") == {"training.batch": 64}


def test_random_points_of_the_student_space_can_be_priced() -> None:
    space = load(STUDENT)
    found = [assess(candidate, space.budget) for candidate, _ in points(space, 0, 100)]
    assert sum(one.cost is not None for one in found) > 90
    assert sum(one.verdict.fits for one in found) > 10


@pytest.mark.parametrize("design", ["dcase2024-baseline", "sscp-mobile", "sscp-s1"])
def test_designs_do_not_depend_on_the_order_of_choices(design: str) -> None:
    text = Path(STUDENT).read_text(encoding="utf-8").replace("choice: [conv, linear]", "choice: [linear, conv]")
    text = text.replace("  stem_stride:", "  stem_fusion: {choice: [serial, parallel]}\n  stem_stride:")
    assert params_for_design(loads(text), design) is not None
    assert params_for_design(load(STUDENT), design) is not None


def test_every_preset_is_a_design_that_can_be_wanted() -> None:
    assert set(PRESET.choices) == set(PRESETS)
