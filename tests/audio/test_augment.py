"""Augmentations keep what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import beta, chisquare, kstest

from asc_search.audio.augment import (
    FREQ,
    TIME,
    Mix,
    SpectrumAugment,
    draw_mix,
    freq_mixstyle,
    mask_freq,
    mask_stripes,
    mix_share,
    mixed,
    roll_time,
)
from asc_search.audio.frontend_spec import FrontEnd


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


def test_mixup_without_hesitation_mixes_the_first_half_only() -> None:
    assert [mix_share(progress / 100) for progress in (0, 59, 60, 99)] == [1.0, 1.0, 0.5, 0.5]
    mix = draw_mix(101, 0.2, generator(), share=0.5, one_lambda=True)
    assert mix is not None
    assert len(set(mix.lam[:50].tolist())) == 1 and (mix.lam[50:] == 1).all()
    assert sorted(mix.order[:50].tolist()) == list(range(50)) and mix.order[50:].tolist() == list(range(50, 101))
    x = torch.randn(101, 1, 4, 3, generator=generator(1))
    assert torch.equal(mixed(x, mix)[50:], x[50:]) and not torch.equal(mixed(x, mix)[:50], x[:50])


def test_one_lambda_a_batch_follows_the_beta_distribution_too() -> None:
    source = generator()
    lam = [float(draw_mix(4, 0.2, source, one_lambda=True).lam[0]) for _ in range(3000)]
    assert kstest(lam, beta(0.2, 0.2).cdf).pvalue > 0.01


def test_labels_are_mixed_with_the_lambda_of_their_inputs_and_the_mean_is_kept() -> None:
    labels = torch.nn.functional.one_hot(torch.arange(400) % 10, 10).float()
    x = labels[:, None, :, None].repeat(1, 1, 1, 3)
    mix = draw_mix(400, 0.3, generator(2))
    torch.testing.assert_close(mixed(x, mix)[:, 0, :, 0], mixed(labels, mix))
    torch.testing.assert_close(mixed(labels, mix).sum(1), torch.ones(400))
    everyone = Mix(torch.full((400,), 0.3), mix.order)
    torch.testing.assert_close(mixed(x, everyone).mean(0), x.mean(0))


@pytest.mark.parametrize("dim", [FREQ, TIME])
def test_stripes_have_uniform_whole_widths_and_places(dim: int) -> None:
    x = torch.zeros(6000, 2, 30, 20)
    masked = mask_stripes(x, dim, 1, 7, -5.0, generator())
    assert torch.equal(masked[:, 0], masked[:, 1])
    other = FREQ + TIME - dim
    line = masked[:, 0].select(other - 1, 0) == -5.0
    assert torch.equal((masked[:, 0] == -5.0), line.unsqueeze(other - 1).expand_as(masked[:, 0]))
    widths = line.sum(1)
    assert chisquare(widths.bincount(minlength=8)).pvalue > 0.01
    assert torch.diff(line.int(), dim=1).abs().sum(1).max() <= 2
    starts = line[widths == 7].int().argmax(1)
    assert chisquare(starts.bincount(minlength=x.shape[dim] - 6)).pvalue > 0.01


def test_stripes_count_probability_and_fill() -> None:
    x = torch.randn(3000, 2, 40, 30, generator=generator())
    masked = mask_stripes(x, FREQ, 2, 3, None, generator(1), probability=0.7)
    hit = masked != x
    assert abs(hit.flatten(1).any(1).float().mean() - 0.7 * (1 - 1 / 16)) < 0.03
    assert hit[:, 0, :, 0].sum(1).max() == 6
    mean = x.mean((2, 3), keepdim=True).expand_as(x)
    assert torch.equal(masked[hit], mean[hit])
    for nothing in (mask_stripes(x, TIME, 0, 5, 0.0, generator()), mask_stripes(x, TIME, 2, 0, 0.0, generator())):
        assert nothing is x
    assert (mask_stripes(x[:50], TIME, 9, 99, 0.0, generator()) == 0).any()


def test_the_whole_augmentation_draws_as_its_parts_and_its_defaults_change_nothing() -> None:
    frontend = FrontEnd(mels=20)
    x = torch.randn(12, 1, 20, 15, generator=generator())
    assert torch.equal(SpectrumAugment().disturb(x, generator(), frontend), x)
    source = generator(4)
    expected = roll_time(x, 4, source, 0.7)
    expected = mask_freq(expected, 6, frontend.fill, source)
    expected = mask_stripes(expected, TIME, 1, 3, None, source, 0.5)
    expected = mask_stripes(expected, FREQ, 2, 4, None, source, 0.5)
    expected = freq_mixstyle(expected, 0.9, 0.3, source)
    plan = draw_mix(12, 0.3, source, one_lambda=True)
    source = generator(4)
    augment = SpectrumAugment(4, 0.7, 6, 2, 4, 1, 3, 0.5, True, 0.9, 0.3, 0.3, mixup_one_lambda=True)
    assert torch.equal(augment.disturb(x, source, frontend), expected)
    mix = augment.mix(12, 0.99, source)
    assert torch.equal(mix.lam, plan.lam) and torch.equal(mix.order, plan.order)
    assert SpectrumAugment().mix(12, 0.0, source) is None


def test_a_roll_has_its_probability_and_leaves_the_others_alone() -> None:
    x = torch.rand(4000, 1, 2, 31, generator=generator())
    rolled = (roll_time(x, 15, generator(1), 0.7) != x).flatten(1).any(1).float().mean()
    assert abs(rolled - 0.7 * 30 / 31) < 0.02
    assert roll_time(x, 15, generator(1), 0.0) is x
