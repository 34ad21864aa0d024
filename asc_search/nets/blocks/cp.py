"""CP: the inverted residual of CP-Mobile, and its stem.

Sources: DCASE 2024 Task 1 baseline; Schmid et al., "CP-JKU Submission to DCASE23", section 2 (with GRN).
"""

from __future__ import annotations

from torch import nn

from asc_search.nets.blocks import attachment, inverted, stem
from asc_search.nets.blocks.common import conv_bn_layers
from asc_search.nets.blocks.registry import Family
from asc_search.nets.cost import Shape
from asc_search.nets.ledger import Ledger, Map
from asc_search.nets.spec import LayerSpec


def _depthwise(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    return ledger.conv("depthwise 3x3", x, x.channels, (3, 3), layer.stride, groups=x.channels)


def _price(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    """P = ci*e + 9e + e*co + 4e + 2co; M = ci*e*FT + (9e + e*co)F'T' + 4e + 2co."""
    return inverted.price(layer, ledger, x, _depthwise)


def _build(layer: LayerSpec, shape: Shape) -> nn.Module:
    hidden = int(layer.options["hidden"])
    middle = nn.Sequential(*conv_bn_layers(hidden, hidden, (3, 3), layer.stride, groups=hidden))
    return inverted.InvertedResidual(layer, shape[0], middle)


def _price_stem(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    y = ledger.conv("conv1", x, layer.options["inner"], (3, 3), (2, 2))
    return ledger.conv("conv2", y, layer.out, (3, 3), layer.stride)


def _build_stem(layer: LayerSpec, shape: Shape) -> nn.Module:
    inner = int(layer.options["inner"])
    return nn.Sequential(
        *conv_bn_layers(shape[0], inner, (3, 3), (2, 2)), *conv_bn_layers(inner, layer.out, (3, 3), layer.stride)
    )


FAMILIES = (
    Family(
        name="cp_stem",
        role="stem",
        doc="two 3x3 convolutions, the first with stride 2x2, the second with the stem's stride",
        options={},
        plan=stem.plan,
        price=_price_stem,
        build=_build_stem,
        shrink=stem.shrink,
    ),
    Family(
        name="cp",
        role="block",
        doc="inverted residual with a 3x3 depthwise convolution (CP-Mobile, DCASE 2024 baseline)",
        options=inverted.OPTIONS,
        plan=inverted.plan,
        price=_price,
        build=_build,
        shrink=inverted.shrink,
        fixed=attachment.FIXED,
    ),
)
