"""What a network costs, as exact integers from closed forms.

Counting follows NeSsi, the official DCASE counter (torchinfo at batch 1): a convolution costs its weights and biases
times its output positions, a BatchNorm 2C once, everything without parameters nothing; every registered parameter counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Shape = tuple[int, int, int]  # (channel, freq, time)

BYTES_PER_WEIGHT = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class LayerCost:
    """One priced operation: name, output shape (channel, freq, time), params and NeSsi MACs."""

    name: str
    out: Shape
    params: int
    macs: int
    conv_linear_macs: int


@dataclass(frozen=True)
class Cost:
    """Price of a network or a part of it, per inference of one input window.

    ``macs`` is the NeSsi count, ``conv_linear_macs`` what fvcore reports under ``conv`` + ``linear`` (no bias, no norm).
    """

    params: int = 0
    macs: int = 0
    conv_linear_macs: int = 0
    layers: tuple[LayerCost, ...] = field(default=(), compare=False, repr=False)

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.params + other.params,
            self.macs + other.macs,
            self.conv_linear_macs + other.conv_linear_macs,
            self.layers + other.layers,
        )

    def weight_bytes(self, weight_type: str) -> int:
        """Bytes of all parameters stored as ``weight_type`` (``fp32``, ``fp16`` or ``int8``)."""
        return self.params * BYTES_PER_WEIGHT[weight_type]


def conv_bn(
    name: str, shape: Shape, out: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1), groups: int = 1
) -> tuple[Cost, Shape]:
    """Bias-free convolution with padding (k-1)/2 per axis, then BatchNorm: its price and output shape."""
    channels, freq, time = shape
    out_shape = (
        out,
        (freq + 2 * (kernel[0] // 2) - kernel[0]) // stride[0] + 1,
        (time + 2 * (kernel[1] // 2) - kernel[1]) // stride[1] + 1,
    )
    weights = out * (channels // groups) * kernel[0] * kernel[1]
    conv_macs = weights * out_shape[1] * out_shape[2]
    params, macs = weights + 2 * out, conv_macs + 2 * out
    return Cost(params, macs, conv_macs, (LayerCost(name, out_shape, params, macs, conv_macs),)), out_shape


def scalars(name: str, shape: Shape, params: int) -> Cost:
    """Raw parameters outside any layer the counter knows (GRN's gamma and beta): params, no MACs."""
    return Cost(params, 0, 0, (LayerCost(name, shape, params, 0, 0),))
