"""Device responses: what is read or generated, and that a waveform is convolved as SciPy does it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import fftconvolve
from support import SHARED

from asc_search.audio.device_ir import apply_responses, convolved, generated_responses, read_responses
from asc_search.data.audio_io import read_mono
from asc_search.errors import DataError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(4, 1000), (4, 2, 777)])
def test_convolution_is_scipys_cut_to_the_length(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, responses = rng.normal(size=shape), rng.normal(size=(4, 120))
    got = convolved(torch.from_numpy(x), torch.from_numpy(responses)).numpy()
    rows = responses if len(shape) == 2 else responses[:, None]
    expected = fftconvolve(x, np.broadcast_to(rows, (*shape[:-1], 120)), axes=-1)[..., : shape[-1]]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)
    ranged = convolved(torch.from_numpy(x), torch.from_numpy(responses), "range").numpy()
    np.testing.assert_allclose(
        ranged, expected * np.ptp(x, -1, keepdims=True) / np.ptp(expected, -1, keepdims=True), atol=1e-4
    )
    np.testing.assert_allclose(np.ptp(ranged, -1), np.ptp(x, -1), rtol=1e-4)


def test_scaling_has_two_names_and_silence_stays_finite() -> None:
    with pytest.raises(ValueError, match="none, range"):
        convolved(torch.zeros(1, 8), torch.ones(1, 2), "peak")
    assert torch.equal(convolved(torch.zeros(2, 64), torch.ones(2, 4), "range"), torch.zeros(2, 64))


def test_only_eligible_samples_are_heard_through_a_response_with_the_probability() -> None:
    x = torch.randn(3000, 32, generator=generator())
    responses = torch.stack([2.0 * torch.eye(1, 5)[0], 3.0 * torch.eye(1, 5)[0]])
    eligible = torch.arange(3000) % 3 == 0
    out = apply_responses(x, responses, generator(1), 0.6, eligible)
    changed = (out != x).any(1)
    assert not changed[~eligible].any()
    assert abs(changed[eligible].float().mean() - 0.6) < 0.05
    factor = (out / x).median(1).values[changed]
    assert abs((factor > 2.5).float().mean() - 0.5) < 0.07 and set(factor.round().tolist()) == {2.0, 3.0}
    everyone = apply_responses(x, responses, generator(1), 0.6)
    assert torch.equal(everyone[eligible], out[eligible])
    assert apply_responses(x, responses, generator(1), 0.0) is x
    assert torch.equal(out, apply_responses(x, responses, generator(1), 0.6, eligible))


def test_generated_responses_have_unit_energy_the_wanted_spread_and_minimum_phase() -> None:
    responses = generated_responses(40, 32_000, 1024, 6.0, generator()).double().numpy()
    np.testing.assert_allclose((responses**2).sum(1), 1, rtol=1e-5)
    n_fft = 1 << 16
    spectra = np.abs(np.fft.rfft(responses, n_fft))
    level_db = 20 * np.log10(spectra[:, [400, 1000, 2500, 6000, 15000]])
    assert 3.5 < level_db.std(0).mean() < 7.5
    slope_db = np.abs(np.diff(20 * np.log10(spectra[:, 400:]), axis=1))
    assert slope_db.max() < 1.0
    cepstrum = np.fft.irfft(np.log(spectra), n_fft)
    fold = np.r_[1.0, np.full(n_fft // 2 - 1, 2.0), 1.0, np.zeros(n_fft // 2 - 1)]
    minimum = np.fft.irfft(np.exp(np.fft.rfft(cepstrum * fold)), n_fft)[:, :1024]
    np.testing.assert_allclose(minimum, responses, atol=1e-2)


def test_generated_responses_without_deviation_are_transparent_and_seeded() -> None:
    flat = generated_responses(2, 16_000, 64, 0.0, generator())
    torch.testing.assert_close(flat, torch.eye(1, 64).expand(2, -1), rtol=0, atol=1e-6)
    first, again = (generated_responses(3, 16_000, 256, 5.0, generator(7)) for _ in range(2))
    assert torch.equal(first, again)


def test_a_folder_is_read_by_name_resampled_cut_and_padded(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "b.wav", np.r_[0.5, np.zeros(9)], 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "A.WAV", np.full(40, 0.25), 16_000, subtype="FLOAT")
    (tmp_path / "notice.txt").write_text("no audio")
    responses, names = read_responses(tmp_path, 16_000, 20, read_mono)
    assert names == ["A", "b"]
    np.testing.assert_array_equal(responses.numpy(), np.stack([np.full(20, 0.25), np.r_[0.5, np.zeros(19)]]))
    halved, _ = read_responses(tmp_path, 8_000, 30, read_mono)
    assert halved[0, :20].min() > 0.15 and not halved[0, 20:].any()


def test_a_bad_folder_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        read_responses(tmp_path / "none", 16_000, 20, read_mono)
    with pytest.raises(DataError, match="has no wav files"):
        read_responses(tmp_path, 16_000, 20, read_mono)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "silent.wav", np.r_[np.zeros(50), 1.0], 16_000)
    with pytest.raises(DataError) as caught:
        read_responses(tmp_path, 16_000, 20, read_mono)
    assert "broken.wav: cannot be read as audio" in str(caught.value)
    assert "silent.wav: is silent over its first 20 samples" in str(caught.value)


def test_the_microphones_of_micirp_are_read() -> None:
    folder = SHARED / "data" / "mic_irs"
    if not folder.is_dir():
        pytest.skip("the MicIRP responses are not here")
    responses, names = read_responses(folder, 32_000, 1024, read_mono)
    assert responses.shape == (66, 1024) and len(set(names)) == 66
    whole, _ = read_responses(folder, 32_000, 16_000, read_mono)
    energy = whole.square().sum(1)
    assert ((responses.square().sum(1) / energy) > 0.99).all()
