"""Networks as graphs: every family, any batch, the very weights, nothing but what runs; and in int8."""

from __future__ import annotations

import random

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from random_specs import FAMILIES, random_spec
from support import noise_db
from torch import nn

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.frontends import front_end
from asc_search.deploy.int8 import quantised
from asc_search.deploy.models import torch_run
from asc_search.deploy.onnx_frontend import frontend_graph
from asc_search.deploy.onnx_network import constant_bytes, joined, network_graph, with_half_constants, with_short_names
from asc_search.deploy.session import Run, open_session
from asc_search.nets.blocks import Family
from asc_search.nets.network import build, price
from asc_search.nets.systems import system

every_family = pytest.mark.parametrize("kind", FAMILIES, ids=lambda kind: kind.name)


def awake(network: nn.Module) -> nn.Module:
    """``network`` with running statistics away from their start, all values such as float16 holds."""
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return network.half().float().eval()


def in_float(graph: onnx.ModelProto) -> Run:
    """``graph`` as it stands: what it dequantises, it computes in float."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {session.get_inputs()[0].name: x})[0]


@every_family
def test_graphs_give_the_logits_for_any_batch(kind: Family) -> None:
    torch.manual_seed(0)
    rng = random.Random(f"{kind.name} deployed")
    for spec in (random_spec(rng, kind) for _ in range(2)):
        network = awake(build(spec))
        whole = with_short_names(with_half_constants(network_graph(network, spec.input, fold=False)))
        folded = network_graph(network, spec.input, fold=True)
        for graph in (whole, folded):
            onnx.checker.check_model(graph)
            run = open_session(graph.SerializeToString())
            for count in (1, 3):
                x = np.random.default_rng(count).standard_normal((count, *spec.input)).astype(np.float32)
                expected = torch_run(network)(x)
                np.testing.assert_allclose(run(x), expected, rtol=1e-3, atol=1e-4 * (1 + np.abs(expected).max()))


@every_family
def test_int8_stays_near_the_float_network(kind: Family) -> None:
    torch.manual_seed(0)
    spec = random_spec(random.Random(f"{kind.name} int8"), kind)
    network = awake(build(spec))
    x = np.random.default_rng(0).standard_normal((32, *spec.input)).astype(np.float32)
    graph = quantised(network_graph(network, spec.input, fold=True), x)
    found = open_session(graph.SerializeToString())(x)
    assert noise_db(found, torch_run(network)(x)) < -25
    # In float, operation by operation: no CPU may add in so few bits that its integers overflow.
    assert noise_db(found, in_float(graph)(x)) < -35


def test_half_constants_are_the_weights_and_no_value_changes() -> None:
    torch.manual_seed(0)
    spec = system("dcase2024-baseline")()
    plain = network_graph(awake(build(spec)), spec.input, fold=False)
    half = with_half_constants(plain)
    x = np.random.default_rng(0).standard_normal((2, *spec.input)).astype(np.float32)
    runs = [open_session(graph.SerializeToString()) for graph in (plain, half)]
    assert np.array_equal(runs[0](x), runs[1](x))
    params = price(spec).params
    assert constant_bytes(plain) > 4 * params > 2.3 * params > constant_bytes(half) >= 2 * params


def test_a_constant_that_float16_does_not_hold_is_left() -> None:
    values = np.full(100, 1.0 + 2.0**-20, np.float32)
    huge = np.full(100, 1e6, np.float32)
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in (("a", values), ("b", huge))]
    nodes = [onnx.helper.make_node("Add", ["a", "b"], ["y"])]
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [100])
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [out], tensors))
    kinds = {tensor.name: tensor.data_type for tensor in with_half_constants(model).graph.initializer}
    assert kinds["a"] == onnx.TensorProto.FLOAT
    assert kinds["b"] == onnx.TensorProto.FLOAT


def test_joined_graph_is_front_end_then_network_and_holds_nothing_else() -> None:
    torch.manual_seed(0)
    frontend = FrontEnd(mels=64, hop=1000, n_fft=2048, window=2048)
    spec = system("dcase2024-baseline")().with_input(frontend.shape)
    network = awake(build(spec))
    graph = joined(frontend_graph(frontend), network_graph(network, frontend.shape, fold=False))
    wave = 0.1 * np.random.default_rng(0).standard_normal((2, frontend.samples)).astype(np.float32)
    expected = torch_run(network)(torch_run(front_end(frontend))(wave))
    np.testing.assert_allclose(open_session(graph.SerializeToString())(wave), expected, rtol=1e-3, atol=1e-3)
    assert not graph.graph.value_info and not graph.doc_string and not graph.metadata_props
    assert not any(node.doc_string or node.metadata_props for node in graph.graph.node)
    assert [value.name for value in graph.graph.input] == ["waveform"]
    assert b".py" not in graph.SerializeToString()


def test_int8_weights_are_int8_symmetric_and_per_channel() -> None:
    torch.manual_seed(0)
    spec = system("dcase2024-baseline")()
    x = np.random.default_rng(0).standard_normal((8, *spec.input)).astype(np.float32)
    graph = quantised(network_graph(awake(build(spec)), spec.input, fold=True), x).graph
    kinds = {tensor.name: tensor for tensor in graph.initializer}
    stored = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in kinds]
    weights = [node for node in stored if kinds[node.input[0]].data_type == onnx.TensorProto.INT8]
    values = sum(int(np.prod(kinds[node.input[0]].dims)) for node in weights)
    assert values > 0.97 * price(spec).kernels
    for node in weights:
        assert list(kinds[node.input[1]].dims) == [kinds[node.input[0]].dims[0]], "a scale for each channel"
        assert not onnx.numpy_helper.to_array(kinds[node.input[2]]).any(), "zero is at zero"
    assert not any(node.op_type == "BatchNormalization" for node in graph.node)
