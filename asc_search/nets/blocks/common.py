"""Pieces several families share: rounding of widths, convolution with BatchNorm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import nn

_LINEARITIES: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "hard_swish": lambda: nn.Hardswish(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(0.3, inplace=True),
    "none": nn.Identity,
}


def activation(name: str) -> nn.Module:
    """The activation called ``relu``, ``hard_swish``, ``leaky_relu`` (slope 0.3) or ``none``."""
    return _LINEARITIES[name]()


def is_array(value: object) -> bool:
    """Whether ``value`` stands for the widths of many networks at once."""
    return isinstance(value, np.ndarray)


def whole(value: float) -> int:
    """``value`` (a number or an array) cut to a whole number."""
    return value.astype(np.int64) if is_array(value) else int(value)


def at_least(low: int, value: int) -> int:
    """``value`` (a number or an array), or ``low`` where that is more."""
    return np.maximum(low, value) if is_array(value) else max(low, value)


def same_width(inp: int, out: int) -> bool:
    """Whether two widths are equal; of arrays, all pairs are or none is."""
    return bool(np.all(inp == out))


def round_width(value: float) -> int:
    """Round a width to a multiple of 8, at least 8 and at least 90 % of ``value`` (MobileNet's rule)."""
    rounded = at_least(8, whole(value + 4) // 8 * 8)
    return rounded + 8 * (rounded < 0.9 * value)


def conv_bn_layers(
    inp: int,
    out: int,
    kernel: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    groups: int = 1,
    act: str = "relu",
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
) -> list[nn.Module]:
    """Bias-free convolution (integer padding kernel // 2), BatchNorm (``norm``) and the activation ``act``."""
    padding = (kernel[0] // 2, kernel[1] // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(inp, out, kernel, stride, padding, groups=groups, bias=False),
        norm(out),
    ]
    return layers if act == "none" else [*layers, activation(act)]
