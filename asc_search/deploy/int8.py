"""int8 by onnxruntime: static quantisation after training, calibrated on features of training clips."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from asc_search.deploy.every_cpu import for_every_cpu
from asc_search.deploy.onnx_frontend import FEATURES
from asc_search.deploy.onnx_network import stripped

BATCH = 16


class _Batches(CalibrationDataReader):
    def __init__(self, features: np.ndarray) -> None:
        self._batches: Iterator[np.ndarray] = (
            features[start : start + BATCH].astype(np.float32) for start in range(0, len(features), BATCH)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {FEATURES: batch}


def quantised(network: ModelProto, features: np.ndarray) -> ModelProto:
    """``network`` (BatchNorms folded) in int8 as a QDQ graph: weights symmetric and per channel, activations uint8.

    Ranges of activations are those on ``features`` (windows, *shape), which are of the training part. The convolution
    over a single input channel and average pools stay in float: onnxruntime takes longer for them in int8 (for the DCASE
    2024 baseline together a third of the time), and the weights concerned are some tens.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(network, folder / "float.onnx")
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # both speak through it, of pre-processing that has been done
        try:
            quant_pre_process(folder / "float.onnx", folder / "prepared.onnx", skip_symbolic_shape=True)
            prepared = onnx.load(folder / "prepared.onnx")
            quantize_static(
                folder / "prepared.onnx",
                folder / "int8.onnx",
                _Batches(features),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QUInt8,
                nodes_to_exclude=_slower_in_int8(prepared),
                extra_options={"WeightSymmetric": True},
            )
        finally:
            logging.root.setLevel(level)
        return stripped(for_every_cpu(onnx.load(folder / "int8.onnx")))


def _slower_in_int8(model: ModelProto) -> list[str]:
    """Names of average pools and of the convolutions that read the features of one channel."""

    def reads_one_channel(node: NodeProto) -> bool:
        return node.op_type == "Conv" and node.input[0] == FEATURES and shapes.get(node.input[1], [0, 0])[1] == 1

    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type == "AveragePool" or reads_one_channel(node)]
