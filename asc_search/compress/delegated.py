"""Operations that XNNPACK's delegate does not take, by some that it takes.

What is left to kernels outside (counted by ``deploy.executorch.compiled``) cuts a program into parts, between which every map is
transposed and copied: a BC-Res2Net of 24 splits fell into 25 of them.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from math import prod

from torch import fx

from asc_search.compress.graph_edit import ATEN, called, held, shape, tensor_of


def sliced(graph: fx.GraphModule, node: fx.Node) -> None:
    """The parts of a split as slices."""
    x, dim = node.args[0], node.args[2] if len(node.args) > 2 else 0
    spans = list(pairwise(accumulate((part.shape[dim] for part in node.meta["val"]), initial=0)))
    for part in list(node.users):
        part.replace_all_uses_with(called(graph, part, ATEN.slice.Tensor, x, dim, *spans[part.args[1]]))
        graph.graph.erase_node(part)


def own_slices(graph: fx.GraphModule) -> None:
    """A slice of its own for each reader: one that many read would be taken in float."""
    for node in list(graph.graph.nodes):
        if node.target is not ATEN.slice.Tensor:
            continue
        for user in list(node.users)[1:]:
            with graph.graph.inserting_before(node):
                user.replace_input_with(node, called(graph, node, node.target, *node.args))


def whole(graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """What a slice is taken of where it takes all of it."""
    x, dim, start, end, step = (*node.args, *(0, 0, None, 1)[len(node.args) - 1 :])
    every = start in (0, None) and (end in (None, 2**63 - 1) or end == shape(x)[dim]) and step == 1
    return x if every else None


def reshaped(graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """A new axis, behind that of the batch, as a reshaping."""
    x, axis = node.args
    return None if axis % len(shape(node)) == 0 else viewed(graph, node, x, *shape(node)[1:])


def viewed(graph: fx.GraphModule, like: fx.Node, x: fx.Node, *sizes: int) -> fx.Node:
    """``x`` in another shape (batch, *sizes)."""
    return called(graph, like, ATEN.reshape.default, x, [-1, *sizes])


def wide_conv(graph: fx.GraphModule, node: fx.Node) -> fx.Node:
    """A convolution over one axis as one over two, the other being 1 long."""
    x, kernel, bias, stride, padding, dilation, groups = (*node.args, *(None, [1], [0], [1], 1)[len(node.args) - 2 :])
    name = str(kernel.target).replace(".", "_")
    weight = held(graph, f"{name}_wide", tensor_of(graph, kernel).detach().unsqueeze(3).clone(), node)
    maps = viewed(graph, node, x, *shape(x)[1:], 1)
    wide = [[value[0], other] for value, other in ((stride, 1), (padding, 0), (dilation, 1))]
    made = called(graph, node, ATEN.conv2d.default, maps, weight, bias, *wide, groups)
    return viewed(graph, node, made, *shape(node)[1:])


def root_of_mean(graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """The Euclidean norm of each channel's map as the root of its mean square, times that of its size; in float."""
    x, order, dims, keep = (*node.args, *(2, None, False)[len(node.args) - 1 :])
    if order != 2 or len(shape(x)) != 4 or dims is None or not keep or {dim % 4 for dim in dims} != {2, 3}:
        return None
    mean = called(graph, node, ATEN.mean.dim, called(graph, node, ATEN.pow.Tensor_Scalar, x, 2), [2, 3], True)
    # Divided, since XNNPACK's quantiser would have the factors of a product in int8, squares among them.
    return called(
        graph, node, ATEN.div.Tensor, called(graph, node, ATEN.sqrt.default, mean), prod(shape(x)[2:]) ** -0.5
    )


def mean_of_channels(graph: fx.GraphModule, node: fx.Node, x: fx.Node) -> fx.Node:
    """The mean over the channels of maps of one value, as one over frequency."""
    return called(graph, node, ATEN.mean.dim, viewed(graph, node, x, 1, shape(x)[1], 1), [2, 3], True)
