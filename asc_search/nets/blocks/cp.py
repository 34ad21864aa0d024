"""CP: the inverted residual of CP-Mobile, and its stem.

Sources: DCASE 2024 Task 1 baseline; Schmid et al., "CP-JKU Submission to DCASE23", section 2 (with GRN).
"""

from __future__ import annotations

import torch
from torch import nn

from asc_search.nets.blocks import inverted, stem
from asc_search.nets.blocks.common import conv_bn_layers
from asc_search.nets.blocks.registry import Family, Option
from asc_search.nets.cost import Cost, Shape, conv_bn, scalars
from asc_search.nets.spec import LayerSpec


class GlobalResponseNorm(nn.Module):
    """GRN with scalar gamma and beta (CP-Mobile 2023): y = gamma * x * n + beta + x, n = ||x_c|| / mean_c ||x_c||."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.beta = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        norm = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
        return self.gamma * x * (norm / (norm.mean(dim=1, keepdim=True) + 1e-6)) + self.beta + x


def _depthwise(layer: LayerSpec, shape: Shape) -> tuple[Cost, Shape]:
    return conv_bn("depthwise 3x3", shape, shape[0], (3, 3), layer.stride, groups=shape[0])


def _price(layer: LayerSpec, shape: Shape) -> tuple[Cost, Shape]:
    """P = ci*e + 9e + e*co + 4e + 2co (+ 2 with GRN); M = ci*e*FT + (9e + e*co)F'T' + 4e + 2co."""
    cost, out = inverted.price_frame(layer, shape, _depthwise)
    return (cost + scalars("grn", out, 2) if layer.options.get("grn") else cost), out


def _build(layer: LayerSpec, inp: int) -> nn.Module:
    hidden = int(layer.options["hidden"])
    middle = nn.Sequential(*conv_bn_layers(hidden, hidden, (3, 3), layer.stride, groups=hidden))
    return inverted.InvertedResidual(layer, inp, middle, GlobalResponseNorm() if layer.options.get("grn") else None)


def _price_stem(layer: LayerSpec, shape: Shape) -> tuple[Cost, Shape]:
    first, inner = conv_bn("conv1", shape, int(layer.options["inner"]), (3, 3), (2, 2))
    second, out = conv_bn("conv2", inner, layer.out, (3, 3), layer.stride)
    return first + second, out


def _build_stem(layer: LayerSpec, inp: int) -> nn.Module:
    inner = int(layer.options["inner"])
    return nn.Sequential(
        *conv_bn_layers(inp, inner, (3, 3), (2, 2)), *conv_bn_layers(inner, layer.out, (3, 3), layer.stride)
    )


FAMILIES = (
    Family(
        name="cp_stem",
        role="stem",
        doc="two 3x3 convolutions, the first with stride 2x2, the second with the stem's stride",
        options={},
        plan=stem.plan("cp_stem"),
        price=_price_stem,
        build=_build_stem,
        shrink=stem.shrink,
    ),
    Family(
        name="cp",
        role="block",
        doc="inverted residual with a 3x3 depthwise convolution (CP-Mobile, DCASE 2024 baseline)",
        options={
            "expansion": inverted.EXPANSION,
            "grn": Option("bool", False, "global response normalisation after the shortcut (CP-Mobile 2023)"),
        },
        plan=inverted.plan("cp"),
        price=_price,
        build=_build,
        shrink=inverted.shrink,
    ),
)
