from __future__ import annotations

import numpy as np
import pytest
import torch

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.logmel import LogMel


def htk_filters(rate: int, n_fft: int, mels: int, low: float, high: float) -> np.ndarray:
    """Triangles between mels + 2 points equally spaced on the HTK scale, (mels, bins), float64."""
    edges = np.linspace(2595 * np.log10(1 + low / 700), 2595 * np.log10(1 + high / 700), mels + 2)
    hz = 700 * (10 ** (edges / 2595) - 1)
    bins = np.arange(n_fft // 2 + 1) * rate / n_fft
    rising = (bins - hz[:-2, None]) / np.diff(hz)[:-1, None]
    falling = (hz[2:, None] - bins) / np.diff(hz)[1:, None]
    return np.maximum(0, np.minimum(rising, falling))


def mel_power(wave: np.ndarray, spec: FrontEnd) -> np.ndarray:
    """Mel power (mels, frames) of one waveform, frame by frame in float64."""
    half = spec.n_fft // 2
    padded = np.pad(wave.astype(np.float64), half, mode="reflect")
    window = np.zeros(spec.n_fft)
    offset = (spec.n_fft - spec.window) // 2
    window[offset : offset + spec.window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.window) / spec.window)
    starts = np.arange(1 + len(wave) // spec.hop) * spec.hop
    power = np.stack([np.abs(np.fft.rfft(padded[s : s + spec.n_fft] * window)) ** 2 for s in starts], axis=1)
    return htk_filters(spec.rate_hz, spec.n_fft, spec.mels, spec.fmin_hz, spec.fmax_hz or spec.rate_hz / 2) @ power


def waves(samples: int, rate: int) -> np.ndarray:
    """Noise, a chirp and near-silence, (3, samples), float32."""
    time = np.arange(samples) / rate
    noise = np.random.default_rng(0).normal(size=samples)
    return np.stack([0.1 * noise, np.sin(2 * np.pi * rate / 6 * time**2), 1e-4 * noise]).astype(np.float32)


SPECS = [
    FrontEnd(),
    FrontEnd(rate_hz=44_100, window=1764, hop=441, n_fft=2048, mels=128),
    FrontEnd(rate_hz=16_000, window=512, hop=160, n_fft=512, mels=40, fmin_hz=60.0, fmax_hz=7000.0, log_floor=1e-8),
    FrontEnd(rate_hz=8_000, window=333, hop=97, n_fft=512, mels=5, seconds=0.5),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.rate_hz}-{spec.n_fft}-{spec.mels}")
def test_agrees_with_float64_numpy(spec: FrontEnd) -> None:
    batch = waves(spec.samples, spec.rate_hz)
    got = LogMel(spec)(torch.from_numpy(batch))
    assert got.dtype == torch.float32
    assert tuple(got.shape[1:]) == spec.shape
    # The chirp's quiet bins border on loud ones, where float32 filters and FFTs leave some of those.
    for wave, log_mel, atol in zip(batch, got.double().numpy()[:, 0], (0, 2e-6, 0), strict=True):
        power = mel_power(wave, spec) + spec.log_floor
        np.testing.assert_allclose(np.exp(log_mel), power, rtol=1e-4, atol=atol * power.max())


def test_baseline_front_end_gives_256_by_65() -> None:
    spec = FrontEnd(rate_hz=32_000, window=3072, hop=500, n_fft=4096, mels=256)
    assert LogMel(spec)(torch.zeros(2, 32_000)).shape == (2, 1, 256, 65)
    assert spec.shape == (1, 256, 65)


@pytest.mark.parametrize("samples", [16_000, 31_999, 32_001, 32_499, 32_500])
def test_frames_are_one_plus_samples_over_hop(samples: int) -> None:
    assert LogMel(FrontEnd())(torch.zeros(1, samples)).shape[-1] == 1 + samples // 500


def test_silence_is_the_log_of_the_floor() -> None:
    got = LogMel(FrontEnd(log_floor=1e-3))(torch.zeros(1, 32_000))
    assert torch.allclose(got, torch.tensor(np.log(1e-3), dtype=torch.float32))


def test_a_waveform_gives_the_same_in_any_batch() -> None:
    batch = torch.from_numpy(waves(32_000, 32_000)).repeat(3, 1)
    module = LogMel(FrontEnd())
    whole = module(batch)
    assert whole.shape[0] == 9
    for index in range(9):
        torch.testing.assert_close(whole[index], module(batch[index : index + 1])[0], rtol=0, atol=1e-4)


def test_float32_under_autocast_and_for_half_input() -> None:
    batch = torch.from_numpy(waves(32_000, 32_000))
    module = LogMel(FrontEnd())
    expected = module(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(module(batch), expected)
    assert module(batch.half()).dtype == torch.float32
    assert not module.state_dict()
