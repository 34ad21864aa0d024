"""Spectrum correction: the differences it learns, from training clips alone, and whom it corrects."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asc_search.audio.device_ir import convolved, generated_responses
from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.logmel import LogMel
from asc_search.audio.spectrum_correction import correct_spectrum, correction_bank


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("log", "base"), [("ln", np.e), ("log10", 10.0)])
def test_differences_are_those_of_mean_power(log: str, base: float) -> None:
    frontend = FrontEnd(log=log, log_floor=1e-5)
    power = np.random.default_rng(0).gamma(0.5, 1.0, size=(5, 7, 11))
    log_mels = torch.from_numpy(np.log(power + 1e-5) / np.log(base)).float()
    pairs = np.array([[0, 3], [0, 1], [2, 1]])
    mean = power.mean(2)
    for eps in (None, (1e-6, 1e-10)):
        eps_a, eps_x = eps or (1e-5, 1e-5)
        expected = (np.log(mean[pairs[:, 1]] + eps_x) - np.log(mean[pairs[:, 0]] + eps_a)) / np.log(base)
        got = correction_bank(log_mels, pairs, np.array([True] * 4 + [False]), frontend, eps)
        np.testing.assert_allclose(got.numpy(), expected, atol=1e-4)


def test_channels_share_the_mean_of_their_power() -> None:
    power = np.random.default_rng(1).gamma(0.5, 1.0, size=(2, 3, 7, 11))
    log_mels = np.log(power + 1e-5).astype(np.float32)
    mean = power.mean((1, 3))
    expected = np.log(mean[1] + 1e-5) - np.log(mean[0] + 1e-5)
    got = correction_bank(log_mels, np.array([[0, 1]]), np.ones(2, bool), FrontEnd())
    np.testing.assert_allclose(got[0].numpy(), expected, atol=1e-4)


def test_clips_outside_the_training_part_never_enter_the_bank() -> None:
    log_mels = torch.zeros(3, 4, 5)
    with pytest.raises(ValueError, match="outside the training part"):
        correction_bank(log_mels, np.array([[0, 1], [0, 2]]), np.array([True, True, False]), FrontEnd())
    with pytest.raises(ValueError, match="no parallel recordings"):
        correction_bank(log_mels, np.zeros((0, 2), int), np.array([True] * 3), FrontEnd())


def test_a_corrected_recording_sounds_like_the_other_device() -> None:
    frontend = FrontEnd(rate_hz=16_000, window=1024, hop=256, n_fft=1024, mels=32)
    scene = torch.randn(2, 16_000, generator=generator())
    device = generated_responses(1, 16_000, 128, 6.0, generator(1)).expand(2, -1)
    log_mels = LogMel(frontend).bare(torch.cat([scene, convolved(scene, device)]))
    bank = correction_bank(log_mels[:, 0], np.array([[0, 2]]), np.ones(4, bool), frontend)
    corrected = correct_spectrum(log_mels[1:2], bank, generator(), 1.0)
    before = (log_mels[1] - log_mels[3]).mean(2).abs().mean()
    after = (corrected[0] - log_mels[3]).mean(2).abs().mean()
    assert after < 0.25 * before


def test_only_eligible_samples_are_shifted_with_the_probability_and_constantly_over_time() -> None:
    x = torch.randn(3000, 1, 6, 4, generator=generator())
    bank = torch.randn(5, 6, generator=generator(1))
    eligible = torch.arange(3000) % 2 == 0
    added = correct_spectrum(x, bank, generator(2), 12 / 13, eligible) - x
    assert not added[~eligible].any()
    shift = added[eligible][:, 0]
    torch.testing.assert_close(shift, shift[..., :1].expand_as(shift), rtol=0, atol=1e-5)
    nearest = torch.cdist(shift[..., 0], torch.cat([bank, torch.zeros(1, 6)])).min(1)
    assert nearest.values.max() < 1e-2
    share = nearest.indices.bincount(minlength=6) / len(shift)
    assert abs(share[5] - 1 / 13) < 0.025 and (share[:5] - 12 / 65).abs().max() < 0.04


def test_one_draw_for_the_batch_is_all_or_nothing() -> None:
    x = torch.zeros(4, 1, 3, 2)
    bank = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    batches = [correct_spectrum(x, bank, generator(seed), 0.5, one_for_batch=True) for seed in range(300)]
    assert all(torch.equal(batch, batch[:1].expand_as(batch)) for batch in batches)
    first = torch.stack([batch[0, 0, 0, 0] for batch in batches])
    assert set(first.tolist()) == {0.0, 1.0, 4.0} and abs((first == 0).float().mean() - 0.5) < 0.1


def test_probability_zero_is_the_identity_and_equal_seeds_are_equal() -> None:
    x, bank = torch.randn(8, 1, 6, 4, generator=generator()), torch.randn(5, 6, generator=generator(1))
    assert correct_spectrum(x, bank, generator(), 0.0) is x
    assert torch.equal(correct_spectrum(x, bank, generator(3), 0.5), correct_spectrum(x, bank, generator(3), 0.5))
