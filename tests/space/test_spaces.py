"""The spaces that come with the project: one for each block family, and one over all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import points

from asc_search.nets.blocks import families
from asc_search.oracle.feasibility import estimate
from asc_search.space.load import load

SPACES = Path(__file__).resolve().parents[2] / "spaces"


@pytest.mark.parametrize("family", families("block"))
def test_each_family_has_a_space_of_its_own(family: str) -> None:
    space = load(SPACES / f"{family}.yaml")
    drawn = {layer.family for candidate, _ in points(space, 0, 20) for layer in candidate.network.layers[1:-1]}
    assert drawn == {family}
    assert estimate(space, 10, draws=2000).share > 0.2


def test_the_students_space_draws_every_family() -> None:
    space = load(SPACES / "student.yaml")
    drawn = {layer.family for candidate, _ in points(space, 0, 150) for layer in candidate.network.layers[1:-1]}
    assert drawn == set(families("block"))
    assert estimate(space, 10, draws=5000).share > 0.1
