from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from asc_search.audio.frontend_spec import LOGS, MEL_SCALES, FrontEnd
from asc_search.audio.frontends import FRONTENDS
from asc_search.audio.logmel import CPU_VALUES, LogMel, deltas, mel_filters
from asc_search.audio.torchaudio_shim import torchaudio


def mel_of(hz: np.ndarray, scale: str) -> np.ndarray:
    """The mel scales as published: HTK book, Slaney's Auditory Toolbox, vivo's report (equation 1), Kaldi's feature code."""
    if scale == "slaney":
        return np.where(hz < 1000, 3 * hz / 200, 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4))
    if scale == "fant":
        return 1000 / np.log(2) * np.log(1 + hz / 1000)
    return 2595 * np.log10(1 + hz / 700) if scale == "htk" else 1127 * np.log(1 + hz / 700)


def triangles(spec: FrontEnd) -> np.ndarray:
    """Mel filters (mels, bins) in float64, one by one; the edges in Hz by bisection of the scale."""
    top = spec.fmax_hz or spec.rate_hz / 2
    edges = np.linspace(
        mel_of(np.float64(spec.fmin_hz), spec.mel_scale), mel_of(np.float64(top), spec.mel_scale), spec.mels + 2
    )
    low, high = np.zeros_like(edges), np.full_like(edges, spec.rate_hz)
    for _ in range(80):
        middle = (low + high) / 2
        below = mel_of(middle, spec.mel_scale) < edges
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    hz, bins = low, np.arange(spec.n_fft // 2 + 1) * spec.rate_hz / spec.n_fft
    points, at = (edges, mel_of(bins, "kaldi")) if spec.mel_scale == "kaldi" else (hz, bins)
    filters = []
    for left, peak, right, width_hz in zip(points, points[1:], points[2:], hz[2:] - hz[:-2], strict=False):
        filters.append(np.maximum(0, np.minimum((at - left) / (peak - left), (right - at) / (right - peak))))
        filters[-1] *= 2 / width_hz if spec.mel_norm == "slaney" else 1
    return np.array(filters)


def mel_power(wave: np.ndarray, spec: FrontEnd) -> np.ndarray:
    """Mel power (mels, frames) of one waveform, frame by frame in float64."""
    wave = wave.astype(np.float64) * spec.scale
    if spec.pre_emphasis:
        wave = np.array(wave[1:]) - spec.pre_emphasis * np.array(wave[:-1])
    if spec.centre:
        wave = np.pad(wave, spec.n_fft // 2, mode="reflect")
    window = np.zeros(spec.n_fft)
    offset = (spec.n_fft - spec.window) // 2
    window[offset : offset + spec.window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.window) / spec.window)
    starts = range(0, len(wave) - spec.n_fft + 1, spec.hop)
    power = np.stack([np.abs(np.fft.rfft(wave[s : s + spec.n_fft] * window)) ** 2 for s in starts], axis=1)
    return triangles(spec) @ power


def slopes(x: np.ndarray) -> np.ndarray:
    """(x[t+1] - x[t-1] + 2 (x[t+2] - x[t-2])) / 10 along the last axis, the end frames repeated."""
    last = x.shape[-1] - 1
    at = [x[..., np.clip(np.arange(last + 1) + n, 0, last)] for n in (-2, -1, 1, 2)]
    return (at[2] - at[1] + 2 * (at[3] - at[0])) / 10


def features(wave: np.ndarray, spec: FrontEnd) -> np.ndarray:
    """The whole front end of one channel in float64: (1 or 2, mels, frames)."""
    power = mel_power(wave, spec) + spec.log_floor
    x = np.log10(power) if spec.log == "log10" else np.log(power)
    alone = (lambda x: (x - x.mean()) / x.std(ddof=1)) if spec.standardise == "sample" else (lambda x: x)
    x = alone(x)
    return np.stack([x, alone(slopes(x))] if spec.deltas else [x])


def waves(samples: int, rate: int) -> np.ndarray:
    """Noise, a chirp and near-silence, (3, samples), float32."""
    time = np.arange(samples) / rate
    noise = np.random.default_rng(0).normal(size=samples)
    return np.stack([0.1 * noise, np.sin(2 * np.pi * rate / 6 * time**2), 1e-4 * noise]).astype(np.float32)


SMALL = FrontEnd(rate_hz=16_000, window=512, hop=160, n_fft=512, mels=40, fmin_hz=60.0, fmax_hz=7000.0, log_floor=1e-8)
SPECS = {
    "baseline": FrontEnd(),
    "44100-128": FrontEnd(rate_hz=44_100, window=1764, hop=441, n_fft=2048, mels=128),
    "16000-40": SMALL,
    "8000-5": FrontEnd(rate_hz=8_000, window=333, hop=97, n_fft=512, mels=5, seconds=0.5),
    "11025": FrontEnd(rate_hz=11_025, window=500, hop=111, n_fft=512, mels=30, centre=False),
    "scaled": replace(SMALL, scale=100.0),
    "emphasised": replace(SMALL, pre_emphasis=0.97),
    "uncentred": replace(SMALL, centre=False),
    "log10": replace(SMALL, log="log10"),
    **{scale: replace(SMALL, mel_scale=scale) for scale in MEL_SCALES},
    **{f"{scale}-normed": replace(SMALL, mel_scale=scale, mel_norm="slaney") for scale in MEL_SCALES},
    "together": replace(SMALL, pre_emphasis=0.5, centre=False, log="log10", mel_scale="slaney", mel_norm="slaney"),
}
LOG_MELS = {name: spec for name, spec in FRONTENDS.items() if spec.kind == "logmel"}
KNOWN_TO_TORCHAUDIO = {name: spec for name, spec in LOG_MELS.items() if spec.mel_scale != "fant"}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_agrees_with_float64_numpy(spec: FrontEnd) -> None:
    batch = waves(spec.samples, spec.rate_hz)
    got = LogMel(spec)(torch.from_numpy(batch))
    assert got.dtype == torch.float32
    assert tuple(got.shape[1:]) == spec.shape
    # The chirp's quiet bins border on loud ones, where float32 filters and FFTs leave some of those.
    for wave, log_mel, atol in zip(batch, got.double().numpy()[:, 0], (0, 2e-6, 0), strict=True):
        power = mel_power(wave, spec) + spec.log_floor
        got_power = 10**log_mel if spec.log == "log10" else np.exp(log_mel)
        np.testing.assert_allclose(got_power, power, rtol=1e-4, atol=atol * power.max())


@pytest.mark.parametrize("spec", LOG_MELS.values(), ids=LOG_MELS)
def test_published_front_ends_agree_with_float64_numpy_to_the_last_step(spec: FrontEnd) -> None:
    spec = replace(spec, seconds=1.0)
    noise = torch.randn(2, spec.channels, spec.samples, generator=torch.Generator().manual_seed(1)) * 0.1
    got = LogMel(spec)(noise)
    assert tuple(got.shape[1:]) == spec.shape
    for wave, found in zip(noise.numpy(), got.double().numpy(), strict=True):
        by_channel = np.stack([features(channel, spec) for channel in wave])  # (channels, 1 or 2, mels, frames)
        expected = np.moveaxis(by_channel, 1, 0).reshape(found.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spec", KNOWN_TO_TORCHAUDIO.values(), ids=KNOWN_TO_TORCHAUDIO)
def test_filters_agree_with_torchaudio(spec: FrontEnd) -> None:
    spec = replace(spec, fmin_hz=40.0)
    bins, top = spec.n_fft // 2 + 1, spec.fmax_hz or spec.rate_hz / 2
    if spec.mel_scale == "kaldi":
        arguments = (spec.mels, spec.n_fft, spec.rate_hz, spec.fmin_hz, top, 100.0, -500.0, 1.0)
        expected = torch.nn.functional.pad(torchaudio().compliance.kaldi.get_mel_banks(*arguments)[0], (0, 1)).T
    else:
        norm = None if spec.mel_norm == "none" else spec.mel_norm
        expected = torchaudio().functional.melscale_fbanks(
            bins, spec.fmin_hz, top, spec.mels, spec.rate_hz, norm, spec.mel_scale
        )
    got = mel_filters(spec)
    assert got.shape == (bins, spec.mels)
    # torchaudio takes the edges in float32, to about 1e-7 of the highest mel, which moves narrow filters by a few 1e-5.
    torch.testing.assert_close(got / got.max(), expected.double() / got.max(), rtol=0, atol=5e-5)


@pytest.mark.parametrize("centre", [True, False])
def test_agrees_with_torchaudio_from_end_to_end(centre: bool) -> None:
    spec = replace(FRONTENDS["dsmn"], centre=centre, pre_emphasis=0.9, mel_scale="slaney", standardise="none")
    wave = torch.from_numpy(waves(spec.samples, spec.rate_hz))[:1]
    transforms = torchaudio().transforms
    mel = transforms.MelSpectrogram(
        spec.rate_hz,
        spec.n_fft,
        spec.window,
        spec.hop,
        n_mels=spec.mels,
        center=centre,
        norm="slaney",
        mel_scale="slaney",
    )
    log_mel = torch.log10(mel(torchaudio().functional.preemphasis(wave, 0.9)[:, 1:]) + 1e-10)
    expected = torch.stack([log_mel, transforms.ComputeDeltas(win_length=5)(log_mel)], dim=1)
    torch.testing.assert_close(LogMel(spec)(wave), expected, rtol=1e-4, atol=1e-4)


def test_deltas_of_a_ramp_a_step_and_anything() -> None:
    ramp = deltas(torch.arange(8.0).view(1, 1, 1, 8)).flatten()
    torch.testing.assert_close(ramp, torch.tensor([0.5, 0.8, 1, 1, 1, 1, 0.8, 0.5]))
    step = deltas(torch.tensor([0.0, 0, 0, 1, 1, 1]).view(1, 1, 1, 6)).flatten()
    torch.testing.assert_close(step, torch.tensor([0.0, 0.2, 0.3, 0.3, 0.2, 0]))
    for frames in (1, 2, 3, 50):
        x = torch.randn(2, 3, 4, frames)
        np.testing.assert_allclose(deltas(x).numpy(), slopes(x.double().numpy()), atol=1e-6)
        assert torch.allclose(deltas(x), torchaudio().functional.compute_deltas(x), atol=1e-6)


def test_baseline_front_end_gives_256_by_65() -> None:
    spec = FrontEnd(rate_hz=32_000, window=3072, hop=500, n_fft=4096, mels=256)
    assert LogMel(spec)(torch.zeros(2, 32_000)).shape == (2, 1, 256, 65)
    assert spec.shape == (1, 256, 65)


@pytest.mark.parametrize("samples", [16_000, 31_999, 32_001, 32_499, 32_500])
def test_frames_are_one_plus_samples_over_hop(samples: int) -> None:
    assert LogMel(FrontEnd())(torch.zeros(1, samples)).shape[-1] == 1 + samples // 500


@pytest.mark.parametrize("samples", [2048, 2559, 2560, 15_999, 16_000])
def test_uncentred_frames_are_those_that_fit_whole(samples: int) -> None:
    spec = FRONTENDS["serfr"]
    assert LogMel(spec)(torch.zeros(1, samples)).shape[-1] == 1 + (samples - 2048) // 512 == spec.frames(samples)


@pytest.mark.parametrize("log", LOGS)
def test_silence_is_the_log_of_the_floor(log: str) -> None:
    spec = FrontEnd(log_floor=1e-3, log=log)
    got = LogMel(spec)(torch.zeros(1, 32_000))
    assert torch.allclose(got, torch.tensor({"ln": np.log, "log10": np.log10}[log](1e-3), dtype=torch.float32))
    assert torch.allclose(got, torch.tensor(spec.fill))


def test_silence_standardised_per_sample_stays_near_zero() -> None:
    spec = FRONTENDS["dsmn"]
    assert LogMel(spec)(torch.zeros(1, 44_100)).abs().max() < 0.01
    assert spec.fill == 0


def test_a_waveform_gives_the_same_in_any_batch() -> None:
    batch = torch.from_numpy(waves(32_000, 32_000)).repeat(3, 1)
    assert CPU_VALUES < 9 * 65 * 4096, "the batch is meant to be taken in parts"
    module = LogMel(FrontEnd())
    whole = module(batch)
    assert whole.shape[0] == 9
    for index in range(9):
        torch.testing.assert_close(whole[index], module(batch[index : index + 1])[0], rtol=0, atol=1e-4)


def test_channels_are_log_mels_first_then_deltas() -> None:
    spec = replace(SMALL, deltas=True)
    stereo = torch.from_numpy(waves(spec.samples, spec.rate_hz))[:2]
    alone = LogMel(spec)(stereo)
    together = LogMel(replace(spec, channels=2))(stereo[None])
    expected = torch.stack([alone[0, 0], alone[1, 0], alone[0, 1], alone[1, 1]])
    torch.testing.assert_close(together[0], expected, rtol=1e-5, atol=1e-5)


def test_bare_is_what_deltas_and_standardisation_are_taken_of() -> None:
    spec = replace(FRONTENDS["dsmn"], seconds=0.5)
    wave = torch.from_numpy(waves(spec.samples, spec.rate_hz))[:1]
    bare = LogMel(replace(spec, deltas=False, standardise="none"))(wave)
    torch.testing.assert_close(LogMel(spec).bare(wave), bare, rtol=0, atol=0)


@pytest.mark.parametrize("spec", [FrontEnd(), replace(FRONTENDS["dsmn"], pre_emphasis=0.97)], ids=["baseline", "dsmn"])
def test_float32_under_autocast_and_for_half_input(spec: FrontEnd) -> None:
    batch = torch.from_numpy(waves(spec.samples, spec.rate_hz))
    module = LogMel(spec)
    expected = module(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(module(batch), expected)
        assert torch.equal(module.bare(batch), module.bare(batch).float())
    assert module(batch.half()).dtype == torch.float32
    assert not module.state_dict()
