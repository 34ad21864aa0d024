"""A network as a list of operations in JSON beside its tensors: how an int8 network, which no specification rebuilds, is kept.

Loading runs no code but PyTorch's own operations: a name that is none of those, or one that takes text (a file's name, say), is
refused.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx
from torch.ao.quantization.fx import _decomposed  # noqa: F401  registers quantized_decomposed

from asc_search.errors import WeightsError

NAMESPACES = ("aten", "quantized_decomposed")
OPERATORS = {name: getattr(operator, name) for name in ("getitem", "add", "sub", "mul", "floordiv")}
ROUND = torch.ops.quantized_decomposed.quantize_per_tensor.default
PER_TENSOR = torch.ops.quantized_decomposed.dequantize_per_tensor.default
PER_CHANNEL = torch.ops.quantized_decomposed.dequantize_per_channel.default

Tensors = dict[str, torch.Tensor]
Operations = list[dict[str, Any]]


def described(module: fx.GraphModule) -> tuple[Operations, Tensors]:
    """The operations of ``module`` in order as JSON, and the tensors they read by name, contiguous on the CPU.

    Zero points of symmetric weights are kept in a byte each.
    """
    operations: Operations = []
    tensors: Tensors = {}
    narrow = {str(node.args[2].target) for node in module.graph.nodes if node.target is PER_CHANNEL}
    for node in module.graph.nodes:
        if node.op == "call_module" and not node.users:
            continue  # checks of the example's shapes
        target = str(node.target)
        if node.op == "get_attr":
            value = _fetched(module, target).detach().cpu().contiguous().clone()
            tensors[target] = value.to(torch.int8) if target in narrow else value
        elif node.op == "call_function":
            target = node.target.__name__ if node.target in OPERATORS.values() else target
        entry = {"name": node.name, "op": node.op, "target": target, "args": _plain(node.args)}
        operations.append({**entry, "kwargs": _plain(dict(node.kwargs))} if node.kwargs else entry)
    return operations, tensors


def rebuilt(operations: Operations, tensors: Mapping[str, torch.Tensor]) -> fx.GraphModule:
    """The module of :func:`described`, in evaluation mode.

    Raises:
        WeightsError: an operation is not known or not allowed, or a tensor is missing.
    """
    root, graph, nodes = torch.nn.Module(), fx.Graph(), {}
    held: dict[str, str] = {}
    for entry in operations:
        op, target = entry["op"], entry["target"]
        args, kwargs = _restored(entry["args"], nodes), _restored(entry.get("kwargs", {}), nodes)
        if op == "placeholder":
            node = graph.placeholder(target)
        elif op == "get_attr":
            if target not in tensors:
                raise WeightsError(f"the tensor {target} of the graph is missing")
            if target not in held:
                held[target] = f"t{len(held)}"
                root.register_buffer(held[target], tensors[target])
            node = graph.get_attr(held[target])
        elif op == "call_function":
            node = graph.call_function(_operation(target), args, kwargs)
        elif op == "output":
            node = graph.output(args[0] if not isinstance(args[0], (tuple, list)) else args[0][0])
        else:
            raise WeightsError(f"{op} is no operation of a stored graph")
        nodes[entry["name"]] = node
        if node.target is PER_CHANNEL:
            name = str(node.args[2].target)
            setattr(root, name, getattr(root, name).to(torch.int64))
    graph.lint()
    return fx.GraphModule(root, graph).eval()


def _operation(name: str) -> Callable[..., Any]:
    if name in OPERATORS:
        return OPERATORS[name]
    namespace, _, rest = name.partition(".")
    packet, _, overload = rest.partition(".")
    try:
        if namespace not in NAMESPACES:
            raise AttributeError
        found = getattr(getattr(getattr(torch.ops, namespace), packet), overload)
    except AttributeError:
        raise WeightsError(f"{name} is no operation of this version of PyTorch that a stored graph may use") from None
    if any("str" in str(argument.type) for argument in found._schema.arguments):
        raise WeightsError(f"{name} takes text; a stored graph may not use it")
    return found


def _fetched(module: fx.GraphModule, target: str) -> torch.Tensor:
    found: Any = module
    for part in target.split("."):
        found = getattr(found, part)
    return found


def _plain(value: Any) -> Any:
    """Arguments as JSON; what JSON has not is a mapping with one key that says what it is."""
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {"kwargs": {key: _plain(one) for key, one in value.items()}}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.memory_format):
        return {"memory_format": str(value).removeprefix("torch.")}
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise WeightsError(f"an argument {value!r} of a graph cannot be stored; please report this")


def _restored(value: Any, nodes: Mapping[str, fx.Node]) -> Any:
    if isinstance(value, list):
        return tuple(_restored(one, nodes) for one in value)
    if not isinstance(value, Mapping):
        return value
    if not value:
        return {}
    ((kind, inside),) = value.items()
    if kind == "node":
        return nodes[inside]
    if kind == "kwargs":
        return {key: _restored(one, nodes) for key, one in inside.items()}
    found = getattr(torch, inside, None) if kind in ("dtype", "memory_format") else None
    if not isinstance(found, (torch.dtype, torch.memory_format)):
        raise WeightsError(f"{kind} {inside} is not known")
    return found
