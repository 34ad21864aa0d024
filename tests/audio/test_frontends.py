from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.frontends import FRONTENDS, RawWave, front_end
from asc_search.audio.logmel import LogMel
from asc_search.audio.standardise import Standardise
from asc_search.errors import AscSearchError
from asc_search.nets.systems import SYSTEMS

# Table 3.0: on 1 s, Seoul on 10 s; (channel, freq, time).
SHAPES = {
    "dcase2024-baseline": (1, 256, 65),
    "cp-mobile-2023": (1, 256, 64),
    "cp-resnet-2022": (1, 256, 44),
    "serfr": (1, 256, 28),
    "bcres2": (1, 256, 32),
    "dsmn": (2, 256, 44),
    "seoul-mel": (2, 256, 248),
    "seoul-raw": (2, 1, 479_999),
}
NETWORKS = {"serfr": "serfr-32-a", "bcres2": "bcres2-24", "dsmn": "dsmn-1"}


def noise(*shape: int) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_those_of_the_reports_and_of_their_networks(name: str) -> None:
    spec = FRONTENDS[name]
    assert spec.shape == SHAPES[name]
    assert tuple(front_end(spec)(noise(1, spec.channels, spec.samples)).shape) == (1, *spec.shape)
    assert SYSTEMS[NETWORKS.get(name, name)]().input == spec.shape


def test_every_published_front_end_is_listed() -> None:
    assert set(FRONTENDS) == set(SHAPES)


@pytest.mark.parametrize(("name", "shape"), [("seoul-mel", (2, 256, 23)), ("seoul-raw", (2, 1, 47_999))])
def test_one_second_of_the_ten_second_front_ends(name: str, shape: tuple[int, ...]) -> None:
    assert replace(FRONTENDS[name], seconds=1.0).shape == shape


def test_ten_seconds_of_seoul_with_and_without_centring() -> None:
    plain = replace(FRONTENDS["seoul-mel"], pre_emphasis=0.0)
    assert plain.shape[2] == 248
    assert replace(plain, centre=True).shape[2] == 251


def test_centring_would_give_serfr_32_frames() -> None:
    assert replace(FRONTENDS["serfr"], centre=True).shape == (1, 256, 32)


@pytest.mark.parametrize("spec", FRONTENDS.values(), ids=FRONTENDS)
def test_json_and_back(spec: FrontEnd) -> None:
    assert FrontEnd.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_json_of_before_there_were_options_is_a_baseline_log_mel() -> None:
    old = {
        "rate_hz": 16_000,
        "window": 512,
        "hop": 160,
        "n_fft": 512,
        "mels": 40,
        "fmin_hz": 60.0,
        "fmax_hz": 7000.0,
        "log_floor": 1e-8,
        "seconds": 2.0,
    }
    spec = FrontEnd.from_json(old)
    assert spec == FrontEnd(16_000, 512, 160, 512, 40, 60.0, 7000.0, 1e-8, 2.0)
    assert spec.shape == (1, 40, 201)
    assert isinstance(front_end(spec), LogMel)
    assert {key: spec.to_json()[key] for key in old} == old


def test_raw_wave_is_scaled_and_emphasised() -> None:
    spec = FrontEnd(kind="raw", rate_hz=8_000, scale=32_000.0, pre_emphasis=0.97, seconds=0.5)
    wave = noise(3, spec.samples)
    got = front_end(spec)(wave)
    assert tuple(got.shape) == (3, *spec.shape) == (3, 1, 1, 3999)
    scaled = 32_000 * wave.double().numpy()
    expected = scaled[:, 1:] - 0.97 * scaled[:, :-1]
    np.testing.assert_allclose(got[:, 0, 0].double().numpy(), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert spec.fill == 0


def test_raw_wave_without_options_is_the_waveform() -> None:
    wave = noise(2, 1000)
    assert torch.equal(RawWave(FrontEnd(kind="raw"))(wave), wave[:, None, None])
    assert torch.equal(RawWave(FrontEnd(kind="raw", channels=2))(wave[None]), wave[None, :, None])
    assert RawWave(FrontEnd(kind="raw"))(wave.half()).dtype == torch.float32


def test_raw_wave_standardised_per_sample_and_under_autocast() -> None:
    module = RawWave(FrontEnd(kind="raw", channels=2, standardise="sample"))
    wave = noise(3, 2, 4000) + 0.5
    got = module(wave)
    alone = wave.double().numpy()
    expected = (alone - alone.mean(2, keepdims=True)) / alone.std(2, ddof=1, keepdims=True)
    np.testing.assert_allclose(got[:, :, 0].double().numpy(), expected, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(module(wave), got)


@pytest.mark.parametrize(("per", "axes"), [("frequency", (0, 3)), ("global", (0, 2, 3))])
def test_statistics_of_uneven_batches_are_those_of_all_values(per: str, axes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    levels, spreads = rng.normal(-11, 3, (1, 2, 5, 1)), rng.uniform(0.1, 4, (1, 2, 5, 1))
    values = (levels + spreads * rng.normal(size=(23, 2, 5, 7))).astype(np.float32)
    batches = [torch.from_numpy(part) for part in np.split(values, [10, 11, 20])]
    fitted = Standardise.fit(batches, FrontEnd(standardise=per))
    exact = values.astype(np.float64)
    mean, deviation = exact.mean(axes, keepdims=True), exact.std(axes, keepdims=True)
    assert tuple(fitted.mean.shape) == ((2, 5, 1) if per == "frequency" else (2, 1, 1))
    np.testing.assert_allclose(fitted.mean.numpy(), mean[0], rtol=1e-5)
    np.testing.assert_allclose(fitted.deviation.numpy(), deviation[0], rtol=1e-5)
    x = torch.from_numpy(values)
    np.testing.assert_allclose(fitted(x).numpy(), (exact - mean) / deviation, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(fitted(x), fitted(x).float())
    assert fitted(x.half()).dtype == torch.float32


def test_statistics_are_exact_far_from_zero() -> None:
    values = 1e4 + noise(8, 1, 3, 50).double()
    fitted = Standardise.fit(values.split(3), FrontEnd(standardise="global"))
    np.testing.assert_allclose(fitted.deviation.item(), values.numpy().std(), rtol=1e-5)


def test_statistics_travel_as_buffers() -> None:
    fitted = Standardise.fit([noise(4, 2, 8, 10)], FrontEnd(standardise="frequency"))
    assert not list(fitted.parameters())
    restored = Standardise(**fitted.state_dict())
    x = noise(1, 2, 8, 6)
    assert torch.equal(restored(x), fitted(x))


def test_a_constant_bin_gives_zeros() -> None:
    silent = torch.full((2, 1, 4, 10), -11.5)
    assert torch.equal(Standardise.fit([silent], FrontEnd(standardise="frequency"))(silent), torch.zeros_like(silent))


def test_no_windows_is_a_clear_error() -> None:
    with pytest.raises(AscSearchError, match="no windows"):
        Standardise.fit([], FrontEnd(standardise="global"))
