"""Filter-bank jitter: edges within their ranges, every bank used, the middle one at evaluation."""

from __future__ import annotations

import torch

from asc_search.audio.filterbank_jitter import JitteredLogMel, jitter_centre, jittered
from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.logmel import LogMel

SMALL = FrontEnd(rate_hz=16_000, window=512, hop=160, n_fft=512, mels=24)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_edges_stay_within_their_ranges_and_below_half_the_rate() -> None:
    assert jitter_centre(FrontEnd(), 1000).fmax_hz == 15_500
    assert jitter_centre(FrontEnd(), 0) == FrontEnd()
    assert jitter_centre(FrontEnd(kind="raw"), 1000) == FrontEnd(kind="raw")
    source = generator()
    specs = [jittered(FrontEnd(), 10, 1000, source) for _ in range(2000)]
    assert {spec.fmin_hz for spec in specs} == set(map(float, range(10)))
    upper = torch.tensor([spec.fmax_hz for spec in specs])
    assert 15_000 < upper.min() < 15_020 and 15_980 < upper.max() <= 16_000
    assert abs(upper.mean() - 15_500) < 30
    assert jittered(FrontEnd(fmax_hz=8000), 1, 1000, source).fmin_hz == 0
    assert 7500 < jittered(FrontEnd(fmax_hz=8000), 1, 1000, source).fmax_hz <= 8500


def test_strength_zero_is_the_front_end_itself() -> None:
    x = torch.randn(2, 4000, generator=generator())
    module = JitteredLogMel(SMALL, 3, 0, 0, generator())
    expected = LogMel(SMALL)(x)
    assert torch.equal(module(x, generator()), expected)
    assert torch.equal(module.eval()(x), expected)


def test_each_batch_goes_through_one_of_the_banks() -> None:
    x = torch.randn(2, 4000, generator=generator())
    module = JitteredLogMel(SMALL, 4, 10, 1000, generator(1))
    source, wanted = generator(1), []
    for _ in range(4):
        wanted.append(LogMel(jittered(SMALL, 10, 1000, source))(x))
    draws = generator(2)
    outputs = [module(x, draws) for _ in range(40)]
    used = {next(k for k, one in enumerate(wanted) if torch.equal(one, output)) for output in outputs}
    assert used == {0, 1, 2, 3}
    assert torch.equal(module.eval()(x), LogMel(jitter_centre(SMALL, 1000))(x))
    assert not module.state_dict()
