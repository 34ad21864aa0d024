"""BC-Res2: broadcasted residual blocks with Res2 splits, their stem and their head.

Source: GZHU, BC-Res2Net, DCASE 2023 Task 1 report, with the team's code for layer order, biases and strides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import nn

from asc_search.nets.blocks import attachment, stem
from asc_search.nets.blocks.bc_common import (
    FrequencyNorm,
    SubSpectralNorm,
    build_resnorm,
    price_resnorm,
    price_sub_spectral,
    resnorm_option,
)
from asc_search.nets.blocks.common import at_least, same_width
from asc_search.nets.blocks.registry import Family, Option, Place, as_drawn
from asc_search.nets.cost import Shape
from asc_search.nets.ledger import Ledger, Map, Pair
from asc_search.nets.spec import LayerSpec, Scalar

SPLITS = 4
DROPOUT = 0.1
TALL, WIDE = (3, 1), (1, 3)

OPTIONS = {"resnorm": resnorm_option("batch"), **attachment.OPTIONS}
STEM_OPTIONS = {
    "input_norm": Option("bool", True, "BatchNorm over the mel bins first"),
    "resnorm": resnorm_option("batch"),
}
HEAD_OPTIONS = {
    "group_width": Option("int", 4, "channels in each group of the 5x5 convolution, about", choices=(1, 2, 4, 8)),
    "features": Option("int", 96, "channels the mean is taken of", low=1, high=4096),
}


class Res2Chain(nn.Module):
    """Four convolutions on four splits of the channels, each on its split plus what the one before gave.

    (batch, channel, freq, time) -> the same. y1 = op1(x1), y_i = op_i(x_i + y_(i-1)); op is a convolution with bias and
    ``after(channels of a split)`` it. Unlike in Res2Net the first split is convolved too.
    """

    def __init__(self, channels: int, kernel: Pair, after: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.width = channels // SPLITS
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.ops = nn.ModuleList(
            nn.Sequential(nn.Conv2d(self.width, self.width, kernel, padding=padding), after(self.width))
            for _ in range(SPLITS)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: list[torch.Tensor] = []
        for op, part in zip(self.ops, x.split(self.width, dim=1), strict=True):
            made.append(op(part + made[-1] if made else part))
        return torch.cat(made, dim=1)


class BroadcastedRes2(nn.Module):
    """ReLU of (x +) a + b with a = f2(x) on the map and b = f1(mean of a over frequency), the same for all bins; ResNorm.

    Input (batch, inp, freq, time) -> max-pool by the stride -> output (batch, out, freq', time'), freq' and out multiples
    of 4. f2 is a Res2 chain of (3,1) convolutions with sub-spectral norm, f1 one of (1,3) with ReLU. A transition block has
    a 1x1 convolution, BN and ReLU before f2, a 1x1 and dropout of channels after f1, and no identity.
    """

    def __init__(self, layer: LayerSpec, inp: int, freq: int) -> None:
        super().__init__()
        out = layer.out
        self.pool = nn.Identity() if layer.stride == (1, 1) else nn.MaxPool2d(layer.stride)
        self.transition = bool(layer.options["transition"])
        before: list[nn.Module] = []
        after: list[nn.Module] = []
        if self.transition:
            before = [nn.Conv2d(inp, out, 1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            after = [nn.Conv2d(out, out, 1), nn.Dropout2d(DROPOUT)]
        self.f2 = nn.Sequential(*before, Res2Chain(out, TALL, SubSpectralNorm))
        self.f1 = nn.Sequential(Res2Chain(out, WIDE, lambda _: nn.ReLU(inplace=True)), *after)
        if layer.options["spare_norm"]:
            # The published code declares one for each convolution of f1 and never calls it.
            self.spare_norms = nn.ModuleList(nn.BatchNorm2d(out // SPLITS) for _ in range(SPLITS))
        self.attachment = attachment.build(layer, out)
        self.act = nn.ReLU(inplace=True)
        self.resnorm = build_resnorm(str(layer.options["resnorm"]), freq)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(x)
        a = self.f2(x)
        y = a + self.f1(a.mean(2, keepdim=True))
        if not self.transition:
            y = y + x
        return self.resnorm(self.act(self.attachment(y)))


def _grain(layer: LayerSpec) -> tuple[int, int]:
    """The splits are of one width, and a channel of one is added to the next: pruning takes its like in all of them."""
    return SPLITS, 1


def _plan(inp: int, out: int, options: Mapping[str, Scalar], place: Place) -> dict[str, Scalar]:
    """Explicit options: ``transition`` where the width changes; ``resnorm`` after the stage's last block only.

    ``spare_norm`` (never drawn) registers the BatchNorms that the published blocks have and never call.
    """
    return {
        "transition": not same_width(inp, out),
        "resnorm": options["resnorm"] if place.last else "none",
        "spare_norm": False,
        **attachment.plan(out, options),
    }


def _price_chain(name: str, ledger: Ledger, x: Map, kernel: Pair, normed: bool) -> Map:
    """u = c/4: P = 4(3u^2 + u) [+ 8c]; M = 4(3u^2 + u)FT [+ 8c]; the bracket with sub-spectral norm."""
    made: list[Map] = []
    for index in range(1, SPLITS + 1):
        part = ledger.split(x, x.channels // SPLITS)
        if made:
            part = ledger.add(f"{name} add{index}", part, made[-1])
        part = ledger.conv(f"{name} conv{index}", part, part.channels, kernel, bias=True, norm=False)
        made.append(price_sub_spectral(f"{name} norm{index}", ledger, part) if normed else part)
    return ledger.concat(f"{name} concat", made)


def _price(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    """u = co/4. Normal: P = 8(3u^2 + u) + 8co [+ 2co, never called]; M = 4(3u^2 + u)(FT + T) + 8co.

    Transition: P + ci*co + co + 2co + co^2 + co; M + (ci*co + co)FT + 2co + (co^2 + co)T. Then the attachment's and
    ResNorm's (2F, 2F).
    """
    out = layer.out
    ledger.require(out % SPLITS == 0, "its width {} is not a multiple of its 4 splits; change the width", out)
    if layer.stride != (1, 1):
        x = ledger.pool("pool", x, layer.stride)
    transition = layer.options["transition"]
    if not transition:
        ledger.require(x.channels == out, "a normal block keeps its input's {} channels, not {}", x.channels, out)
    y = ledger.conv("pointwise", x, out, bias=True) if transition else x
    a = _price_chain("f2", ledger, y, TALL, normed=True)
    b = _price_chain("f1", ledger, ledger.mean("f1 mean", a, time=False), WIDE, normed=False)
    if layer.options["spare_norm"]:
        ledger.uncalled("f1 spare norms", b, 2 * out)
    if transition:
        b = ledger.conv("f1 1x1", b, out, bias=True, norm=False)
    y = ledger.add("add", *((a, b) if transition else (a, b, x)))
    return price_resnorm(str(layer.options["resnorm"]), ledger, attachment.price(layer, ledger, y))


def _build(layer: LayerSpec, shape: Shape) -> nn.Module:
    return BroadcastedRes2(layer, shape[0], shape[1] // layer.stride[0])


def _price_stem(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    """P = 2F (input norm) + 2F (batch ResNorm) + 25 ci*co + co."""
    if layer.options["input_norm"]:
        x = ledger.norm("input norm", x, x.freq)
    x = price_resnorm(str(layer.options["resnorm"]), ledger, x)
    return ledger.conv("conv", x, layer.out, (5, 5), layer.stride, bias=True, norm=False)


def _build_stem(layer: LayerSpec, shape: Shape) -> nn.Module:
    return nn.Sequential(
        FrequencyNorm(shape[1]) if layer.options["input_norm"] else nn.Identity(),
        build_resnorm(str(layer.options["resnorm"]), shape[1]),
        nn.Conv2d(shape[0], layer.out, 5, layer.stride, padding=2),
    )


def _plan_head(inp: int, out: int, options: Mapping[str, Scalar], place: Place) -> dict[str, Scalar]:
    """Explicit options: ``per_group`` channels in each group, about ``group_width``; widths of plans are multiples of 8, so
    it divides.
    """
    return {"per_group": inp // at_least(1, inp // options["group_width"]), "features": options["features"]}


def _price_head(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    """P = 25 ci^2/g + ci + ci*f + f + f*classes + classes."""
    each = layer.options["per_group"]
    ledger.require(
        x.channels % each == 0,
        "its input has {} channels, which are no groups of {} each; use another width",
        x.channels,
        each,
    )
    groups = x.channels // each
    y = ledger.conv("conv 5x5", x, x.channels, (5, 5), padding=(0, 0), groups=groups, bias=True, norm=False)
    y = ledger.conv("features", y, layer.options["features"], bias=True, norm=False)
    return ledger.conv("classifier", ledger.mean("mean", y), layer.out, bias=True, norm=False)


def _head_grain(layer: LayerSpec) -> tuple[int, int]:
    """Pruning takes whole groups of the 5x5 convolution."""
    return 1, layer.options["per_group"]


def _shrink_head(layer: LayerSpec, keep: Callable[[int], int]) -> LayerSpec:
    """The head with its features mapped through ``keep``; the groups stay as wide."""
    return replace(layer, options={**layer.options, "features": keep(layer.options["features"])})


def _build_head(layer: LayerSpec, shape: Shape) -> nn.Module:
    channels, features = shape[0], int(layer.options["features"])
    groups = channels // int(layer.options["per_group"])
    return nn.Sequential(
        nn.Conv2d(channels, channels, 5, groups=groups),
        nn.Conv2d(channels, features, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(features, layer.out, 1),
        nn.Flatten(),
    )


FAMILIES = (
    Family(
        name="bc_stem",
        role="stem",
        doc="5x5 convolution with a bias after normalisations of the mel bins (BC-Res2Net)",
        options=STEM_OPTIONS,
        plan=as_drawn,
        price=_price_stem,
        build=_build_stem,
        shrink=stem.shrink_width,
    ),
    Family(
        name="bc_res2",
        role="block",
        doc="broadcasted residual of (3,1) and (1,3) convolutions in four Res2 splits, max-pooling for its stride (BC-Res2Net)",
        options=OPTIONS,
        plan=_plan,
        price=_price,
        build=_build,
        shrink=attachment.shrink,
        grain=_grain,
        # A norm by statistics counts all channels, silent ones too.
        fixed={**attachment.FIXED, "resnorm": ("statistic",)},
    ),
    Family(
        name="bc_head",
        role="head",
        doc="grouped 5x5 convolution without padding, 1x1, mean over frequency and time, 1x1 to the classes (BC-Res2Net)",
        options=HEAD_OPTIONS,
        plan=_plan_head,
        price=_price_head,
        build=_build_head,
        shrink=_shrink_head,
        grain=_head_grain,
    ),
)
