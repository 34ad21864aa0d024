"""The model files of an artefact: written, run on the test split, refused or timed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import nn

from asc_search.deploy import artefact as names
from asc_search.deploy.check import Parity, Reference, float_problems, int8_problems
from asc_search.deploy.executorch import open_program, program_of
from asc_search.deploy.session import Run, latency_ms, open_session
from asc_search.errors import ExportError
from asc_search.nets.graph_file import described
from asc_search.processes import cpu_threads
from asc_search.progress import bar
from asc_search.train.model_file import Model, load_model

WAVEFORM = {names.MODEL: names.WAVEFORM_MODEL, names.INT8: names.WAVEFORM_INT8}
QUANTISED = (names.INT8, names.WAVEFORM_INT8, names.PROGRAM)


@dataclass(frozen=True)
class Measured:
    """A model file as it lies on disk: its bytes, those of the constants in it, and its parity on the test split.

    ``parity`` is with the float network, ``reference`` that of an int8 file with the int8 network in PyTorch it was made of.
    """

    size_bytes: int
    weight_bytes: int
    parity: Parity
    reference: Parity | None = None

    def to_json(self) -> dict[str, Any]:
        said = {"size_bytes": self.size_bytes, "weight_bytes": self.weight_bytes, **self.parity.to_json()}
        if self.reference is not None:
            said["reference"] = self.reference.to_json()
        return said


def torch_run(module: nn.Module) -> Run:
    """A module as a function of arrays, in evaluation mode, on the CPU."""
    module = module.cpu().eval()

    def run(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(x)).numpy()

    return run


def write_onnx(
    folder: Path, model: Model, reference: Reference, int8: np.ndarray | tuple[Model, Reference] | None
) -> tuple[dict[str, Measured], float]:
    """Write the graphs and run each on the test split.

    ``int8`` (None: no int8 graphs) is an int8 finalist and its scores in PyTorch, whose own graph is written, or features to
    calibrate with, for the float ``model`` to be quantised by onnxruntime.

    Returns them by file name, and the largest difference of the front end's features on the test split.
    """
    import onnx

    from asc_search.deploy.int8 import quantised
    from asc_search.deploy.onnx_frontend import frontend_graph
    from asc_search.deploy.onnx_network import (
        constant_bytes,
        joined,
        network_graph,
        with_half_constants,
        with_short_names,
    )
    from asc_search.deploy.qdq import qdq_graph, raised

    frontend = model.candidate.frontend
    front = frontend_graph(frontend)
    networks = {names.MODEL: with_half_constants(network_graph(model.whole, frontend.shape, fold=False))}
    fronts, twins = {}, {}
    if int8 is not None:
        with busy("quantising"):
            if isinstance(int8, tuple):
                finalist, twins[names.INT8] = int8
                networks[names.INT8], fronts[names.INT8] = qdq_graph(finalist.whole, frontend.shape), raised(front)
            else:
                networks[names.INT8] = quantised(network_graph(model.whole, frontend.shape, fold=True), int8)
    models = {}
    for name, network in networks.items():
        graphs = {name: network, WAVEFORM[name]: joined(fronts.get(name, front), network)}
        for file, graph in graphs.items():
            graph = with_short_names(graph)
            onnx.checker.check_model(graph)
            onnx.save(graph, folder / file)
            scores = reference.probabilities_of(open_session(folder / file), file, waveforms=file == WAVEFORM[name])
            size = (folder / file).stat().st_size
            models[file] = Measured(size, constant_bytes(graph), *_parities(scores, reference, twins.get(name)))
    return models, reference.front_end_difference(open_session(front.SerializeToString()))


def write_torch(folder: Path, trained: Path, reference: Reference) -> dict[str, Measured]:
    """Copy the trained weights, which carry their specification, and run them on the test split as read back.

    There is no program of ``torch.export`` beside: to load one unpickles whatever its archive says is pickled.
    """
    path = folder / names.TORCH_MODEL
    shutil.copyfile(trained, path)
    parity = reference.parity(reference.probabilities_of(torch_run(load_model(path).whole), path.name))
    with safe_open(path, framework="pt") as file:
        tensors = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
    return {path.name: Measured(path.stat().st_size, sum(tensor.nbytes for tensor in tensors), parity)}


def write_executorch(folder: Path, int8: Model, reference: Reference, int8_reference: Reference) -> dict[str, Measured]:
    """Write the program of the model ``int8`` and run it, window by window, on the test split.

    ``reference`` are the scores of the float network, ``int8_reference`` those of ``int8`` in PyTorch.
    """
    path = folder / names.PROGRAM
    with busy("compiling for ExecuTorch"):
        path.write_bytes(program_of(int8.whole, int8.candidate.frontend.shape))
    probabilities = reference.probabilities_of(open_program(path), path.name)
    constants = sum(tensor.nbytes for tensor in described(int8.network)[1].values())
    parities = _parities(probabilities, reference, int8_reference)
    return {path.name: Measured(path.stat().st_size, constants, *parities)}


def _parities(scores: np.ndarray, reference: Reference, twin: Reference | None) -> tuple[Parity, Parity | None]:
    return reference.parity(scores), None if twin is None else twin.parity(scores)


def refuse_other_networks(models: Mapping[str, Measured], int8_tolerance: float) -> None:
    """Refuse models that are not the network that was trained, or lose over ``int8_tolerance`` points in int8.

    Raises:
        ExportError: with the figures.
    """
    twins = {name: one.parity if name not in QUANTISED else one.reference for name, one in models.items()}
    problems = [
        problem for name, parity in twins.items() if parity is not None for problem in float_problems(name, parity)
    ]
    if problems:
        raise ExportError("The artefact is not the network, nothing was written (please report this):", problems)
    problems = [
        problem
        for name, one in models.items()
        if name in QUANTISED
        for problem in int8_problems(name, one.parity, int8_tolerance)
    ]
    if problems:
        advice = "Allow it with --int8-tolerance POINTS, leave int8 out with --no-int8, or export another --trial."
        raise ExportError("int8 loses too much accuracy on the test split, nothing was written:", problems, advice)


def latencies(folder: Path, model: Model, models: Mapping[str, Measured]) -> dict[str, float]:
    """Median milliseconds a window of ONNX files and programs on one thread; as ``pytorch`` of the network in eager PyTorch."""
    frontend = model.candidate.frontend
    wave = np.zeros((1, frontend.samples), np.float32)
    features = np.random.default_rng(0).standard_normal((1, *frontend.shape)).astype(np.float32)
    opened = {name: _opened(folder / name) for name in models if name != names.TORCH_MODEL}
    calls: dict[str, Callable[[], object]] = {
        name: partial(run, wave if name in WAVEFORM.values() else features) for name, run in opened.items()
    }
    with busy("timing"), cpu_threads(1):
        return latency_ms({"pytorch": partial(torch_run(model.whole), features), **calls})


def _opened(path: Path) -> Run:
    return open_program(path) if path.name == names.PROGRAM else open_session(path)


def busy(what: str) -> AbstractContextManager:
    """A display of something under way that cannot say how far it is."""
    progress = bar()
    progress.add_task(what, total=None)
    return progress
