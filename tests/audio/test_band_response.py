"""The fast path of device responses and rolls on log-mels, against the exact path on real clips."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from support import SHARED

from asc_search.audio.augment import roll_time
from asc_search.audio.band_response import (
    BandError,
    apply_band_offsets,
    band_errors,
    band_offsets,
    offset_by,
    qualifying,
)
from asc_search.audio.device_ir import apply_responses, convolved, generated_responses, read_responses
from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.logmel import LogMel
from asc_search.data.audio_io import read_mono

HALF = FrontEnd(rate_hz=16_000, window=1536, hop=250, n_fft=2048, mels=128)
"""The baseline's front end in milliseconds, at the rate of the clips."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def clips() -> torch.Tensor:
    folder = SHARED / "data" / "esc50_16k" / "audio"
    if not folder.is_dir():
        pytest.skip("the ESC-50 clips are not here")
    seconds = [read_mono(path, 16_000)[:16_000] for path in sorted(folder.iterdir())[:40]]
    return torch.from_numpy(np.stack([one for one in seconds if np.abs(one).max() > 1e-3][:24]))


@pytest.mark.parametrize("log", ["ln", "log10"])
def test_a_gain_is_exact_also_where_the_floor_shows(log: str) -> None:
    frontend = FrontEnd(rate_hz=16_000, window=512, hop=160, n_fft=512, mels=32, log=log, log_floor=1e-5)
    x = 10 ** torch.linspace(-5, -1, 8)[:, None] * torch.randn(8, 8000, generator=generator())
    loud = torch.zeros(1, 4)
    loud[0, 0] = 3.0
    offsets = band_offsets(loud, frontend)
    torch.testing.assert_close(offsets, torch.full_like(offsets, 2 * np.log(3)))
    front = LogMel(frontend)
    got = offset_by(front.bare(x), offsets.expand(8, -1), frontend)
    torch.testing.assert_close(got, front.bare(3 * x), rtol=0, atol=2e-3)
    torch.testing.assert_close(
        offset_by(front.bare(x), 0 * offsets.expand(8, -1), frontend), front.bare(x), rtol=0, atol=1e-3
    )


@pytest.mark.parametrize("taps", [100, 512, 1300])
def test_offsets_are_the_mean_power_gain_over_each_filter(taps: int) -> None:
    frontend = FrontEnd(rate_hz=16_000, window=512, hop=160, n_fft=512, mels=24)
    response = np.random.default_rng(0).normal(size=taps)
    bins = np.arange(257)
    gains = np.abs(np.exp(-2j * np.pi * np.outer(bins, np.arange(taps)) / 512) @ response) ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 26) / 2595) - 1)
    hz = bins * 16_000 / 512
    weights = np.stack([np.interp(hz, edges[k : k + 3], [0, 1, 0]) for k in range(24)])
    expected = np.log(weights @ gains / np.maximum(weights.sum(1), 1e-300), where=weights.sum(1) > 0, out=np.zeros(24))
    np.testing.assert_allclose(band_offsets(torch.from_numpy(response[None]), frontend)[0], expected, atol=1e-4)


def test_the_fast_path_draws_as_the_exact_one_and_leaves_other_devices_alone() -> None:
    responses = torch.tensor([[2.0, 0], [5.0, 0]])
    frontend = FrontEnd(rate_hz=16_000, window=512, hop=160, n_fft=512, mels=16)
    x = torch.randn(40, 4000, generator=generator())
    eligible = torch.arange(40) % 2 == 0
    front = LogMel(frontend)
    exact = front.bare(apply_responses(x, responses, generator(3), 0.6, eligible))
    before = front.bare(x)
    fast = apply_band_offsets(before, band_offsets(responses, frontend), frontend, generator(3), 0.6, eligible)
    torch.testing.assert_close(fast, exact, rtol=0, atol=1e-3)
    assert torch.equal(fast[~eligible], before[~eligible]) and not torch.equal(fast, before)
    assert apply_band_offsets(before, responses, frontend, generator(), 0.0) is before


def test_responses_that_are_not_quick_are_left_to_the_exact_path() -> None:
    frontend = FrontEnd(rate_hz=16_000, window=512, hop=160, n_fft=512, mels=16)
    offsets, quick = torch.tensor([[1.0], [0.0]]).expand(2, 16), torch.tensor([True, False])
    x = torch.zeros(60, 1, 16, 9)
    asked = []

    def exactly(rows: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        asked.append((rows, choice))
        return torch.full((len(rows), 1, 16, 9), -7.0)

    out = apply_band_offsets(x, offsets, frontend, generator(), 0.8, None, quick, exactly)
    ((rows, choice),) = asked
    assert (choice == 1).all() and 10 < len(rows) < 38
    kinds = out.flatten(1)
    assert torch.equal(kinds, kinds[:, :1].expand_as(kinds))
    assert torch.equal((kinds[:, 0] == -7).nonzero().flatten(), rows)
    others = {round(value, 3) for value in kinds[kinds[:, 0] != -7, 0].tolist()}
    assert others == {0.0, 1.0}, "a gain of e, or untouched"


def test_errors_grow_with_the_length_of_the_response_and_decide_who_qualifies(clips: torch.Tensor) -> None:
    lengths_ms = (2, 20, 200)
    tails = torch.zeros(3, 3200)
    for row, length in zip(tails, lengths_ms, strict=True):
        taps = 16 * length
        row[:taps] = torch.randn(taps, generator=generator(length)) * torch.exp(-6.9 * torch.arange(taps) / taps)
    errors = band_errors(clips, tails, HALF)
    for earlier, later in pairwise(errors):
        assert earlier.median_db < later.median_db and earlier.q95_db < later.q95_db
    assert errors[0].q95_db < 1 and errors[2].q95_db > 5
    assert qualifying(errors).tolist() == [True, False, False]


def test_microphones_are_within_a_decibel_in_inner_frames(clips: torch.Tensor) -> None:
    folder = SHARED / "data" / "mic_irs"
    if not folder.is_dir():
        pytest.skip("the MicIRP responses are not here")
    responses, _ = read_responses(folder, 16_000, 1024, read_mono)
    errors = band_errors(clips, responses[::13], HALF)
    assert max(error.median_db for error in errors) < 0.4
    assert all(error.inner_q95_db < error.q95_db < 3 for error in errors)
    assert qualifying(errors, 3.0).all()
    assert qualifying(errors, 1.5, inner=True).float().mean() >= 0.5


def test_the_measured_error_is_that_of_numpy(clips: torch.Tensor) -> None:
    response = generated_responses(1, 16_000, 64, 4.0, generator())
    (error,) = band_errors(clips[:2], response, HALF)
    front = LogMel(HALF)
    exact = front(convolved(clips[:2], response.expand(2, -1))).double().numpy()
    power = np.exp(front(clips[:2]).double().numpy()) - HALF.log_floor
    gains = np.exp(band_offsets(response, HALF)[0].double().numpy())[None, None, :, None]
    fast = np.log(np.maximum(power, 0) * gains + HALF.log_floor)
    difference = np.abs(fast - exact) * 10 / np.log(10)
    assert error.median_db == pytest.approx(np.quantile(difference, 0.5), rel=0.02, abs=1e-3)
    assert error.q95_db == pytest.approx(np.quantile(difference, 0.95), rel=0.02, abs=1e-3)
    frames = np.arange(65) * 250
    inside = (frames - 768 >= 0) & (frames + 768 <= 16_000)
    assert error.inner_q95_db == pytest.approx(np.quantile(difference[..., inside], 0.95), rel=0.02, abs=1e-3)


def test_who_qualifies_is_a_plain_bound() -> None:
    errors = [BandError(0.1, 0.9, 0.1, 0.5), BandError(0.1, 1.2, 0.1, 0.9), BandError(0.1, 3.0, 0.1, 2.0)]
    assert qualifying(errors).tolist() == [True, False, False]
    assert qualifying(errors, inner=True).tolist() == [True, True, False]


def test_a_roll_of_frames_is_a_roll_of_hops_but_for_the_frames_at_the_seam(clips: torch.Tensor) -> None:
    front = LogMel(HALF)
    hops = 6
    rolled = front(clips.roll(hops * HALF.hop, dims=1))
    frames = front(clips).roll(hops, dims=3)
    difference = (rolled - frames).abs().amax((0, 1, 2)) * 10 / np.log(10)
    apart = (difference > 0.05).nonzero().flatten().tolist()
    reach = -(-HALF.window // 2 // HALF.hop)
    assert set(apart) <= {*range(hops + reach), *range(65 - reach, 65)}
    assert (difference[hops + reach : 65 - reach] < 0.05).all()


def test_roll_time_gives_one_of_those_rolls() -> None:
    x = torch.rand(20, 2, 3, 9, generator=generator())
    for before, after in zip(x, roll_time(x, 2, generator(1)), strict=True):
        assert any(torch.equal(before.roll(k, dims=2), after) for k in range(-2, 3))
