"""Running ONNX graphs on one thread, and how long that takes. Imports no PyTorch."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np

from asc_search.errors import ArtefactError, MissingExtraError

Run = Callable[[np.ndarray], np.ndarray]  # (batch, ...) float32 -> logits (batch, classes) float32

LATENCY_ROUNDS, LATENCY_CALLS = 7, 15
# Without VNNI a CPU would add pairs of int8 products in 16 bits, where they overflow.
EXACT = ("session.x64quantprecision", "1")
QUIET = 3  # onnxruntime's severity of errors: its warnings concern its own optimiser


def extra(name: str) -> ModuleType:
    """The module ``name`` of the extra ``deploy``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"{name.partition('.')[0]} cannot be imported ({error}); install it with: pip install 'asc-search[deploy]'"
        ) from None


def open_session(graph: Path | bytes) -> Run:
    """The graph as a function of its one input, on one thread.

    Raises:
        ArtefactError: the file is missing or no graph that onnxruntime can run.
        MissingExtraError: onnxruntime is not installed.
    """
    runtime: Any = extra("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = QUIET
    options.add_session_config_entry(*EXACT)
    name = "the graph" if isinstance(graph, bytes) else graph
    if isinstance(graph, Path) and not graph.is_file():
        raise ArtefactError(f"{graph}: no such file")
    try:
        session = runtime.InferenceSession(
            graph if isinstance(graph, bytes) else str(graph), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime has no public base of its errors
        raise ArtefactError(f"{name}: onnxruntime cannot run it ({error})") from None
    entry = session.get_inputs()[0].name
    return lambda x: session.run(None, {entry: x})[0]


def latency_ms(calls: Mapping[str, Callable[[], object]], rounds: int = LATENCY_ROUNDS) -> dict[str, float]:
    """Median milliseconds that each call keeps this thread busy, all in turn in ``rounds`` rounds.

    Time of the thread, not of the clock: on a busy machine a call that outlasts its turn on the core would wait for the
    others', a shorter one not, and the two could not be compared. A call must work on this thread alone.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()  # brings its data back into the cache
            times = []
            for _ in range(LATENCY_CALLS):
                begin = time.thread_time()
                call()
                times.append(time.thread_time() - begin)
            taken[name].append(1e3 * median(times))
    return {name: median(times) for name, times in taken.items()}
