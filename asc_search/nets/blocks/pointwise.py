"""1x1 convolution with bias and a stride: in a shortcut, in a stem."""

from __future__ import annotations

from torch import nn

from asc_search.nets.ledger import Ledger, Map, Pair


def pointwise(inp: int, out: int, stride: Pair) -> nn.Module:
    """1x1 convolution with bias and a stride, which is taken before it by leaving positions out.

    Exactly a strided convolution, whose gradient on the CPU overruns its memory for few channels in channels-last order
    (torch 2.13: with 2 to 12 of them, the process dies).
    """
    conv = nn.Conv2d(inp, out, 1)
    return conv if stride == (1, 1) else nn.Sequential(nn.MaxPool2d(1, stride), conv)


def price_pointwise(name: str, ledger: Ledger, x: Map, out: int, stride: Pair) -> Map:
    """The price of :func:`pointwise`: P = ci*co + co; M = P F'T'."""
    kept = x if stride == (1, 1) else ledger.pool(f"{name} stride", x, (1, 1), stride)
    return ledger.conv(name, kept, out, bias=True, norm=False)
