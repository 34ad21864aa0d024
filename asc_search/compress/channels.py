"""Which channels of a network must go together: found by following them through one forward pass.

torch-pruning's own graph cannot do that where channels are split in runs (it fails or prunes wrongly), as Res2 blocks do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from asc_search.errors import NetworkError

# Functions that leave the channels in their places. What is not known is refused: it might not.
_KEEP = frozenset(
    [
        *("relu", "relu_", "hardswish", "hardswish_", "silu", "leaky_relu", "leaky_relu_", "sigmoid"),
        *(
            "dropout",
            "feature_dropout",
            "dropout2d",
            "avg_pool2d",
            "max_pool2d",
            "_max_pool2d",
            "boolean_dispatch",
            "fn",
        ),
        *("adaptive_avg_pool2d", "add", "__add__", "mul", "__mul__", "contiguous", "flatten"),
    ]
)


@dataclass(frozen=True)
class Axis:
    """The channels along one side of a layer: its outputs (``out``, of a norm too), or the inputs of its kernel.

    ``labels`` (size,) number the channels of the whole network; ``made`` says that they begin here.
    """

    layer: str
    out: bool
    labels: tuple[int, ...]
    made: bool = False


@dataclass(frozen=True)
class Space:
    """Channels that share a width: the least label of each, and the axes they lie along, first those where they begin."""

    roots: tuple[int, ...]
    axes: tuple[Axis, ...]


@dataclass
class Channels:
    """All axes of a network, in the order in which they are reached, and what is known about which labels are one."""

    axes: list[Axis] = field(default_factory=list)
    _parents: list[int] = field(default_factory=list)

    def fresh(self, count: int) -> tuple[int, ...]:
        """``count`` new labels."""
        first = len(self._parents)
        self._parents += range(first, first + count)
        return tuple(range(first, first + count))

    def root(self, label: int) -> int:
        """The least label of those that go together with ``label``."""
        while self._parents[label] != label:
            self._parents[label] = label = self._parents[self._parents[label]]
        return label

    def join(self, one: Sequence[int], other: Sequence[int]) -> None:
        """Channels of ``one`` go together with those in the same places of ``other``."""
        for pair in zip(one, other, strict=True):
            low, high = sorted(map(self.root, pair))
            self._parents[high] = low

    def spaces(self) -> list[Space]:
        """What has a width of its own: the channels that begin in the same layers, as they all reach the same ones."""
        makers: dict[int, list[int]] = {}
        for number, axis in enumerate(self.axes):
            for root in dict.fromkeys(map(self.root, axis.labels if axis.made else ())):
                makers.setdefault(root, []).append(number)
        roots_of: dict[tuple[int, ...], list[int]] = {}
        for root, numbers in makers.items():
            roots_of.setdefault(tuple(numbers), []).append(root)
        held = [(axis, set(map(self.root, axis.labels))) for axis in self.axes]
        return [
            Space(tuple(roots), tuple(sorted((a for a, held_ in held if held_ & set(roots)), key=lambda a: not a.made)))
            for roots in roots_of.values()
        ]


def follow(network: nn.Module, shape: tuple[int, int, int]) -> Channels:
    """The channels of ``network`` on inputs of ``shape`` (channel, freq, time).

    Raises:
        NetworkError: it does something to its channels that is not known here.
    """
    layers = {id(one.weight): (name, one) for name, one in network.named_modules() if _has_weight(one)}
    device = next(network.parameters()).device
    was = network.training
    with torch.no_grad(), _Follower(layers) as follower:
        network.eval()(torch.zeros(2, *shape, device=device))
    network.train(was)
    return follower.channels


def _has_weight(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d) and module.weight is not None


class _Follower(TorchFunctionMode):
    """Notes for every tensor that is made where its channels come from: (labels, the dimension they lie along)."""

    def __init__(self, layers: dict[int, tuple[str, nn.Module]]) -> None:
        super().__init__()
        self.channels = Channels()
        self._layers = layers
        self._known: dict[int, tuple[tuple[int, ...], int]] = {}
        self._held: list[torch.Tensor] = []  # an id is that of one tensor while that lives

    def __torch_function__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        known = [self._known.get(id(one)) for one in _tensors((*args, *kwargs.values()))]
        out = func(*args, **kwargs)
        made = [one for one in _tensors([out])]
        name = getattr(func, "__name__", str(func))
        if made and (any(known) or name in ("conv2d", "linear")):
            labelled = self._labels(name, args, kwargs, [one for one in known if one], made)
            for tensor, labels in zip(made, labelled, strict=True):
                if labels is None:
                    continue
                if tensor.shape[labels[1]] != len(labels[0]):
                    raise _unknown(name)
                self._held.append(tensor)
                self._known[id(tensor)] = labels
        return out

    def _labels(self, name: str, args: Any, kwargs: Any, known: list, made: list) -> list:
        """What is known of the tensors ``made`` by the function ``name`` from tensors of which something is ``known``."""
        if name in ("conv2d", "linear", "batch_norm"):
            return [self._layer(name, args, kwargs)]
        labels, dim = known[0]
        if name == "split":
            parts = [labels[start : start + made[0].shape[dim]] for start in range(0, len(labels), made[0].shape[dim])]
            for part in parts[1:]:  # runs are of one width, and stay so
                self.channels.join(parts[0], part)
            return [(part, dim) for part in parts]
        if name in ("cat", "concat") and kwargs.get("dim", args[1] if len(args) > 1 else 0) == dim:
            if len(known) != len(args[0]):
                raise _unknown(name)
            return [(tuple(label for one, _ in known for label in one), dim)]
        if name == "reshape":
            return [(self._regrouped(labels, made[0].shape[dim]), dim)]
        if name == "transpose" and {args[1], args[2]} == {1, 2}:
            return [(labels, 3 - dim)]
        if name == "mean" and dim not in _dims(args, kwargs):
            return [known[0]]
        if name == "__getitem__" and (len(args[1]) <= dim or args[1][dim] == slice(None)):
            return [known[0]]
        if name not in _KEEP or any(one[1] != dim for one in known):
            raise _unknown(name)
        for other, _ in known[1:]:
            self.channels.join(labels, other)
        return [known[0]]

    def _layer(self, name: str, args: Any, kwargs: Any) -> tuple[tuple[int, ...], int] | None:
        """Note the axes of a layer; what is known of its output."""
        weight = kwargs["weight"] if "weight" in kwargs else args[3 if name == "batch_norm" else 1]
        if id(weight) not in self._layers:
            raise _unknown(name)
        called, layer = self._layers[id(weight)]
        known = self._known.get(id(args[0]))
        groups = getattr(layer, "groups", 1)
        if known is None or name == "batch_norm" or groups > 1:
            if name != "batch_norm" and groups == 1:
                return self._outputs(called, layer), 1
            if known is None or known[1] != 1:
                return known  # a norm of frequencies, or of the input itself
            labels = self._merged(known[0], layer) if groups > 1 else known[0]
            self.channels.axes.append(Axis(called, True, labels))
            return labels, 1
        if known[1] != 1:
            raise _unknown(name)
        self.channels.axes.append(Axis(called, False, known[0]))
        return self._outputs(called, layer), 1

    def _outputs(self, called: str, layer: nn.Module) -> tuple[int, ...]:
        """New labels for the outputs of a layer that mixes all its inputs."""
        labels = self.channels.fresh(layer.weight.shape[0])
        self.channels.axes.append(Axis(called, True, labels, made=True))
        return labels

    def _merged(self, labels: tuple[int, ...], layer: nn.Module) -> tuple[int, ...]:
        """The outputs of a convolution in groups: all channels of a group go together."""
        wide, narrow = len(labels) // layer.groups, layer.weight.shape[0] // layer.groups
        for at in range(1, wide):
            self.channels.join(labels[::wide], labels[at::wide])
        return tuple(label for label in labels[::wide] for _ in range(narrow))

    def _regrouped(self, labels: tuple[int, ...], count: int) -> tuple[int, ...]:
        """``labels`` where a reshape makes several channels of each (sub-bands), or one of several alike."""
        if count % len(labels) == 0:
            return tuple(label for label in labels for _ in range(count // len(labels)))
        several = len(labels) // count
        if len(labels) % count or any(label != labels[at - at % several] for at, label in enumerate(labels)):
            raise _unknown("reshape")
        return labels[::several]


def _tensors(values: Any) -> list[torch.Tensor]:
    """The tensors among ``values`` and in the lists there."""
    found: list[torch.Tensor] = []
    for one in values:
        if isinstance(one, torch.Tensor):
            found.append(one)
        elif isinstance(one, list | tuple) and not isinstance(one, torch.Size):
            found += [each for each in one if isinstance(each, torch.Tensor)]
    return found


def _dims(args: Any, kwargs: Any) -> tuple[int, ...]:
    """The dimensions a mean is taken over."""
    dims = kwargs.get("dim", args[1] if len(args) > 1 else (0, 1))
    return dims if isinstance(dims, tuple) else (dims,)


def _unknown(name: str) -> NetworkError:
    return NetworkError(f"channels cannot be followed through {name}; the block cannot be pruned, please report this")
