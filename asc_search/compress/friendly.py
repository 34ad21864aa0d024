"""A network's graph of operations made fit for int8: the same function by operations that integer kernels have.

Means over frequency and time, or over frequency alone (squeeze-excitation, ECA, BC-ResNet), average pools that count their
padding (shortcuts of inverted residuals) and BatchNorms that follow no convolution (sub-spectral norm, ResNorm over frequency)
are such here; what XNNPACK's delegate would leave outside in ``delegated``. What one range for a whole map would cost is spared
in ``unlike`` and in sums of convolutions.
"""

from __future__ import annotations

from math import prod

import torch
from torch import fx

from asc_search.compress.delegated import mean_of_channels, own_slices, reshaped, root_of_mean, sliced, whole, wide_conv
from asc_search.compress.graph_edit import ATEN, by_channel, called, held, shape, tensor_of
from asc_search.compress.unlike import HARD_SWISHES, parted

RESHAPING = (ATEN.flatten.using_ints, ATEN.squeeze.dim, ATEN.squeeze.dims, ATEN.reshape.default, ATEN.view.default)
CONVOLUTIONS = (ATEN.conv2d.default, ATEN.conv1d.default, ATEN.convolution.default)


def make_friendly(graph: fx.GraphModule) -> fx.GraphModule:
    """``graph`` (exported, with dynamic batch) rewritten in place; its values in evaluation mode stay but for rounding.

    A BatchNorm that follows no convolution becomes a depthwise 1x1 convolution, or goes into the two convolutions whose sum it
    normalises: its statistics are fixed from here on.
    """
    rewrites = {
        ATEN.mean.dim: _mean,
        ATEN.avg_pool2d.default: _padded_pool,
        ATEN.batch_norm.default: _lone_norm,
        ATEN.conv1d.default: wide_conv,
        ATEN.split.Tensor: sliced,
        ATEN.slice.Tensor: whole,
        ATEN.unsqueeze.default: reshaped,
        ATEN.linalg_vector_norm.default: root_of_mean,
        **dict.fromkeys(HARD_SWISHES, parted),
    }
    for node in list(graph.graph.nodes):
        rewrite = rewrites.get(node.target) if node.op == "call_function" else None
        if rewrite is not None:
            with graph.graph.inserting_before(node):
                made = rewrite(graph, node)
            if made is not None:
                node.replace_all_uses_with(made)
                graph.graph.erase_node(node)  # one that works in place is no dead code to PyTorch
    own_slices(graph)
    _float_end(graph)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _mean(graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Means over both axes as an adaptive pool, over frequency alone as an average pool of the whole height; over channels
    that have one value each as over frequency.
    """
    x, dims, keep = node.args[0], node.args[1], len(node.args) > 2 and bool(node.args[2])
    if len(shape(x)) != 4:
        return None
    over = {dim % 4 for dim in dims}
    if over == {2, 3}:
        pooled = called(graph, node, ATEN.adaptive_avg_pool2d.default, x, [1, 1])
        return pooled if keep else called(graph, node, ATEN.flatten.using_ints, pooled, 1)
    if over == {2} and keep:
        return called(graph, node, ATEN.avg_pool2d.default, x, [shape(x)[2], 1], [1, 1])
    if over == {1} and keep and shape(x)[2:] == (1, 1):
        return mean_of_channels(graph, node, x)
    return None


def _float_end(graph: fx.GraphModule) -> None:
    """Where the network ends in a mean over its maps, that mean in float: an int8 one would round the logits for nothing.

    XNNPACK's quantiser leaves average pools alone, adaptive ones and means not.
    """
    (node,) = next(one for one in graph.graph.nodes if one.op == "output").all_input_nodes
    while node.target in RESHAPING and len(node.users) == 1:
        node = node.args[0]
    x = node.args[0] if node.target is ATEN.adaptive_avg_pool2d.default and len(node.users) == 1 else None
    if x is not None and prod(shape(x)[2:]) > 1:
        with graph.graph.inserting_before(node):
            pool = called(graph, node, ATEN.avg_pool2d.default, x, [*shape(x)[2:]])
        pool.meta = {"val": pool.meta["val"]}  # by its origin the quantiser would take it for what it was
        node.replace_all_uses_with(pool)


def _padded_pool(graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """An average pool over padded maps as a depthwise convolution with equal weights (XNNPACK's own padding fails)."""
    x, kernel, stride, padding, ceil, counted, divisor = (
        *node.args,
        *(None, 0, False, True, None)[len(node.args) - 2 :],
    )
    pair = [padding, padding] if isinstance(padding, int) else [padding[0], padding[-1]]
    if not any(pair) or ceil or not counted or divisor is not None:
        return None
    channels, taps = shape(x)[1], (kernel[0], kernel[-1])
    equal = torch.full((channels, 1, *taps), 1 / (taps[0] * taps[1]))
    weight = held(graph, f"{node.name}_weight", equal, node, trained=False)
    return called(graph, node, ATEN.conv2d.default, x, weight, None, stride, pair, [1, 1], channels)


def _lone_norm(graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """A BatchNorm after no convolution as a depthwise 1x1 convolution with its scale and shift."""
    x = node.args[0]
    if x.target in CONVOLUTIONS or len(shape(x)) != 4:
        return None
    scale, shift, mean, variance = (tensor_of(graph, one).detach() for one in node.args[1:5])
    factor = scale / torch.sqrt(variance + node.args[7])
    if x.target is ATEN.add.Tensor and len(x.users) == 1 and all(_only(one, x) for one in x.args):
        return _normed_sum(graph, x, factor, shift - mean * factor)
    weight = held(graph, f"{node.name}_weight", factor.reshape(-1, 1, 1, 1).clone(), node)
    bias = held(graph, f"{node.name}_bias", shift - mean * factor, node)
    return called(graph, node, ATEN.conv2d.default, x, weight, bias, [1, 1], [0, 0], [1, 1], len(factor))


def _only(node: object, user: fx.Node) -> bool:
    """Whether ``node`` is a convolution over two axes that ``user`` alone reads."""
    return isinstance(node, fx.Node) and node.target is ATEN.conv2d.default and list(node.users) == [user]


def _normed_sum(graph: fx.GraphModule, total: fx.Node, factor: torch.Tensor, shift: torch.Tensor) -> fx.Node:
    """``factor`` a channel times the sum of two convolutions, plus ``shift``: in the weights and biases of both.

    With one range for all channels of a map, an int8 sum whose channels a BatchNorm makes alike would lose the small ones.
    Where both read one convolution's map channel by channel (DSSC), its channels are made alike, too.
    """
    first, second = total.args
    factors, source = factor, first.args[0]
    shared = source is second.args[0] and source.target is ATEN.conv2d.default and {*source.users} == {first, second}
    if shared and all(by_channel(one) for one in (first, second)):
        own = tensor_of(graph, source.args[1]).detach()
        size = own.abs().flatten(1).amax(1).clamp(min=1e-12)
        source, factors = _scaled(graph, source, source.args[0], 1 / size, 1 / size), factor * size
    read = [source if shared else one.args[0] for one in (first, second)]
    scaled = _scaled(graph, first, read[0], factors, factor, shift)
    return called(graph, total, ATEN.add.Tensor, scaled, _scaled(graph, second, read[1], factors, factor))


def _scaled(
    graph: fx.GraphModule,
    node: fx.Node,
    x: fx.Node,
    weights: torch.Tensor,
    biases: torch.Tensor,
    shift: torch.Tensor | None = None,
) -> fx.Node:
    """The convolution ``node`` of ``x`` with its weights and bias times such factors an output channel, and ``shift`` added."""
    kernel, known = node.args[1], node.args[2] if len(node.args) > 2 else None
    weight = held(graph, f"{node.name}_scaled", tensor_of(graph, kernel).detach() * weights.reshape(-1, 1, 1, 1), node)
    bias = None if known is None else tensor_of(graph, known).detach() * biases
    if shift is not None:
        bias = shift.clone() if bias is None else bias + shift
    moved = None if bias is None else held(graph, f"{node.name}_bias", bias, node)
    return called(graph, node, ATEN.conv2d.default, x, weight, moved, *node.args[3:])
