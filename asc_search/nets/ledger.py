"""Ledger: the closed forms of the counter, one method an operation; a family prices itself by running through them.

Everything here is plain integer arithmetic, so that widths and sizes may also be integer arrays: a search prices
thousands of candidates at once by the very formulas that price one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from asc_search.errors import NetworkError
from asc_search.nets.cost import Cost, LayerCost, Shape
from asc_search.nets.memory import INPUT

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Map:
    """A feature map on its way through a network: its sizes, and the number of the tensor that holds it.

    ``reach`` is its receptive field in the input and ``jump`` the distance of two neighbours there, in (freq, time).
    """

    channels: int
    freq: int
    time: int
    tensor: int = INPUT
    reach: Pair = (1, 1)
    jump: Pair = (1, 1)

    @property
    def shape(self) -> Shape:
        return (self.channels, self.freq, self.time)


class Ledger:
    """Adds up what the operations of one network cost, and notes each as a row."""

    def __init__(self, shape: Shape) -> None:
        self.input = Map(*shape)
        self.params = self.macs = self.conv_linear_macs = self.kernels = self.channels = self.others = 0
        self._rows: list[LayerCost] = []
        self._tensors = INPUT
        self._place = self._prefix = ""

    def enter(self, index: int, family: str) -> None:
        """What follows belongs to layer ``index``; rows and errors are named after it."""
        self._place, self._prefix = f"layer {index} ({family})", f"{index}.{family}."

    def require(self, holds: Any, what: str, *values: Any) -> None:
        """Refuse the network unless ``holds``; ``what`` says what is wrong, with ``values`` for its ``{}``.

        Raises:
            NetworkError: it does not hold; the message names the layer.
        """
        if not holds:
            told = (max(0, value) if isinstance(value, int) else value for value in values)
            raise NetworkError(f"{self._place}: {what.format(*told)}")

    def conv(
        self,
        name: str,
        x: Map,
        out: int,
        kernel: Pair = (1, 1),
        stride: Pair = (1, 1),
        *,
        padding: Pair | None = None,
        dilation: Pair = (1, 1),
        groups: int = 1,
        bias: bool = False,
        norm: bool = True,
    ) -> Map:
        """Convolution, padded by dilation * (kernel // 2) per axis unless told, and its BatchNorm (``norm``).

        P = out * in/groups * kf*kt (+ out with a bias) (+ 2 out); MACs = weights and biases * F'T' (+ 2 out).
        """
        if padding is None:
            padding = (dilation[0] * (kernel[0] // 2), dilation[1] * (kernel[1] // 2))
        freq = _positions(x.freq, kernel[0], stride[0], padding[0], dilation[0])
        time = _positions(x.time, kernel[1], stride[1], padding[1], dilation[1])
        weights = out * (x.channels // groups) * kernel[0] * kernel[1]
        biases, norms = (out if bias else 0), (2 * out if norm else 0)
        positions = freq * time
        made = self._window(
            Map(out, freq, time), x, (dilation[0] * (kernel[0] - 1), dilation[1] * (kernel[1] - 1)), stride
        )
        self.kernels = self.kernels + weights
        self.channels = self.channels + out
        costs = (weights + biases + norms, (weights + biases) * positions + norms, weights * positions)
        return self._note(name, (x,), made, costs)

    def linear(self, name: str, x: Map, out: int) -> Map:
        """Linear layer with bias on a vector (x is channels x 1 x 1): P = in * out + out, MACs the same, once."""
        weights = x.channels * out
        total = weights + out
        self.kernels = self.kernels + weights
        self.channels = self.channels + out
        return self._note(name, (x,), replace(x, channels=out), (total, total, weights))

    def eca(self, name: str, x: Map) -> Map:
        """Convolution of 3 taps along the channels of a 1x1 map: P = 3, MACs = 3 * channels."""
        self.kernels = self.kernels + 3
        self.channels = self.channels + 1
        return self._note(name, (x,), x, (3, 3 * x.channels, 3 * x.channels))

    def norm(self, name: str, x: Map, features: int) -> Map:
        """BatchNorm over ``features`` that no convolution before it can take in: P = MACs = 2 * features."""
        self.others = self.others + 2 * features
        return self._note(name, (x,), x, (2 * features, 2 * features, 0))

    def scalars(self, name: str, x: Map, params: int) -> Map:
        """An operation with raw parameters outside any layer the counter knows: params, no MACs."""
        self.others = self.others + params
        return self._note(name, (x,), x, (params, 0, 0))

    def uncalled(self, name: str, x: Map, params: int) -> Map:
        """Registered parameters of modules that never run: params, no MACs, no operation."""
        self.others = self.others + params
        return self._note(name, (x,), x, (params, 0, 0), view=True)

    def pool(self, name: str, x: Map, kernel: Pair, stride: Pair | None = None, padding: Pair = (0, 0)) -> Map:
        """Average or max pooling, floor; the stride is the kernel unless told. No cost."""
        stride = kernel if stride is None else stride
        freq = _positions(x.freq, kernel[0], stride[0], padding[0])
        time = _positions(x.time, kernel[1], stride[1], padding[1])
        made = self._window(Map(x.channels, freq, time), x, (kernel[0] - 1, kernel[1] - 1), stride)
        return self._note(name, (x,), made)

    def mean(self, name: str, x: Map, freq: bool = True, time: bool = True) -> Map:
        """Mean (or maximum) over the axes named. No cost."""
        made = Map(
            x.channels, 1 if freq else x.freq, 1 if time else x.time, reach=self._spread(x, freq, time), jump=x.jump
        )
        return self._note(name, (x,), made)

    def add(self, name: str, first: Map, *others: Map) -> Map:
        """Elementwise sum; smaller maps are broadcast over ``first``. No cost."""
        return self._note(name, (first, *others), self._widest(first, others))

    def scale(self, name: str, x: Map, gate: Map) -> Map:
        """``x`` times a gate broadcast over it; the gate's reach does not count. No cost."""
        return self._note(name, (x, gate), x)

    def apply(self, name: str, x: Map) -> Map:
        """An operation without parameters that no other takes in (a normalisation by statistics). No cost."""
        return self._note(name, (x,), x)

    def concat(self, name: str, maps: Sequence[Map]) -> Map:
        """Concatenation along the channels. No cost."""
        made = replace(self._widest(maps[0], maps[1:]), channels=sum(one.channels for one in maps))
        return self._note(name, maps, made)

    def split(self, x: Map, channels: int) -> Map:
        """``channels`` of ``x`` as a view. No cost, no memory."""
        return replace(x, channels=channels)

    def cut(self, x: Map, freq: int) -> Map:
        """``freq`` bins of ``x`` as a view. No cost, no memory."""
        return replace(x, freq=freq)

    def cost(self, last: Map) -> Cost:
        """The whole price; ``last`` is the map before the head."""
        reach = tuple(min(seen, size) for seen, size in zip(last.reach, self.input.shape[1:], strict=True))
        return Cost(
            self.params,
            self.macs,
            self.conv_linear_macs,
            self.kernels,
            self.channels,
            self.others,
            reach,
            tuple(self._rows),
            self.input.shape,
        )

    def _note(self, name: str, reads: Sequence[Map], made: Map, costs: tuple = (0, 0, 0), view: bool = False) -> Map:
        self.require(
            (made.channels >= 1) & (made.freq >= 1) & (made.time >= 1),
            "{} would give {} channels on a map of {}x{} (freq x time); use a larger input, fewer strides or more channels",
            name,
            *made.shape,
        )
        params, macs, conv_linear_macs = costs
        self.params = self.params + params
        self.macs = self.macs + macs
        self.conv_linear_macs = self.conv_linear_macs + conv_linear_macs
        if not view:
            self._tensors += 1
            made = replace(made, tensor=self._tensors)
        numbers = tuple(dict.fromkeys(one.tensor for one in reads))
        self._rows.append(LayerCost(self._prefix + name, made.shape, *costs, numbers, made.tensor))
        return made

    def _window(self, made: Map, x: Map, extent: Pair, stride: Pair) -> Map:
        """``made`` from ``x`` by a window ``extent`` + 1 wide: r <- r + extent * j, j <- j * s, per axis."""
        reach = (x.reach[0] + extent[0] * x.jump[0], x.reach[1] + extent[1] * x.jump[1])
        return replace(made, reach=reach, jump=(x.jump[0] * stride[0], x.jump[1] * stride[1]))

    def _spread(self, x: Map, freq: bool, time: bool) -> Pair:
        """The reach of a mean of ``x``: the whole input along the axes it is taken over."""
        return (self.input.freq if freq else x.reach[0], self.input.time if time else x.reach[1])

    def _widest(self, first: Map, others: Sequence[Map]) -> Map:
        """``first`` with the largest reach of all."""
        reaches = [first.reach, *(one.reach for one in others)]
        return replace(first, reach=(max(r[0] for r in reaches), max(r[1] for r in reaches)))


def _positions(size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    """Output positions of a sliding window."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
