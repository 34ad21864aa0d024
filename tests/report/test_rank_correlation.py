"""Both coefficients against scipy, ties included."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from asc_search.report.rank_correlation import kendall, spearman


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ties", [False, True])
def test_as_scipy_has_them(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(25)
    y = x + rng.standard_normal(25)
    if ties:
        x, y = x.round(), y.round()
    assert kendall(x, y) == pytest.approx(kendalltau(x, y).statistic, abs=1e-12)
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


def test_ends_of_the_scale_and_what_does_not_vary() -> None:
    assert kendall([1, 2, 3], [10, 20, 30]) == spearman([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert kendall([1, 2, 3], [3, 2, 1]) == spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert np.isnan(kendall([1, 1, 1], [1, 2, 3])) and np.isnan(spearman([1, 1, 1], [1, 2, 3]))
