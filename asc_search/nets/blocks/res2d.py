"""res2d: residual blocks of 3x3 convolutions with strides in the convolutions, and their 7x7 stem.

Source: Jung et al. (University of Seoul), DCASE 2019 Task 1 report, Table 3; bias, slope and order as in the team's code
for raw waveforms. The table lists strides, so they stand in the first convolution and the shortcut, not in a pooling.
"""

from __future__ import annotations

from torch import nn

from asc_search.nets.blocks import attachment, res1d, stem
from asc_search.nets.blocks.common import activation
from asc_search.nets.blocks.registry import Family, as_drawn
from asc_search.nets.cost import Shape
from asc_search.nets.ledger import Ledger, Map
from asc_search.nets.spec import LayerSpec

_STEM_PADDING = (1, 3)  # Table 3: 256 bins become 252, the frames stay


def _projects(layer: LayerSpec) -> bool:
    """Whether the shortcut is a convolution: the width or the size of the map changes."""
    return bool(layer.options["project"]) or layer.stride != (1, 1)


def _price(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    side = layer.options["shortcut_kernel"]
    return res1d.price_residual(layer, ledger, x, (3, 3), (side, side), layer.stride, _projects(layer))


def _build(layer: LayerSpec, shape: Shape) -> nn.Module:
    side = int(layer.options["shortcut_kernel"])
    return res1d.Residual(layer, shape[0], (3, 3), (side, side), layer.stride, _projects(layer))


def _price_stem(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    """P = 49*cin*co + 3co; M = (49*cin*co + co)F'T' + 2co."""
    return ledger.conv("conv", x, layer.out, (7, 7), layer.stride, padding=_STEM_PADDING, bias=True)


def _build_stem(layer: LayerSpec, shape: Shape) -> nn.Module:
    layers = res1d.conv_bn(shape[0], layer.out, (7, 7), layer.stride, _STEM_PADDING)
    return nn.Sequential(*layers, activation("leaky_relu"))


FAMILIES = (
    Family(
        name="res2d_stem",
        role="stem",
        doc="7x7 convolution that trims two bins at either end, BatchNorm, LeakyReLU",
        options={},
        plan=as_drawn,
        price=_price_stem,
        build=_build_stem,
        shrink=stem.shrink_width,
    ),
    Family(
        name="res2d",
        role="block",
        doc="residual block of two 3x3 convolutions, the first with the stride (Seoul, mel energies)",
        options=res1d.residual_options(shortcut_kernel=1),
        plan=res1d.plan,
        price=_price,
        build=_build,
        shrink=attachment.shrink,
        fixed=attachment.FIXED,
    ),
)
