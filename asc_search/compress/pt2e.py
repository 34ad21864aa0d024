"""int8 by torchao's pt2e with ExecuTorch's quantiser for XNNPACK: one route for static quantisation and for training.

Weights are symmetric and per channel, activations per tensor and affine, BatchNorms folded. What comes out is the reference: a
graph that quantises and dequantises where integer kernels would compute.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from asc_search.compress.biases import round_biases
from asc_search.compress.dropout import remove_dropout
from asc_search.compress.fold import fold_norms
from asc_search.compress.friendly import make_friendly
from asc_search.compress.graph_edit import ATEN
from asc_search.compress.shared_ranges import watch_widest
from asc_search.compress.ties import break_ties
from asc_search.errors import AscSearchError, MissingExtraError, NetworkError
from asc_search.nets.graph_file import described, rebuilt

BATCH = 32
TRAINED_PATTERNS = ("conv_bn", "conv_bn_relu")
UNUSED_PATTERNS = ("conv_transpose", "conv_transpose_relu", "conv_transpose_bn", "conv_transpose_bn_relu")


def extra_int8(name: str) -> ModuleType:
    """The module ``name`` of the extra ``int8``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        with _quiet():
            return importlib.import_module(name)
    except ImportError as error:
        raise _missing(name.partition(".")[0], str(error)) from None


def check_int8() -> None:
    """Raise MissingExtraError unless the extra ``int8`` is installed; without importing it, which takes seconds."""
    for package in ("torchao", "executorch"):
        if importlib.util.find_spec(package) is None:
            raise _missing(package, "it is not installed")


def _missing(package: str, reason: str) -> MissingExtraError:
    return MissingExtraError(
        f"int8 needs {package}, which cannot be imported ({reason}); install it with: pip install 'asc-search[int8]'"
    )


def quantised(network: nn.Module, calibration: np.ndarray) -> fx.GraphModule:
    """``network`` in int8, its activations' ranges those on ``calibration`` (windows, channel, freq, time), its inputs.

    The result maps (batch, channel, freq, time) to logits on any device; ``network`` stays as it is.

    Raises:
        MissingExtraError: the extra ``int8`` is not installed.
        NetworkError: the network cannot be quantised.
    """
    pt2e = extra_int8("torchao.quantization.pt2e.quantize_pt2e")
    with _quiet(), _refusals():
        graph = exported(network, calibration.shape[1:], training=False)
        prepared = pt2e.prepare_pt2e(graph, _quantiser(trained=False))
        calibrate(prepared, calibration)
        return _plain(pt2e.convert_pt2e(prepared))


def prepared_for_training(network: nn.Module, calibration: np.ndarray) -> fx.GraphModule:
    """``network`` with fake quantisation, its observers started on ``calibration``, BatchNorms in it.

    Raises:
        MissingExtraError: the extra ``int8`` is not installed.
        NetworkError: the network cannot be quantised.
    """
    pt2e = extra_int8("torchao.quantization.pt2e.quantize_pt2e")
    with _quiet(), _refusals():
        graph = exported(network, calibration.shape[1:], training=True)
        norms = {node.args[4].target: node.args[6:8] for node in _norms(graph)}
        prepared = pt2e.prepare_qat_pt2e(graph, _quantiser(trained=True))
    _restore_norms(prepared, norms)
    watch_widest(prepared)
    set_training(prepared, False)
    calibrate(prepared, calibration)
    return prepared


def _norms(graph: fx.GraphModule) -> list[fx.Node]:
    return [node for node in graph.graph.nodes if node.target is ATEN.batch_norm.default]


def _restore_norms(prepared: fx.GraphModule, norms: Mapping[str, tuple[float, float]]) -> None:
    """Give BatchNorms back their (momentum, eps) by the name of their variance: torchao's patterns have PyTorch's defaults."""
    for node in _norms(prepared):
        variance = node.args[4].target
        momentum, eps = norms[variance]
        node.args = (*node.args[:6], momentum, eps, *node.args[8:])
        for other in prepared.graph.nodes:
            if other.target is ATEN.add.Tensor and getattr(other.args[0], "target", None) == variance:
                other.args = (other.args[0], eps)
    prepared.recompile()


def converted(prepared: fx.GraphModule) -> fx.GraphModule:
    """The int8 network of one that was trained with fake quantisation."""
    pt2e = extra_int8("torchao.quantization.pt2e.quantize_pt2e")
    set_training(prepared, False)
    with _quiet(), _refusals():
        fold_norms(prepared)
        return _plain(pt2e.convert_pt2e(prepared))


def _plain(graph: fx.GraphModule) -> fx.GraphModule:
    """A converted ``graph`` that computes what programs made of it do, as it is read back from a file: a module that has modes
    and can be copied."""
    remove_dropout(graph)
    round_biases(graph)
    break_ties(graph)
    return rebuilt(*described(graph))


def exported(network: nn.Module, shape: tuple[int, ...], training: bool) -> fx.GraphModule:
    """The operations of a copy of ``network`` for inputs (batch, *shape), any batch, made fit for int8."""
    twin = copy.deepcopy(network).cpu().to(memory_format=torch.contiguous_format).train(training)
    example = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(twin, (example,), dynamic_shapes=({0: batch},))
    return make_friendly(program.module(check_guards=False))


@torch.no_grad()
def calibrate(prepared: fx.GraphModule, calibration: np.ndarray) -> None:
    """Let the observers of ``prepared`` see ``calibration``."""
    for start in range(0, len(calibration), BATCH):
        prepared(torch.from_numpy(calibration[start : start + BATCH].astype(np.float32)))


def set_training(graph: fx.GraphModule, training: bool) -> None:
    """Put the BatchNorms and dropouts of an exported graph into training or evaluation mode."""
    places = {
        ATEN.batch_norm.default: 5,
        ATEN.dropout.default: 2,
        ATEN.feature_dropout.default: 2,
        ATEN.dropout_.default: 2,
    }
    changed = False
    for node in graph.graph.nodes:
        place = places.get(node.target) if node.op == "call_function" else None
        if place is not None and bool(node.args[place]) != training:
            node.args = (*node.args[:place], training, *node.args[place + 1 :])
            changed = True
    if changed:
        graph.recompile()


def _quantiser(trained: bool) -> Any:
    """ExecuTorch's quantiser for XNNPACK, without the patterns that no network here has: each takes a second to make."""
    module = extra_int8("executorch.backends.xnnpack.quantizer.xnnpack_quantizer")
    unused = UNUSED_PATTERNS if trained else (*UNUSED_PATTERNS, *TRAINED_PATTERNS)
    quantiser = module.XNNPACKQuantizer()
    quantiser.SUPPORTED_PATTERNS = [one for one in quantiser.SUPPORTED_PATTERNS if one.name not in unused]
    return quantiser.set_global(module.get_symmetric_quantization_config(is_per_channel=True, is_qat=trained))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of the libraries, which concern their own insides."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _refusals() -> Iterator[None]:
    """What torchao or PyTorch raise of a network as NetworkError: it ends one training, not a study."""
    try:
        yield
    except AscSearchError:
        raise
    except Exception as error:  # they have no common base
        reason = str(error).strip().partition("\n")[0]
        raise NetworkError(
            f"cannot be quantised ({type(error).__name__}: {reason}); use another weight_type"
        ) from error
