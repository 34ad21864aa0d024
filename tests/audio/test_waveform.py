"""Waveform augmentations move, stretch and scale as they say, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest, uniform

from asc_search.audio.torchaudio_shim import torchaudio
from asc_search.audio.waveform import STRETCH_HOP, STRETCH_N_FFT, WaveformAugment, gain, roll_samples, stretch_time

RATE_HZ = 16_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("shape", [(60, 11), (60, 2, 11)])
def test_roll_is_numpys_roll_by_every_number_of_samples_allowed(wrap: bool, shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, generator=generator()) + 1
    moved = roll_samples(x, 3, generator(1), wrap=wrap)
    seen = set()
    for before, after in zip(x.numpy(), moved.numpy(), strict=True):
        matches = [k for k in range(-3, 4) if np.array_equal(shifted(before, k, wrap), after)]
        assert len(matches) == 1
        seen.add(matches[0])
    assert seen == set(range(-3, 4))


def shifted(x: np.ndarray, k: int, wrap: bool) -> np.ndarray:
    rolled = np.roll(x, k, axis=-1)
    if not wrap and k:
        rolled[..., slice(0, k) if k > 0 else slice(k, None)] = 0
    return rolled


def test_a_roll_by_the_whole_clip_starts_anywhere() -> None:
    x = torch.arange(1000.0).repeat(3000, 1)
    first = roll_samples(x, 5000, generator())[:, 0].numpy()
    assert kstest(first / 1000, "uniform").pvalue > 0.01


def test_probability_is_the_share_of_samples_changed() -> None:
    x = torch.rand(4000, 50, generator=generator())
    for augment in (
        lambda g: roll_samples(x, 20, g, 0.3),
        lambda g: gain(x, 6.0, g, 0.3),
    ):
        share = (augment(generator(2)) != x).any(1).float().mean()
        assert abs(share - 0.3) < 0.04


def test_gain_is_uniform_in_db() -> None:
    x = torch.rand(3000, 2, 4, generator=generator()) + 0.1
    ratio = gain(x, 9.0, generator(1)) / x
    assert torch.allclose(ratio, ratio[:, :1, :1].expand_as(ratio))
    assert kstest(20 * np.log10(ratio[:, 0, 0].numpy()), uniform(-9, 18).cdf).pvalue > 0.01


def test_stretch_equals_the_phase_vocoder_of_torchaudio() -> None:
    x = 0.1 * torch.randn(2, RATE_HZ, generator=generator())
    for rate in (0.8, 1.25):
        window = torch.hann_window(STRETCH_N_FFT)
        spectrum = torch.stft(x.double(), STRETCH_N_FFT, STRETCH_HOP, window=window.double(), return_complex=True)
        advance = torch.linspace(0, np.pi * STRETCH_HOP, spectrum.shape[1], dtype=torch.float64)[:, None]
        vocoded = torchaudio().functional.phase_vocoder(spectrum, rate, advance)
        expected = torch.istft(vocoded, STRETCH_N_FFT, STRETCH_HOP, window=window.double())
        got = stretch_time(x, rate, rate, generator())
        assert got.shape == x.shape
        same = min(expected.shape[1], x.shape[1]) - STRETCH_N_FFT
        torch.testing.assert_close(got[:, :same].double(), expected[:, :same], rtol=0, atol=2e-3 * float(x.abs().max()))


def test_stretch_keeps_the_pitch_and_moves_the_beats() -> None:
    time = torch.arange(2 * RATE_HZ) / RATE_HZ
    beats = torch.zeros_like(time)
    beats[4000::8000] = 1.0
    tone = torch.sin(2 * np.pi * 1000 * time)
    out = stretch_time(torch.stack([tone, beats])[None], 1.25, 1.25, generator())[0]
    spectrum = torch.fft.rfft(out[0, 4000:20000] * torch.hann_window(16000)).abs()
    assert abs(int(spectrum.argmax()) - 1000) <= 2
    loudness = out[1].unfold(0, 64, 64).square().sum(1)
    peaks = [4000 + 8000 * k for k in range(3)]
    for peak in peaks:
        expected = peak / 1.25 / 64
        near = loudness[int(expected) - 40 : int(expected) + 40]
        assert abs(int(near.argmax()) - 40) <= 6


def test_stretch_at_rate_one_is_the_identity_and_silence_stays_silent() -> None:
    x = 0.1 * torch.randn(3, 2, RATE_HZ, generator=generator())
    torch.testing.assert_close(stretch_time(x, 1.0, 1.0 + 1e-12, generator()), x, rtol=0, atol=1e-4)
    assert stretch_time(x, 1.0, 1.0, generator()) is x
    assert torch.equal(stretch_time(torch.zeros(2, 4000), 0.8, 1.2, generator()), torch.zeros(2, 4000))


def test_rates_follow_their_range_and_probability_leaves_samples_alone() -> None:
    tone = torch.sin(2 * np.pi * 440 * torch.arange(RATE_HZ) / RATE_HZ).repeat(40, 1)
    out = stretch_time(tone, 0.7, 1.3, generator(), probability=0.5)
    assert 8 < int((out == tone).all(1).sum()) < 32


def test_the_defaults_change_nothing_and_equal_seeds_give_equal_batches() -> None:
    x = 0.1 * torch.randn(6, 4000, generator=generator())
    responses = torch.randn(3, 50, generator=generator(1))
    assert torch.equal(WaveformAugment().apply(x, generator(), RATE_HZ, responses), x)
    everything = WaveformAugment(0.5, "range", 0.8, 1.2, 0.5, 0.1, 0.7, 0.02, 0.5, 6.0, 0.8)
    first, again = (everything.apply(x, generator(3), RATE_HZ, responses) for _ in range(2))
    assert torch.equal(first, again) and first.shape == x.shape and torch.isfinite(first).all()
    assert not torch.equal(first, everything.apply(x, generator(4), RATE_HZ, responses))
