"""res1d: residual blocks along time for raw waveforms, and their strided stem; res2d takes the block's body from here.

Source: Jung et al. (University of Seoul), DCASE 2019 Task 1 report, Table 2, with the team's code for bias, slope and
shortcut.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from asc_search.nets.blocks import attachment, stem
from asc_search.nets.blocks.common import activation, same_width
from asc_search.nets.blocks.pointwise import pointwise, price_pointwise
from asc_search.nets.blocks.registry import Family, Option, Place, as_drawn
from asc_search.nets.cost import Shape
from asc_search.nets.ledger import Ledger, Map, Pair
from asc_search.nets.spec import LayerSpec, Scalar


class Residual(nn.Module):
    """Two convolutions with bias and BatchNorm, LeakyReLU between; sum with the shortcut, attachment, LeakyReLU.

    (batch, inp, freq, time) -> (batch, out, freq', time'): ``stride`` is that of the first convolution and the shortcut.
    The shortcut is the identity, or a convolution with bias (``project``).
    """

    def __init__(self, layer: LayerSpec, inp: int, kernel: Pair, shortcut: Pair, stride: Pair, project: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_bn(inp, layer.out, kernel, stride), activation("leaky_relu"), *conv_bn(layer.out, layer.out, kernel)
        )
        self.shortcut: nn.Module = nn.Identity()
        if project:
            self.shortcut = (
                pointwise(inp, layer.out, stride) if shortcut == (1, 1) else _conv(inp, layer.out, shortcut, stride)
            )
        self.attachment = attachment.build(layer, layer.out)
        self.act = activation("leaky_relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.attachment(self.body(x) + self.shortcut(x)))


def residual_options(shortcut_kernel: int) -> dict[str, Option]:
    """The options of a residual family whose shortcut has ``shortcut_kernel`` unless told."""
    return {
        "shortcut_kernel": Option(
            "int", shortcut_kernel, "kernel of the convolution in the shortcut, where there is one", choices=(1, 3)
        ),
        **attachment.OPTIONS,
    }


def plan(inp: int, out: int, options: Mapping[str, Scalar], place: Place) -> dict[str, Scalar]:
    """Explicit options: a shortcut with a convolution (``project``) where the width changes."""
    return {
        "project": not same_width(inp, out),
        "shortcut_kernel": options["shortcut_kernel"],
        **attachment.plan(out, options),
    }


def price_residual(
    layer: LayerSpec, ledger: Ledger, x: Map, kernel: Pair, shortcut: Pair, stride: Pair, project: bool
) -> Map:
    """With k taps: P = k*ci*co + k*co^2 + 6co [+ ks*ci*co + co]; M = weights and biases per position + 4co."""
    y = ledger.conv("conv1", x, layer.out, kernel, stride, bias=True)
    y = ledger.conv("conv2", y, layer.out, kernel, bias=True)
    if project and shortcut == (1, 1):
        x = price_pointwise("shortcut", ledger, x, layer.out, stride)
    elif project:
        x = ledger.conv("shortcut", x, layer.out, shortcut, stride, bias=True, norm=False)
    return attachment.price(layer, ledger, ledger.add("add", y, x))


def conv_bn(inp: int, out: int, kernel: Pair, stride: Pair = (1, 1), padding: Pair | None = None) -> list[nn.Module]:
    """Convolution with bias, padded by kernel // 2 unless told, and BatchNorm."""
    return [_conv(inp, out, kernel, stride, padding), nn.BatchNorm2d(out)]


def _conv(inp: int, out: int, kernel: Pair, stride: Pair, padding: Pair | None = None) -> nn.Conv2d:
    return nn.Conv2d(inp, out, kernel, stride, (kernel[0] // 2, kernel[1] // 2) if padding is None else padding)


def _price(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    shortcut = (1, layer.options["shortcut_kernel"])
    y = price_residual(layer, ledger, x, (1, 3), shortcut, (1, 1), layer.options["project"])
    return y if layer.stride == (1, 1) else ledger.pool("pool", y, layer.stride)


def _build(layer: LayerSpec, shape: Shape) -> nn.Module:
    shortcut = (1, int(layer.options["shortcut_kernel"]))
    block = Residual(layer, shape[0], (1, 3), shortcut, (1, 1), bool(layer.options["project"]))
    return block if layer.stride == (1, 1) else nn.Sequential(block, nn.MaxPool2d(layer.stride))


def _price_stem(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    """P = k*cin*co + 3co; M = (k*cin*co + co)T' + 2co, T' = (T - k) // stride + 1."""
    kernel, stride = layer.options["kernel"], layer.stride[1]
    ledger.require(
        kernel >= stride,
        "a kernel of {} samples with a stride of {} skips samples; use a longer kernel or a smaller stride",
        kernel,
        stride,
    )
    return ledger.conv("conv", x, layer.out, (1, kernel), layer.stride, padding=(0, 0), bias=True)


def _build_stem(layer: LayerSpec, shape: Shape) -> nn.Module:
    kernel = (1, int(layer.options["kernel"]))
    return nn.Sequential(*conv_bn(shape[0], layer.out, kernel, layer.stride, (0, 0)), activation("leaky_relu"))


FAMILIES = (
    Family(
        name="res1d_stem",
        role="stem",
        doc="unpadded convolution along time with the stem's stride, BatchNorm, LeakyReLU (raw waveforms)",
        options={"kernel": Option("int", 12, "kernel in samples, at least the stride", choices=(3, 6, 12, 24, 48))},
        plan=as_drawn,
        price=_price_stem,
        build=_build_stem,
        shrink=stem.shrink_width,
    ),
    Family(
        name="res1d",
        role="block",
        doc="residual block of two (1,3) convolutions along time, max pooling for its stride (Seoul, raw waveform)",
        options=residual_options(shortcut_kernel=3),
        plan=plan,
        price=_price,
        build=_build,
        shrink=attachment.shrink,
        fixed=attachment.FIXED,
    ),
)
