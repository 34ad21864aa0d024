"""A network's graph of operations made fit for int8: the same function by operations that integer kernels have.

What XNNPACK's quantiser and delegate leave to float kernels outside (counted with ``deploy.executorch.compiled``): means
over frequency and time, or over frequency alone (squeeze-excitation, ECA, BC-ResNet), average pools that count their padding
(shortcuts of inverted residuals), BatchNorms that follow no convolution (sub-spectral norm, ResNorm over frequency) and
convolutions over one axis (ECA).
"""

from __future__ import annotations

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode

ATEN = torch.ops.aten
SOME = 4  # a batch
_FAKE = FakeTensorMode()
CONVOLUTIONS = (ATEN.conv2d.default, ATEN.conv1d.default, ATEN.convolution.default)


def make_friendly(graph: fx.GraphModule) -> fx.GraphModule:
    """``graph`` (exported, with dynamic batch) rewritten in place; its values in evaluation mode stay but for rounding.

    A BatchNorm that follows no convolution becomes a depthwise 1x1 convolution: its statistics are fixed from here on.
    """
    rewrites = {
        ATEN.mean.dim: _mean,
        ATEN.avg_pool2d.default: _padded_pool,
        ATEN.batch_norm.default: _lone_norm,
        ATEN.conv1d.default: _wide_conv,
    }
    for node in list(graph.graph.nodes):
        rewrite = rewrites.get(node.target) if node.op == "call_function" else None
        if rewrite is not None:
            with graph.graph.inserting_before(node):
                made = rewrite(graph, node)
            if made is not None:
                node.replace_all_uses_with(made)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(node.meta["val"].shape)


def _called(graph: fx.GraphModule, like: fx.Node, target: object, *args: object) -> fx.Node:
    """A new operation whose value is described by running it on the descriptions of its inputs."""
    node = graph.graph.call_function(target, args)
    with _FAKE:
        values = fx.node.map_arg(args, lambda one: _stand_in(one.meta["val"]))
        node.meta = {**like.meta, "val": target(*values)}
    return node


def _stand_in(value: torch.Tensor) -> torch.Tensor:
    """A description of some batch for that of any: operations run on the latter might fix its size."""
    return torch.empty([size if isinstance(size, int) else SOME for size in value.shape], dtype=value.dtype)


def _mean(graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Means over both axes as an adaptive pool, over frequency alone as an average pool of the whole height."""
    x, dims, keep = node.args[0], node.args[1], len(node.args) > 2 and bool(node.args[2])
    if len(_shape(x)) != 4:
        return None
    over = {dim % 4 for dim in dims}
    if over == {2, 3}:
        pooled = _called(graph, node, ATEN.adaptive_avg_pool2d.default, x, [1, 1])
        return pooled if keep else _called(graph, node, ATEN.flatten.using_ints, pooled, 1)
    if over == {2} and keep:
        return _called(graph, node, ATEN.avg_pool2d.default, x, [_shape(x)[2], 1], [1, 1])
    return None


def _padded_pool(graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """An average pool over padded maps as a depthwise convolution with equal weights (XNNPACK's own padding fails)."""
    x, kernel, stride, padding, ceil, counted, divisor = (
        *node.args,
        *(None, 0, False, True, None)[len(node.args) - 2 :],
    )
    pair = [padding, padding] if isinstance(padding, int) else [padding[0], padding[-1]]
    if not any(pair) or ceil or not counted or divisor is not None:
        return None
    channels, taps = _shape(x)[1], (kernel[0], kernel[-1])
    equal = torch.full((channels, 1, *taps), 1 / (taps[0] * taps[1]))
    weight = _held(graph, f"{node.name}_weight", equal, node, trained=False)
    return _called(graph, node, ATEN.conv2d.default, x, weight, None, stride, pair, [1, 1], channels)


def _lone_norm(graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """A BatchNorm after no convolution as a depthwise 1x1 convolution with its scale and shift."""
    x = node.args[0]
    if x.target in CONVOLUTIONS or len(_shape(x)) != 4:
        return None
    scale, shift, mean, variance = (tensor_of(graph, one).detach() for one in node.args[1:5])
    factor = scale / torch.sqrt(variance + node.args[7])
    weight = _held(graph, f"{node.name}_weight", factor.reshape(-1, 1, 1, 1).clone(), node)
    bias = _held(graph, f"{node.name}_bias", shift - mean * factor, node)
    return _called(graph, node, ATEN.conv2d.default, x, weight, bias, [1, 1], [0, 0], [1, 1], len(factor))


def _wide_conv(graph: fx.GraphModule, node: fx.Node) -> fx.Node:
    """A convolution over one axis as one over two, the other being 1 long."""
    x, kernel, bias, stride, padding, dilation, groups = (*node.args, *(None, [1], [0], [1], 1)[len(node.args) - 2 :])
    name = str(kernel.target).replace(".", "_")
    weight = _held(graph, f"{name}_wide", tensor_of(graph, kernel).detach().unsqueeze(3).clone(), node)
    maps = _called(graph, node, ATEN.unsqueeze.default, x, 3)
    wide = [[value[0], other] for value, other in ((stride, 1), (padding, 0), (dilation, 1))]
    made = _called(graph, node, ATEN.conv2d.default, maps, weight, bias, *wide, groups)
    return _called(graph, node, ATEN.squeeze.dim, made, 3)


def tensor_of(graph: fx.GraphModule, node: fx.Node) -> torch.Tensor:
    """The tensor that a node fetches from the module."""
    found: object = graph
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found


def _held(graph: fx.GraphModule, name: str, value: torch.Tensor, like: fx.Node, trained: bool = True) -> fx.Node:
    """A new tensor of the module, a parameter if it is ``trained``, and the operation that fetches it."""
    if trained:
        graph.register_parameter(name, torch.nn.Parameter(value))
    else:
        graph.register_buffer(name, value)
    node = graph.graph.get_attr(name)
    node.meta = {key: kept for key, kept in like.meta.items() if key == "nn_module_stack"}
    with _FAKE:
        node.meta["val"] = _stand_in(value)
    return node
