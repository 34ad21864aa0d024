from __future__ import annotations

import numpy as np
import pytest
import torch

from asc_search.audio.kaldi_mel import TaggerFrontEnd
from asc_search.audio.torchaudio_shim import torchaudio


def reference(wave: np.ndarray) -> np.ndarray:
    """The tagger's mel power (128, frames) in float64 from the published description of its front end."""
    wave = wave.astype(np.float64)
    padded = np.pad(wave[1:] - 0.97 * wave[:-1], 512, mode="reflect")
    window = np.zeros(1024)
    window[112:912] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 799)
    starts = np.arange(1 + (len(wave) - 1) // 320) * 320
    power = np.stack([np.abs(np.fft.rfft(padded[s : s + 1024] * window)) ** 2 for s in starts], axis=1)
    # Kaldi: triangles that are straight on the mel axis (not in Hz), the Nyquist bin left out.
    step = 1127 * np.log(1 + 15_000 / 700) / 129
    position = 1127 * np.log(1 + np.arange(513) * 32_000 / 1024 / 700) / step
    filters = np.maximum(0, 1 - np.abs(position - np.arange(1, 129)[:, None]))
    filters[:, 512] = 0
    return filters @ power


def test_agrees_with_float64_numpy() -> None:
    time = np.arange(32_000) / 32_000
    noise = 0.1 * np.random.default_rng(1).normal(size=time.size)
    batch = np.stack([noise, np.sin(2 * np.pi * 7_000 * time**2), 1e-3 * noise]).astype(np.float32)
    got = TaggerFrontEnd()(torch.from_numpy(batch))
    assert got.dtype == torch.float32
    assert got.shape == (3, 1, 128, 100)
    # A float32 FFT leaves in quiet bins a trace of the loudest, most where the two are neighbours, as in the chirp: how
    # much depends on the machine. The noise's quietest bins lie 63 dB below its loudest.
    for wave, value, atol in zip(batch, got.double().numpy()[:, 0], (5e-10, 2e-6, 0), strict=True):
        power = reference(wave) + 1e-5
        np.testing.assert_allclose(np.exp(5 * value - 4.5), power, rtol=1e-4, atol=atol * power.max())


def test_a_frame_every_ten_milliseconds_also_under_autocast() -> None:
    module = TaggerFrontEnd()
    batch = torch.sin(torch.arange(160_000) / 7).repeat(2, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = module(batch)
    assert got.shape == (2, 1, 128, 500)
    assert torch.equal(got, module(batch))
    assert not module.state_dict()


@pytest.mark.filterwarnings("ignore:.*autocast:FutureWarning", "ignore:stft with return_complex")
@pytest.mark.parametrize("seconds", [1, 10])
def test_agrees_with_the_front_end_that_passt_is_published_with(seconds: int) -> None:
    pytest.importorskip("hear21passt", reason="needs hear21passt (pip install 'asc-search[teachers]')")
    torchaudio()
    preprocess = pytest.importorskip("hear21passt.models.preprocess")
    # The settings of hear21passt.base.get_basic_model; where fmax is not given, they come to 15,000 Hz.
    theirs = preprocess.AugmentMelSTFT(fmax=15_000, fmin_aug_range=10, fmax_aug_range=2000).eval()
    time = torch.arange(32_000 * seconds) / 32_000
    noise = 0.1 * torch.randn(len(time), generator=torch.Generator().manual_seed(1))
    waves = torch.stack([noise, 0.5 * torch.sin(2 * torch.pi * 440 * time) + 1e-3 * noise, torch.zeros_like(time)])
    torch.testing.assert_close(TaggerFrontEnd()(waves)[:, 0], theirs(waves), rtol=0, atol=1e-4)
