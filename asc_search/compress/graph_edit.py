"""New operations and tensors in an exported graph."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

import torch
from torch import fx

ATEN = torch.ops.aten
SOME = 4  # a batch


def shape(node: fx.Node) -> tuple[int, ...]:
    """Of the tensor that a node gives; its first size may stand for any batch."""
    return tuple(node.meta["val"].shape)


@cache
def _described() -> AbstractContextManager:
    """Where operations are run on descriptions of tensors; imported late, since it takes over a second."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode()


def called(graph: fx.GraphModule, like: fx.Node, target: object, *args: object) -> fx.Node:
    """A new operation whose value is described by running it on the descriptions of its inputs."""
    node = graph.graph.call_function(target, args)
    with _described():
        values = fx.node.map_arg(args, lambda one: _stand_in(one.meta["val"]))
        node.meta = {**like.meta, "val": target(*values)}
    return node


def _stand_in(value: torch.Tensor) -> torch.Tensor:
    """A description of some batch for that of any: operations run on the latter might fix its size."""
    return torch.empty([size if isinstance(size, int) else SOME for size in value.shape], dtype=value.dtype)


def tensor_of(graph: fx.GraphModule, node: fx.Node) -> torch.Tensor:
    """The tensor that a node fetches from the module."""
    found: object = graph
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found


def held(graph: fx.GraphModule, name: str, value: torch.Tensor, like: fx.Node, trained: bool = True) -> fx.Node:
    """A new tensor of the module, a parameter if it is ``trained``, and the operation that fetches it."""
    if trained:
        graph.register_parameter(name, torch.nn.Parameter(value))
    else:
        graph.register_buffer(name, value)
    node = graph.graph.get_attr(name)
    node.meta = {key: kept for key, kept in like.meta.items() if key == "nn_module_stack"}
    with _described():
        node.meta["val"] = _stand_in(value)
    return node


def fetched(graph: fx.GraphModule, before: fx.Node, name: str, value: torch.Tensor) -> fx.Node:
    """A new parameter of the module, fetched right before the operation that takes it."""
    with graph.graph.inserting_before(before):
        return held(graph, name, value.clone(), before)


def by_channel(node: fx.Node) -> bool:
    """Whether a convolution makes each channel of that channel alone."""
    channels = shape(node.args[0])[1]
    return len(node.args) > 6 and node.args[6] == channels == shape(node)[1]
