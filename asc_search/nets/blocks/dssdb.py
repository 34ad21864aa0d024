"""DSSDB and DSSDB_SEG: distillation blocks of dilated depthwise convolutions, and their 1x1 stem.

They can be pruned without a gate or with squeeze-excitation, not with the published ECA (see ``attachment``).

Source: SCUT, "Deep Separable Multiscale Networks", DCASE 2023 Task 1 report, section 3.2, with the team's code where the
report has figures only.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from asc_search.nets.blocks import attachment, stem
from asc_search.nets.blocks.pointwise import pointwise, price_pointwise
from asc_search.nets.blocks.registry import Family, Option, Place, as_drawn
from asc_search.nets.cost import Shape
from asc_search.nets.ledger import Ledger, Map
from asc_search.nets.spec import LayerSpec, Scalar

OPTIONS = {
    **attachment.OPTIONS,
    "attachment": Option(
        "str", "eca", "gate before the last 1x1: squeeze-excitation, ECA or GRN", choices=attachment.KINDS
    ),
}


class SpaceSeparable(nn.Module):
    """DSSC: grouped 1x1, then (3,1) and (1,3) depthwise convolutions with dilation 2 side by side, summed, BN, ReLU.

    (batch, inp, freq, time) -> (batch, out, freq, time). With ``out`` = inp the 1x1 scales each channel, with inp / 2 it
    merges pairs of neighbours.
    """

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.merge = nn.Conv2d(inp, out, 1, groups=out, bias=False)
        self.tall = nn.Conv2d(out, out, (3, 1), padding=(2, 0), dilation=(2, 1), groups=out, bias=False)
        self.wide = nn.Conv2d(out, out, (1, 3), padding=(0, 2), dilation=(1, 2), groups=out, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.merge(x)
        return self.act(self.norm(self.tall(y) + self.wide(y)))


class Distillation(nn.Module):
    """DSSDB: three DSSC in series; what is distilled before each of the first two and the end result are concatenated.

    (batch, inp, freq, time) -> attachment, 1x1, BN, ReLU, average pooling -> (batch, out, freq', time').
    """

    def __init__(self, layer: LayerSpec, inp: int, joined: int) -> None:
        super().__init__()
        half = inp // 2
        self.first, self.second, self.third = (
            SpaceSeparable(inp, inp),
            SpaceSeparable(inp, inp),
            SpaceSeparable(inp, half),
        )
        self.distil1, self.distil2 = nn.Conv2d(inp, half, 1), nn.Conv2d(inp, half, 1)
        self.attachment = attachment.build(layer, joined)
        self.last = nn.Sequential(nn.Conv2d(joined, layer.out, 1), nn.BatchNorm2d(layer.out), nn.ReLU(inplace=True))
        self.pool = nn.Identity() if layer.stride == (1, 1) else nn.AvgPool2d(layer.stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        parts = [self.distil1(x), self.distil2(y), self.third(self.second(y))]
        return self.pool(self.last(self.attachment(torch.cat(parts, dim=1))))


class SegmentDistillation(Distillation):
    """DSSDB_SEG: three DSSC on the low half of the frequencies, summed with what is distilled from both halves.

    (batch, inp, freq, time) -> (batch, out, freq // 2 / pool, time'). Of an odd number of bins the highest is dropped.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bins = x.shape[2] // 2
        low, high = x[:, :, :bins], x[:, :, bins : 2 * bins]
        y = self.distil1(low) + self.distil2(high) + self.third(self.second(self.first(low)))
        return self.pool(self.last(self.attachment(y)))


def _grain(layer: LayerSpec) -> tuple[int, int]:
    """The third separable merges neighbours of its input in pairs, and pruning takes them so."""
    return 1, 2


def _plan(inp: int, out: int, options: Mapping[str, Scalar], place: Place) -> dict[str, Scalar]:
    return attachment.plan(3 * (inp // 2), options)


def _plan_segments(inp: int, out: int, options: Mapping[str, Scalar], place: Place) -> dict[str, Scalar]:
    return attachment.plan(inp // 2, options)


def _price_separable(name: str, ledger: Ledger, x: Map, out: int) -> Map:
    """P = ci + 8 co; M = (ci + 6 co) FT + 2 co."""
    y = ledger.conv(f"{name} merge", x, out, groups=out, norm=False)
    tall = ledger.conv(f"{name} 3x1", y, out, (3, 1), dilation=(2, 1), groups=out, norm=False)
    wide = ledger.conv(f"{name} 1x3", y, out, (1, 3), dilation=(1, 2), groups=out, norm=False)
    return ledger.norm(f"{name} norm", ledger.add(f"{name} add", tall, wide), out)


def _half(ledger: Ledger, x: Map) -> int:
    """Half the width of ``x``, which must be even."""
    ledger.require(
        x.channels % 2 == 0, "its input has {} channels; it needs an even number, to merge pairs", x.channels
    )
    return x.channels // 2


def _price_last(layer: LayerSpec, ledger: Ledger, joined: Map) -> Map:
    y = ledger.conv("last", attachment.price(layer, ledger, joined), layer.out, bias=True)
    return y if layer.stride == (1, 1) else ledger.pool("pool", y, layer.stride)


def _price(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    """h = ci/2: P = 18ci + (ci+8h) + 2(ci*h+h) + (3h*co+co) + 2co + attachment's (ECA: 3)."""
    half = _half(ledger, x)
    first = _price_separable("first", ledger, x, x.channels)
    third = _price_separable("third", ledger, _price_separable("second", ledger, first, x.channels), half)
    distil1 = ledger.conv("distil1", x, half, bias=True, norm=False)
    distil2 = ledger.conv("distil2", first, half, bias=True, norm=False)
    return _price_last(layer, ledger, ledger.concat("concat", (distil1, distil2, third)))


def _price_segments(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    """h = ci/2: P = 18ci + (ci+8h) + 2(ci*h+h) + (h*co+co) + 2co + attachment's; all on F/2 bins.

    The receptive field is that of the low half; that a value also hears the bin F/2 above is left out.
    """
    half = _half(ledger, x)
    ledger.require(x.freq >= 2, "its input has {} frequency bins; it needs 2 or more, to split them", x.freq)
    low = high = ledger.cut(x, x.freq // 2)
    first = _price_separable("first", ledger, low, x.channels)
    third = _price_separable("third", ledger, _price_separable("second", ledger, first, x.channels), half)
    distil1 = ledger.conv("distil1", low, half, bias=True, norm=False)
    distil2 = ledger.conv("distil2", high, half, bias=True, norm=False)
    return _price_last(layer, ledger, ledger.add("add", third, distil1, distil2))


def _build(layer: LayerSpec, shape: Shape) -> nn.Module:
    return Distillation(layer, shape[0], 3 * (shape[0] // 2))


def _build_segments(layer: LayerSpec, shape: Shape) -> nn.Module:
    return SegmentDistillation(layer, shape[0], shape[0] // 2)


def _price_stem(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    return price_pointwise("conv", ledger, x, layer.out, layer.stride)


def _build_stem(layer: LayerSpec, shape: Shape) -> nn.Module:
    return pointwise(shape[0], layer.out, layer.stride)


FAMILIES = (
    Family(
        name="dssdb_stem",
        role="stem",
        doc="1x1 convolution with a bias and nothing after it",
        options={},
        plan=as_drawn,
        price=_price_stem,
        build=_build_stem,
        shrink=stem.shrink_width,
    ),
    Family(
        name="dssdb",
        role="block",
        doc="distillation block of dilated (3,1) and (1,3) depthwise convolutions, average pooling for its stride (DSMN)",
        options=OPTIONS,
        plan=_plan,
        price=_price,
        build=_build,
        shrink=attachment.shrink,
        grain=_grain,
        fixed=attachment.FIXED,
    ),
    Family(
        name="dssdb_seg",
        role="block",
        doc="dssdb on the low half of the frequencies, joined by the high half: halves the bins besides its stride (DSMN)",
        options=OPTIONS,
        plan=_plan_segments,
        price=_price_segments,
        build=_build_segments,
        shrink=attachment.shrink,
        grain=_grain,
        fixed=attachment.FIXED,
    ),
)
