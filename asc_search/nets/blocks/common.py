"""Pieces several families share: rounding of widths, convolution with BatchNorm, the shortcut."""

from __future__ import annotations

from torch import nn


def round_width(value: float) -> int:
    """Round a width to a multiple of 8, at least 8 and at least 90 % of ``value`` (MobileNet's rule)."""
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded


def conv_bn_layers(
    inp: int, out: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1), groups: int = 1, act: bool = True
) -> list[nn.Module]:
    """Bias-free convolution (integer padding (k-1)/2), BatchNorm and, with ``act``, ReLU."""
    padding = (kernel[0] // 2, kernel[1] // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(inp, out, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(out),
    ]
    return [*layers, nn.ReLU(inplace=True)] if act else layers


def shortcut(inp: int, out: int, stride: tuple[int, int]) -> nn.Module | None:
    """The CP shortcut: identity or 3x3 average pooling with the block's stride; none where the width changes."""
    if inp != out:
        return None
    return nn.Identity() if stride == (1, 1) else nn.AvgPool2d(3, stride, padding=1)
