"""BC-Res: the broadcasted residual block of BC-ResNet.

Source: Kim et al., "Broadcasted Residual Learning for Efficient Keyword Spotting" (2021), sections 2.1 to 2.3. Convolutions
have no bias; the depthwise (3,1) convolution takes the block's whole stride.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from asc_search.nets.blocks import attachment
from asc_search.nets.blocks.bc_common import SubSpectralNorm, price_sub_spectral
from asc_search.nets.blocks.common import conv_bn_layers, same_width
from asc_search.nets.blocks.registry import Family, Option, Place
from asc_search.nets.cost import Shape
from asc_search.nets.ledger import Ledger, Map
from asc_search.nets.spec import LayerSpec, Scalar

DROPOUT = 0.1

OPTIONS = {
    "dilation": Option("int", 1, "dilation of the temporal convolution", choices=(1, 2, 4), branches=False),
    **attachment.OPTIONS,
}


class BroadcastedResidual(nn.Module):
    """ReLU of (x +) a + b with a = f2(x) on the map and b = f1(mean of a over frequency), the same for all bins.

    Input (batch, inp, freq, time) -> output (batch, out, freq', time'), freq' a multiple of 4. f2: (1x1, BN, ReLU,) depthwise
    (3,1), sub-spectral norm; f1: depthwise (1,3), BN, SiLU, 1x1, dropout of channels. A transition block (another width,
    or a stride) has the first 1x1 and no identity, a normal block the identity and no 1x1.
    """

    def __init__(self, layer: LayerSpec, inp: int) -> None:
        super().__init__()
        out, dilation = layer.out, int(layer.options["dilation"])
        self.transition = _is_transition(layer)
        self.pointwise = nn.Sequential(*conv_bn_layers(inp, out)) if self.transition else nn.Identity()
        self.f2 = nn.Sequential(
            nn.Conv2d(out, out, (3, 1), layer.stride, (1, 0), groups=out, bias=False), SubSpectralNorm(out)
        )
        self.f1 = nn.Sequential(
            nn.Conv2d(out, out, (1, 3), padding=(0, dilation), dilation=(1, dilation), groups=out, bias=False),
            nn.BatchNorm2d(out),
            nn.SiLU(inplace=True),
            nn.Conv2d(out, out, 1, bias=False),
            nn.Dropout2d(DROPOUT),
        )
        self.attachment = attachment.build(layer, out)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.f2(self.pointwise(x))
        y = a + self.f1(a.mean(2, keepdim=True))
        if not self.transition:
            y = y + x
        return self.act(self.attachment(y))


def _is_transition(layer: LayerSpec) -> bool:
    return bool(layer.options["transition"]) or layer.stride != (1, 1)


def _plan(inp: int, out: int, options: Mapping[str, Scalar], place: Place) -> dict[str, Scalar]:
    """Explicit options: ``transition`` where the width changes (a stride makes it one too)."""
    return {
        "transition": not same_width(inp, out),
        "dilation": options["dilation"],
        **attachment.plan(out, options),
    }


def _price(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    """Normal: P = c^2 + 16c; M = 3cFT + 8c + (3c + c^2)T + 2c. Transition: P + ci*co + 2co, M + ci*co*FT + 2co."""
    y, out = x, layer.out
    if _is_transition(layer):
        y = ledger.conv("pointwise", x, out)
    else:
        ledger.require(x.channels == out, "a normal block keeps its input's {} channels, not {}", x.channels, out)
    y = ledger.conv("f2 3x1", y, out, (3, 1), layer.stride, groups=out, norm=False)
    a = price_sub_spectral("f2 norm", ledger, y)
    mean = ledger.mean("f1 mean", a, time=False)
    dilation = (1, layer.options["dilation"])
    wide = ledger.conv("f1 1x3", mean, out, (1, 3), dilation=dilation, groups=out)
    b = ledger.conv("f1 1x1", wide, out, norm=False)
    parts = (a, b) if _is_transition(layer) else (a, b, x)
    return attachment.price(layer, ledger, ledger.add("add", *parts))


def _build(layer: LayerSpec, shape: Shape) -> nn.Module:
    return BroadcastedResidual(layer, shape[0])


FAMILIES = (
    Family(
        name="bc_res",
        role="block",
        doc="broadcasted residual of depthwise (3,1) and (1,3) convolutions, the second on the mean over frequency (BC-ResNet)",
        options=OPTIONS,
        plan=_plan,
        price=_price,
        build=_build,
        shrink=attachment.shrink,
        fixed=attachment.FIXED,
    ),
)
