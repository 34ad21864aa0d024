"""What a network costs, as exact integers from closed forms.

Counting follows NeSsi, the official DCASE counter (torchinfo at batch 1): a convolution costs its weights and biases
times its output positions, a BatchNorm 2C once, everything without parameters nothing; every registered parameter counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from asc_search.nets.memory import Step, peak_elements

Shape = tuple[int, int, int]  # (channel, freq, time)

BYTES_PER_WEIGHT = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class LayerCost:
    """One priced operation, as a device would run it: BatchNorm and activation belong to the convolution before them.

    ``out`` is its output shape (channel, freq, time); ``reads`` and ``writes`` number the tensors it needs and makes.
    """

    name: str
    out: Shape
    params: int
    macs: int
    conv_linear_macs: int
    reads: tuple[int, ...]
    writes: int


@dataclass(frozen=True)
class Int8Parts:
    """Bytes of a network in int8, part by part, BatchNorm folded into the convolution before it.

    ``weights``: one byte each; ``biases``: an int32 for each output channel of a convolution or linear layer;
    ``scales``: an fp32 for each of these channels; ``others``: parameters that fold into nothing, in fp32.
    """

    weights: int
    biases: int
    scales: int
    others: int


@dataclass(frozen=True)
class Cost:
    """Price of a network, per inference of one input window.

    ``macs`` is the NeSsi count, ``conv_linear_macs`` what fvcore reports under ``conv`` + ``linear`` (no bias, no norm).
    ``kernels`` of the params are convolution and linear weights, with ``channels`` outputs in all; ``others`` belong to
    norms with no convolution before them and to raw scalars. ``receptive_field`` is what one value of the map that the
    head reads sees of the input, through convolutions and pools, in (mel bins, frames); at most that where a block splits
    its channels.
    """

    params: int = 0
    macs: int = 0
    conv_linear_macs: int = 0
    kernels: int = 0
    channels: int = 0
    others: int = 0
    receptive_field: tuple[int, int] = (1, 1)
    layers: tuple[LayerCost, ...] = field(default=(), compare=False, repr=False)
    input: Shape = field(default=(0, 0, 0), compare=False, repr=False)

    def weight_bytes(self, weight_type: str) -> int:
        """Bytes of all parameters stored as ``weight_type`` (``fp32``, ``fp16`` or ``int8``): the official count."""
        return self.params * BYTES_PER_WEIGHT[weight_type]

    @property
    def int8_parts(self) -> Int8Parts:
        """What an int8 file holds besides one byte a weight; the official count leaves the difference out."""
        return Int8Parts(self.kernels, 4 * self.channels, 4 * self.channels, 4 * self.others)

    @cached_property
    def peak_activations(self) -> int:
        """Most values alive at a time, inputs and output of the running operation included, in the best order."""
        channels, freq, time = self.input
        steps = [
            Step(row.reads, row.writes, row.out[0] * row.out[1] * row.out[2])
            for row in self.layers
            if row.writes not in row.reads
        ]
        return peak_elements(channels * freq * time, steps)

    def peak_activation_bytes(self, kind: str) -> int:
        """Peak of the activations in bytes when each is held as ``kind`` (``fp32``, ``fp16`` or ``int8``)."""
        return self.peak_activations * BYTES_PER_WEIGHT[kind]
