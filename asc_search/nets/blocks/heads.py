"""Heads: from the last feature maps (batch, channel, freq, time) to logits (batch, classes)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from asc_search.nets.blocks.common import activation, conv_bn_layers, is_array
from asc_search.nets.blocks.registry import Family, Option, Place, as_drawn
from asc_search.nets.cost import Shape
from asc_search.nets.ledger import Ledger, Map
from asc_search.nets.spec import LayerSpec, Scalar

_HIDDEN = Option("int", 0, "width of a linear layer before the classes, 0 for none", low=0, high=4096)
_ACT = Option("str", "relu", "activation inside the head", choices=("relu", "hard_swish", "none"), branches=False)
_DROPOUT = Option("float", 0.0, "dropout before the classes", low=0.0, high=0.9)


class LinearHead(nn.Module):
    """1x1 convolution with BatchNorm (if ``features``), mean over freq and time, linear layer (if ``hidden``), classes."""

    def __init__(self, layer: LayerSpec, channels: int) -> None:
        super().__init__()
        features, hidden = int(layer.options["features"]), int(layer.options["hidden"])
        act = str(layer.options["act"])
        norm = partial(nn.BatchNorm2d, eps=float(layer.options["eps"]))
        layers = conv_bn_layers(channels, features, act=act, norm=norm) if features else []
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = _classifier(layer, features or channels, hidden, act)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """What the classifier sees: (batch, channel, freq, time) -> (batch, features)."""
        return self.features(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.embed(x))


class MultiScaleHead(nn.Module):
    """Means over freq and time of the last maps, concatenated, then the classifier (SCUT, DCASE 2023)."""

    def __init__(self, layer: LayerSpec, channels: int) -> None:
        super().__init__()
        self.classifier = _classifier(layer, channels, int(layer.options["hidden"]), "relu")

    def embed(self, *maps: torch.Tensor) -> torch.Tensor:
        """What the classifier sees: several (batch, channel, freq, time) -> (batch, all their channels)."""
        return torch.cat([x.mean((2, 3)) for x in maps], dim=1)

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.embed(*maps))


def _classifier(layer: LayerSpec, inp: int, hidden: int, act: str) -> nn.Sequential:
    """Linear layer and activation (if ``hidden``), dropout, and the linear layer to the classes."""
    layers: list[nn.Module] = []
    if hidden:
        layers += [nn.Linear(inp, hidden), activation(act)]
    if layer.options["dropout"]:
        layers.append(nn.Dropout(float(layer.options["dropout"])))
    return nn.Sequential(*layers, nn.Linear(hidden or inp, layer.out))


def _plan_linear(inp: int, out: int, options: Mapping[str, Scalar], place: Place) -> dict[str, Scalar]:
    """Explicit options: those drawn, and the ``eps`` of the BatchNorm after the features, which spaces do not vary."""
    return {"eps": 1e-5, **options}


def _price_conv(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    return ledger.mean("mean", ledger.conv("classifier", x, layer.out))


def _build_conv(layer: LayerSpec, shape: Shape) -> nn.Module:
    layers = conv_bn_layers(shape[0], layer.out, act="none")
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _price_classifier(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    hidden = layer.options["hidden"]
    if _present(hidden):
        x = ledger.linear("hidden", x, hidden)
    return ledger.linear("classifier", x, layer.out)


def _present(width: int) -> bool:
    """Whether a layer of ``width`` is there: above 0 (of an array, all are or none is)."""
    return bool((width > 0).all()) if is_array(width) else width > 0


def _price_linear(layer: LayerSpec, ledger: Ledger, x: Map) -> Map:
    features = layer.options["features"]
    if _present(features):
        x = ledger.conv("features", x, features)
    return _price_classifier(layer, ledger, ledger.mean("mean", x))


def _build_linear(layer: LayerSpec, shape: Shape) -> nn.Module:
    return LinearHead(layer, shape[0])


def _price_multi_scale(layer: LayerSpec, ledger: Ledger, *maps: Map) -> Map:
    means = [ledger.mean(f"mean{index}", x) for index, x in enumerate(maps, 1)]
    return _price_classifier(layer, ledger, ledger.concat("concat", means))


def _build_multi_scale(layer: LayerSpec, *shapes: Shape) -> nn.Module:
    return MultiScaleHead(layer, sum(shape[0] for shape in shapes))


def _scales(layer: LayerSpec) -> int:
    return int(layer.options["scales"])


def _keep_classes(layer: LayerSpec, keep: Callable[[int], int]) -> LayerSpec:
    """The head with its inner widths mapped through ``keep``; the classes stay."""
    widths = {key: keep(layer.options[key]) for key in ("features", "hidden") if _present(layer.options.get(key, 0))}
    return replace(layer, options={**layer.options, **widths})


FAMILIES = (
    Family(
        name="conv_head",
        role="head",
        doc="1x1 convolution to the classes, BatchNorm, mean over frequency and time",
        options={},
        plan=as_drawn,
        price=_price_conv,
        build=_build_conv,
        shrink=_keep_classes,
    ),
    Family(
        name="linear_head",
        role="head",
        doc="mean over frequency and time and a linear layer to the classes, both with a layer before them if wanted",
        options={
            "features": Option("int", 0, "width of a 1x1 convolution before the mean, 0 for none", low=0, high=4096),
            "hidden": _HIDDEN,
            "act": _ACT,
            "dropout": _DROPOUT,
        },
        plan=_plan_linear,
        price=_price_linear,
        build=_build_linear,
        shrink=_keep_classes,
    ),
    Family(
        name="multi_scale_head",
        role="head",
        doc="means of the last blocks' outputs, concatenated, and linear layers to the classes (DSMN)",
        options={
            "scales": Option("int", 4, "how many of the last blocks are heard", choices=(1, 2, 3, 4)),
            "hidden": _HIDDEN,
            "dropout": _DROPOUT,
        },
        plan=as_drawn,
        price=_price_multi_scale,
        build=_build_multi_scale,
        shrink=_keep_classes,
        taps=_scales,
        most_taps=4,
    ),
)
