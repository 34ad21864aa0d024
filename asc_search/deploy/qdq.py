"""An int8 network as an ONNX graph that quantises and dequantises (QDQ), made of the graph that was calibrated or trained."""

from __future__ import annotations

import onnx
import torch
from onnx import ModelProto, version_converter
from torch import nn

from asc_search.compress.pt2e import extra_int8
from asc_search.deploy.every_cpu import for_every_cpu
from asc_search.deploy.executorch import quiet
from asc_search.deploy.onnx_frontend import FEATURES, IR_VERSION
from asc_search.deploy.onnx_network import LOGITS, stripped

OPSET = 20  # the exporter's own; it has no older one


def qdq_graph(network: nn.Module, shape: tuple[int, ...]) -> ModelProto:
    """The graph of an int8 reference ``network``: features (batch, *shape) -> logits (batch, classes).

    Raises:
        MissingExtraError: the extra ``int8`` (onnxscript) is not installed.
    """
    extra_int8("onnxscript")
    network = network.cpu().eval()
    with quiet():
        program = torch.onnx.export(
            network,
            (torch.zeros(2, *shape),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[FEATURES],
            output_names=[LOGITS],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    model = program.model_proto
    model.ir_version = IR_VERSION
    return stripped(for_every_cpu(model))


def raised(model: ModelProto) -> ModelProto:
    """``model`` in the operations of this module's opset, so that both can be one graph."""
    lifted = version_converter.convert_version(model, OPSET)
    onnx.checker.check_model(lifted)
    return lifted
