"""Quantised ONNX graphs in the form in which onnxruntime computes them in integers, and alike, on every x86 CPU.

There it multiplies uint8 activations with int8 weights. A CPU without VNNI adds pairs of such products in 16 bits, where they
overflow, unless the weights are made uint8 as the graph is loaded (``session.EXACT``), which onnxruntime does only of graphs in
this form.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

LOWEST = 128  # of int8, below zero


def for_every_cpu(model: ModelProto) -> ModelProto:
    """``model`` (QDQ), in place, with the same numbers: activations uint8, and the weights of each convolution its own.

    onnxruntime makes int8 activations uint8 itself, but not those that several operations read, and leaves what reads them in
    float; and it fails to make weights uint8 that are shared.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    shifted: dict[str, TensorProto] = {}

    def unsigned(name: str) -> str:
        if constants[name].data_type != TensorProto.INT8:
            return name
        if name not in shifted:
            value = numpy_helper.to_array(constants[name]).astype(np.int16) + LOWEST
            shifted[name] = numpy_helper.from_array(value.astype(np.uint8), f"{name}_unsigned")
        return shifted[name].name

    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and not _is_weight(node, constants):
            node.input[2] = unsigned(node.input[2])
            if node.input[0] in constants:
                node.input[0] = unsigned(node.input[0])
    graph.initializer.extend(shifted.values())
    _own_weights(graph)
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return model


def _is_weight(node: NodeProto, constants: Mapping[str, TensorProto]) -> bool:
    """Whether ``node`` dequantises weights, which have a scale a channel, or a bias, which has 32 bits."""
    value = constants.get(node.input[0])
    return value is not None and (bool(constants[node.input[1]].dims) or value.data_type == TensorProto.INT32)


def _own_weights(graph: GraphProto) -> None:
    """Give each convolution dequantised weights of its own, and these tensors of their own."""
    makers = {node.output[0]: node for node in graph.node}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    taken: set[str] = set()
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1] in taken:
            own = NodeProto()
            own.CopyFrom(makers[node.input[1]])
            own.name = own.output[0] = node.input[1] = f"{own.output[0]}_{node.name}"
            nodes.append(own)
        taken.update(node.input[1:2])
        nodes.append(node)
    for node in nodes:
        if node.op_type != "DequantizeLinear" or not _is_weight(node, constants):
            continue
        for at, name in enumerate(node.input):
            if name in taken:
                copied = TensorProto()
                copied.CopyFrom(constants[name])
                copied.name = node.input[at] = f"{name}_{node.name}"
                graph.initializer.append(copied)
            taken.add(name)
    del graph.node[:]
    graph.node.extend(nodes)
