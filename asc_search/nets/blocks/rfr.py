"""Receptive-field-regularised blocks: the basic residual block with the rho rule, the SERFR stage, their stem.

Sources: Koutini et al., "Receptive-field-regularized CNN variants for acoustic scene classification", and Schmid et al.
(CP-JKU), DCASE 2022 Task 1 (``rfr``); vivo, "Multi-teacher knowledge distillation and SERFR-CNN", DCASE 2023 Task 1,
Table 1 (``serfr``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from asc_search.nets.blocks import attachment, stem
from asc_search.nets.blocks.common import at_least, conv_bn_layers, same_width
from asc_search.nets.blocks.registry import Family, Option, Place
from asc_search.nets.cost import Shape
from asc_search.nets.ledger import Ledger, Map
from asc_search.nets.spec import LayerSpec, Scalar

_POOLS: dict[str, type[nn.Module]] = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


class BasicResidual(nn.Module):
    """Two convolutions with BatchNorm, ReLU between; sum with the shortcut, attachment, ReLU, max-pool of the stride.

    (batch, inp, freq, time) -> (batch, out, freq // stride, time // stride). The shortcut is the identity, or a 1x1
    convolution with BatchNorm (``project``), in as many groups as the others.
    """

    def __init__(self, layer: LayerSpec, inp: int) -> None:
        super().__init__()
        first, second, mid, groups = (int(layer.options[key]) for key in ("kernel1", "kernel2", "mid", "groups"))
        self.conv1 = nn.Sequential(*conv_bn_layers(inp, mid, (first, first), groups=groups))
        self.conv2 = nn.Sequential(*conv_bn_layers(mid, layer.out, (second, second), groups=groups, act="none"))
        self.shortcut: nn.Module = nn.Identity()
        if layer.options["project"]:
            self.shortcut = nn.Sequential(*conv_bn_layers(inp, layer.out, groups=groups, act="none"))
        self.attachment = attachment.build(layer, layer.out)
        self.act = nn.ReLU(inplace=True)
        self.pool = _build_pool("max", layer.stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv2(self.conv1(x)) + self.shortcut(x)
        return self.pool(self.act(self.attachment(y)))


class SerfrStage(nn.Module):
    """Units of a 1x1 and a k x k convolution, attachment, 1x1 transition; sum with the input, ReLU, max-pool of the stride.

    (batch, inp, freq, time) -> (batch, out, freq // stride, time // stride). Every convolution has a BatchNorm, those of
    the units a ReLU. The input is added only with ``shortcut``.
    """

    def __init__(self, layer: LayerSpec, inp: int) -> None:
        super().__init__()
        mid, kernel, out = int(layer.options["mid"]), int(layer.options["kernel"]), layer.out
        layers: list[nn.Module] = []
        for _ in range(int(layer.options["units"])):
            layers += [*conv_bn_layers(inp, mid), *conv_bn_layers(mid, out, (kernel, kernel))]
            inp = out
        self.units = nn.Sequential(*layers)
        self.attachment = attachment.build(layer, out)
        self.transition = nn.Sequential(*conv_bn_layers(out, out, act="none"))
        self.shortcut = bool(layer.options["shortcut"])
        self.act = nn.ReLU(inplace=True)
        self.pool = _build_pool("max", layer.stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.transition(self.attachment(self.units(x)))
        return self.pool(self.act(y + x if self.shortcut else y))


def rho_kernels(rho: int, stage: int, block: int) -> tuple[int, int]:
    """Kernels of the two convolutions of a block, 3 or 1, counted from 0; ``rho`` is 0 (smallest field) to 14.

    The rule of the 2022 network (CP-JKU): stages of two blocks; the first block has (3, 1), and of the convolutions after
    it the first rho - 1 have 3x3 kernels, the others 1x1. Our extension: further blocks of a stage have the second's
    kernels; further stages go on counting, four convolutions each.
    """
    if stage == block == 0:
        return 3, 1
    number = 4 * stage + 2 * min(block, 1)
    return 1 + 2 * (rho >= number), 1 + 2 * (rho >= number + 1)  # of arrays, too


def _build_pool(kind: str, size: tuple[int, int]) -> nn.Module:
    """Pooling of windows ``size`` side by side; none of 1x1."""
    return nn.Identity() if size == (1, 1) else _POOLS[kind](size)


def _price_pool(ledger: Ledger, x: Map, size: tuple[int, int]) -> Map:
    return x if size == (1, 1) else ledger.pool("pool", x, size)


def _plan(inp: int, out: int, options: Mapping[str, Scalar], place: Place) -> dict[str, Scalar]:
    """Explicit options: both kernels, the width between them (``mid``), ``project`` where the width changes, groups."""
    kernel1, kernel2 = rho_kernels(options["rho"], place.stage, place.block)
    return {
        "kernel1": kernel1,
        "kernel2": kernel2,
        "mid": at_least(1, out // options["bottleneck"]),
        "groups": options["groups"],
        "project": not same_width(inp, out),
        **attachment.plan(out, options),
    }


def _price(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    """P = ci*m*k1^2/g + m*co*k2^2/g + 2m + 2co [+ ci*co/g + 2co]; M = the same weights * FT, BatchNorm once."""
    first, second, mid, groups = (layer.options[key] for key in ("kernel1", "kernel2", "mid", "groups"))
    ledger.require(
        (x.channels % groups == 0) & (mid % groups == 0) & (layer.out % groups == 0),
        "{} groups do not divide the widths {}, {} and {}; choose multiples of the groups, or fewer groups",
        groups,
        x.channels,
        mid,
        layer.out,
    )
    y = ledger.conv("conv1", x, mid, (first, first), groups=groups)
    y = ledger.conv("conv2", y, layer.out, (second, second), groups=groups)
    short = ledger.conv("shortcut", x, layer.out, groups=groups) if layer.options["project"] else x
    y = attachment.price(layer, ledger, ledger.add("add", y, short))
    return _price_pool(ledger, y, layer.stride)


def _build(layer: LayerSpec, shape: Shape) -> nn.Module:
    return BasicResidual(layer, shape[0])


def _plan_serfr(inp: int, out: int, options: Mapping[str, Scalar], place: Place) -> dict[str, Scalar]:
    """Explicit options: units, kernel, the width inside a unit (``mid``), a ``shortcut`` where the width stays.

    Our reading: where the width changes the first unit changes it, and nothing is added to the transition.
    """
    return {
        "units": options["units"],
        "kernel": options["kernel"],
        "mid": at_least(1, out // options["bottleneck"]),
        "shortcut": same_width(inp, out),
        **attachment.plan(out, options),
    }


def _price_serfr(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    """P = ci*m + (n-1)*co*m + n*(m*co*k^2 + 2m + 2co) + SE + co^2 + 2co, n units; M = the weights * FT, others once."""
    mid, kernel, y = layer.options["mid"], layer.options["kernel"], x
    for unit in range(int(layer.options["units"])):
        y = ledger.conv(f"unit{unit}.conv1", y, mid)
        y = ledger.conv(f"unit{unit}.conv2", y, layer.out, (kernel, kernel))
    y = ledger.conv("transition", attachment.price(layer, ledger, y), layer.out)
    if layer.options["shortcut"]:
        y = ledger.add("add", y, x)
    return _price_pool(ledger, y, layer.stride)


def _build_serfr(layer: LayerSpec, shape: Shape) -> nn.Module:
    return SerfrStage(layer, shape[0])


def _plan_stem(inp: int, out: int, options: Mapping[str, Scalar], place: Place) -> dict[str, Scalar]:
    """Explicit options: kernel, pool with its windows (1x1 for none), and the padding, which spaces do not vary."""
    padding = options.get("padding", options["kernel"] // 2)
    windows = {key: 1 if options["pool"] == "none" else options[key] for key in ("pool_freq", "pool_time")}
    return {"kernel": options["kernel"], "padding": padding, "pool": options["pool"], **windows}


def _stem_windows(layer: LayerSpec) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel, padding and pool window of a stem, (freq, time) each."""
    kernel, padding = (int(layer.options[key]) for key in ("kernel", "padding"))
    return (kernel, kernel), (padding, padding), (int(layer.options["pool_freq"]), int(layer.options["pool_time"]))


def _price_stem(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    """P = ci*co*k^2 + 2co; M = the weights * F'T' + 2co, F'T' before the pool."""
    kernel, padding, window = _stem_windows(layer)
    y = ledger.conv("conv", x, layer.out, kernel, layer.stride, padding=padding)
    return _price_pool(ledger, y, window)


def _build_stem(layer: LayerSpec, shape: Shape) -> nn.Module:
    kernel, padding, window = _stem_windows(layer)
    return nn.Sequential(
        nn.Conv2d(shape[0], layer.out, kernel, layer.stride, padding, bias=False),
        nn.BatchNorm2d(layer.out),
        nn.ReLU(inplace=True),
        _build_pool(str(layer.options["pool"]), window),
    )


FAMILIES = (
    Family(
        name="rfr_stem",
        role="stem",
        doc="convolution with the stem's stride, BatchNorm, ReLU, pooling",
        options={
            "kernel": Option("int", 5, "kernel of the convolution, square", choices=(3, 5, 7)),
            "pool": Option("str", "max", "pooling after the convolution", choices=("none", "max", "avg")),
            "pool_freq": Option("int", 2, "window and step of the pooling in frequency", choices=(1, 2, 3, 4)),
            "pool_time": Option("int", 2, "window and step of the pooling in time", choices=(1, 2, 3, 4)),
        },
        plan=_plan_stem,
        price=_price_stem,
        build=_build_stem,
        shrink=stem.shrink_width,
    ),
    Family(
        name="rfr",
        role="block",
        doc="residual block of two 3x3 or 1x1 convolutions, as rho allows (CP-ResNet); max-pool of its stride",
        options={
            "rho": Option(
                "int",
                8,
                "size of the receptive field: 3x3 kernels up to where",
                choices=tuple(range(15)),
                branches=False,
            ),
            "bottleneck": Option(
                "int", 1, "output width over that between the convolutions", choices=(1, 2, 4), branches=False
            ),
            "groups": Option("int", 1, "groups of every convolution; must divide all widths", choices=(1, 2, 4)),
            **attachment.OPTIONS,
        },
        plan=_plan,
        price=_price,
        build=_build,
        shrink=partial(attachment.shrink, widths=("mid",)),
        fixed={**attachment.FIXED, "groups": (2, 4)},
    ),
    Family(
        name="serfr",
        role="block",
        doc="units of 1x1 and 3x3 (or 1x1) convolutions, SE, 1x1 transition, residual (SERFR-CNN); max-pool of its stride",
        options={
            "units": Option("int", 3, "how many pairs of convolutions", choices=(1, 2, 3, 4)),
            "kernel": Option("int", 3, "kernel of the second convolution of a pair", choices=(1, 3), branches=False),
            "bottleneck": Option("int", 2, "output width over that inside a pair", choices=(1, 2), branches=False),
            **attachment.OPTIONS,
            "attachment": replace(attachment.OPTIONS["attachment"], default="se"),
        },
        plan=_plan_serfr,
        price=_price_serfr,
        build=_build_serfr,
        shrink=partial(attachment.shrink, widths=("mid",)),
        fixed=attachment.FIXED,
    ),
)
