"""The keys of pruning in a space: what is drawn, where it exists, and what old files and records mean."""

from __future__ import annotations

import pytest
from support import points

from asc_search.nets.network import shrink
from asc_search.nets.systems.mobile import sscp_s3
from asc_search.space.candidate import Candidate
from asc_search.space.draw import FixedSuggest, draw
from asc_search.space.load import loads
from asc_search.space.pruning import IMPORTANCES, SCHEDULES, Pruning

SSCP = """
frontend: {rate_hz: 32000, window: 3072, hop: 500, n_fft: 4096, mels: 256}
network:
  stem: sscp
  base: 96
  multiplier: 1.8
  stages:
    - {family: sscp, depth: 3, stride: "1x2", stride_at: last, expansion: 2.2}
    - {family: sscp, depth: 2, stride: "2x1", expansion: 2.2}
    - {family: sscp, depth: 1, expansion: 2.2}
"""


def test_every_key_is_searched_and_drawn() -> None:
    space = loads(
        SSCP
        + """pruning:
  ratio: {choice: [0.25, 0.5]}
  importance: {choice: [group_norm, magnitude, bn_scale, taylor]}
  schedule: {choice: [once, linear, agp, through]}
  steps: {int: [2, 8]}
  through: {choice: ['64', '80>64'], when: {schedule: through}}
  end: {float: [0.5, 0.9]}
  round_to: {choice: [1, 4]}
"""
    )
    drawn = [candidate.pruning for candidate, _ in points(space, 0, 200)]
    assert {one.importance for one in drawn} == set(IMPORTANCES)
    assert {one.schedule for one in drawn} == set(SCHEDULES)
    assert {one.through for one in drawn if one.schedule == "through"} == {"64", "80>64"}
    assert {one.through for one in drawn if one.schedule != "through"} == {""}
    assert {one.steps for one in drawn} == set(range(2, 9)) and {one.round_to for one in drawn} == {1, 4}
    for candidate, _ in points(space, 0, 50):
        assert Candidate.from_json(candidate.to_json()) == candidate
        kept = [layer.out for layer in candidate.deployed.layers[:-1]]
        step, ratio = candidate.pruning.round_to, candidate.pruning.ratio
        assert kept == [int(layer.out * (1 - ratio)) // step * step for layer in candidate.network.layers[:-1]]
        assert candidate.stages[-1] == candidate.deployed


def test_system_3_is_a_point_of_a_space() -> None:
    widths = "24>8, 96>32, 176>58, 312>101, 208>68, 384>125"
    space = loads(f"{SSCP}pruning: {{schedule: linear, steps: 2, widths: '{widths}'}}\n")
    assert draw(space, FixedSuggest({}), 10).deployed == sscp_s3()


def test_a_space_that_says_nothing_and_an_old_record_mean_what_they_did() -> None:
    space = loads(f"{SSCP}pruning: {{ratio: 0.5}}\n")
    candidate = draw(space, FixedSuggest({}), 10)
    old = {**candidate.to_json(), "pruning": {"ratio": 0.5, "start": 0.3}}
    assert Candidate.from_json(old) == candidate
    assert candidate.pruning == Pruning(0.5, 0.3) and candidate.pruning.schedule == "once"
    assert candidate.deployed == shrink(candidate.network, lambda width: width // 2)
    assert candidate.stages == (candidate.deployed,)


@pytest.mark.parametrize("asked", ["widths: '96>32'", "target: budget"])
def test_what_cannot_be_pruned_is_left_alone_however_it_is_asked(asked: str) -> None:
    text = SSCP.replace("depth: 1, expansion: 2.2", "depth: 1, attachment: {choice: [none, eca]}")
    space = loads(f"{text}pruning: {{{asked}}}\n")
    for candidate, _ in points(space, 0, 20):
        gated = candidate.network.layers[-2].options["attachment"] == "eca"
        assert (candidate.pruning == Pruning()) == gated
