"""Published designs trained by a recipe of the search."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.nets.plan import mobile
from asc_search.space.candidate import Candidate, Training
from asc_search.space.published import REFERENCES
from asc_search.study.retrain import reference


@pytest.mark.parametrize(("design", "fmax_hz"), [("dcase2024-baseline", 15_500.0), ("cp-mobile-2023", 15_500.0)])
def test_a_reference_has_room_for_the_jitter_of_the_recipe(design: str, fmax_hz: float) -> None:
    own = FrontEnd(seconds=1.0)
    recipe = Candidate(own, mobile("cp", own.shape, 10, 8, 1.5, 2.0), training=Training(jitter_fmax_hz=1000))
    assert reference(design, recipe, 10).candidate.frontend == replace(REFERENCES[design], fmax_hz=fmax_hz)
    still = replace(recipe, training=Training())
    assert reference(design, still, 10).candidate.frontend == REFERENCES[design]
