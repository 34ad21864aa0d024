"""A trained network as an ONNX graph: features in, logits out, any batch size, nothing in it but what runs."""

from __future__ import annotations

import io
import warnings

import numpy as np
import onnx
import torch
from onnx import ModelProto, TensorProto, compose, helper, numpy_helper
from torch import nn

from asc_search.deploy.onnx_frontend import FEATURES, IR_VERSION, OPSET

LOGITS = "logits"
SMALL = 64  # values of a constant that is not worth a Cast


def network_graph(network: nn.Module, shape: tuple[int, int, int], fold: bool) -> ModelProto:
    """The graph of ``network``: features (batch, *shape) -> logits (batch, classes), float32, opset 17.

    With ``fold`` BatchNorms are multiplied into the convolutions before them; without, every constant is the network's.
    The exporter by TorchScript takes a thirtieth of the time of the other and writes graphs a third as large.
    """
    buffer = io.BytesIO()
    mode = torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE
    axes = {FEATURES: {0: "batch"}, LOGITS: {0: "batch"}}
    network = network.cpu().eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that exporter is deprecated, and says so in several ways
        torch.onnx.export(
            network, (torch.zeros(2, *shape),), buffer, input_names=[FEATURES], output_names=[LOGITS],
            dynamic_axes=axes, opset_version=OPSET, dynamo=False, training=mode,
        )  # fmt: skip
    model = onnx.load_model_from_string(buffer.getvalue())
    model.ir_version = IR_VERSION
    return stripped(model)


def stripped(model: ModelProto) -> ModelProto:
    """``model`` without what no runtime needs: source lines, and types of inner values."""
    model.doc_string, model.producer_name, model.producer_version = "", "asc-search", ""
    graph = model.graph
    graph.doc_string, graph.name = "", "network"
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for tensor in graph.initializer:
        tensor.doc_string = ""
    return model


def with_short_names(model: ModelProto) -> ModelProto:
    """``model`` with inner values numbered and nodes unnamed: a third of a quantised file is names."""
    out = ModelProto()
    out.CopyFrom(model)
    graph = out.graph
    short = {value.name: value.name for value in [*graph.input, *graph.output]}

    def renamed(name: str) -> str:
        return short.setdefault(name, f"v{len(short)}") if name else name

    for tensor in graph.initializer:
        tensor.name = renamed(tensor.name)
    for node in graph.node:
        node.name = ""
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
    return out


def with_half_constants(model: ModelProto) -> ModelProto:
    """``model`` with every constant that float16 holds exactly stored so, and cast up as the graph is loaded.

    A network trained for fp16 has such weights: the file then is as small as the count of bytes says, and no value changes.
    """
    out = ModelProto()
    out.CopyFrom(model)
    casts = []
    for tensor in out.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size >= SMALL and np.array_equal(half.astype(np.float32), values):
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *out.graph.node]
    del out.graph.node[:]
    out.graph.node.extend(nodes)
    return out


def joined(frontend: ModelProto, network: ModelProto) -> ModelProto:
    """One graph of the two, the features of the first going into the second."""
    return stripped(compose.merge_models(frontend, network, [(FEATURES, FEATURES)]))


def constant_bytes(model: ModelProto) -> int:
    """Bytes of all constants of the graph: weights, biases, scales, tables."""
    tensors = [*model.graph.initializer]
    tensors += [a.t for node in model.graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
    return sum(numpy_helper.to_array(tensor).nbytes for tensor in tensors)
