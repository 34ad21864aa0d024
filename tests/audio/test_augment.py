"""Augmentations keep what they promise."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import beta, kstest

from asc_search.audio.augment import Mix, draw_mix, freq_mixstyle, mask_freq, mixed, roll_time


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_roll_moves_each_sample_by_whole_frames_only() -> None:
    x = torch.arange(12.0).repeat(40, 1, 3, 1)
    rolled = roll_time(x, 3, generator())
    shifts = set()
    for before, after in zip(x.numpy(), rolled.numpy(), strict=True):
        matches = [k for k in range(-3, 4) if np.array_equal(np.roll(before, k, axis=2), after)]
        assert len(matches) == 1
        shifts.add(matches[0])
    assert shifts == set(range(-3, 4))


def test_frequency_mask_is_one_band_no_wider_than_asked() -> None:
    x = torch.zeros(200, 1, 40, 5)
    masked = mask_freq(x, 8, -11.5, generator())
    widths = (masked[:, 0, :, 0] == -11.5).sum(1)
    assert widths.max() == 8 and widths.min() <= 1
    edges = torch.diff((masked[:, 0, :, 0] == -11.5).int(), dim=1).abs().sum(1)
    assert edges.max() <= 2
    assert torch.equal(masked, masked[..., :1].expand_as(masked))


def test_mixup_lambda_follows_its_beta_distribution_and_order_is_a_permutation() -> None:
    mix = draw_mix(4000, 0.3, generator())
    assert mix is not None
    assert kstest(mix.lam.numpy(), beta(0.3, 0.3).cdf).pvalue > 0.01
    assert sorted(mix.order.tolist()) == list(range(4000))
    assert draw_mix(4, 0.0, generator()) is None


def test_mixed_is_the_convex_combination() -> None:
    rng = np.random.default_rng(0)
    values, lam, order = rng.normal(size=(5, 2, 3)), rng.random(5), rng.permutation(5)
    expected = lam[:, None, None] * values + (1 - lam[:, None, None]) * values[order]
    got = mixed(torch.from_numpy(values), Mix(torch.from_numpy(lam), torch.from_numpy(order)))
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)


def test_mixstyle_gives_each_bin_statistics_between_two_samples() -> None:
    scale = torch.tensor([1.0, 4.0]).repeat(8)[:, None, None, None]
    x = torch.randn(16, 1, 6, 50, generator=generator()) * scale + 3 * scale
    out = freq_mixstyle(x, 1.0, 0.3, generator(1))
    means, spread = x.mean((1, 3)), x.std((1, 3))
    assert (out.mean((1, 3)) <= means.max(0).values + 1e-3).all() and (
        out.mean((1, 3)) >= means.min(0).values - 1e-3
    ).all()
    assert (out.std((1, 3)) <= spread.max(0).values + 1e-3).all()
    shape_before = (x - x.mean(3, keepdim=True)) / x.std(3, keepdim=True)
    shape_after = (out - out.mean(3, keepdim=True)) / out.std(3, keepdim=True)
    torch.testing.assert_close(shape_before, shape_after, rtol=1e-3, atol=1e-3)
    assert torch.equal(freq_mixstyle(x, 0.0, 0.3, generator()), x)


def test_the_same_seed_gives_the_same_batch() -> None:
    x = torch.randn(8, 1, 10, 12, generator=generator(5))
    for augment in (
        lambda g: roll_time(x, 4, g),
        lambda g: mask_freq(x, 4, 0.0, g),
        lambda g: freq_mixstyle(x, 1.0, 0.3, g),
    ):
        assert torch.equal(augment(generator(3)), augment(generator(3)))
