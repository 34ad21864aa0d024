"""int8 programs for ExecuTorch (``.pte``): lowered to XNNPACK, and run by ExecuTorch's own runtime on one thread."""

from __future__ import annotations

import contextlib
import io
import logging
import operator
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import fx, nn

from asc_search.compress.pt2e import extra_int8
from asc_search.compress.ties import with_ties
from asc_search.deploy.session import Run
from asc_search.errors import ArtefactError


def program_of(network: nn.Module, shape: tuple[int, ...]) -> bytes:
    """The program of an int8 reference ``network``, one window (1, *shape) float32 -> logits (1, classes).

    Raises:
        MissingExtraError: the extra ``int8`` is not installed.
    """
    return compiled(network, shape)[0]


def compiled(network: nn.Module, shape: tuple[int, ...]) -> tuple[bytes, Counter[str]]:
    """:func:`program_of`, and how often which operation is left to float kernels outside XNNPACK."""
    exir = extra_int8("executorch.exir")
    partition = extra_int8("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    with quiet():
        example = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
        program = torch.export.export(with_ties(network).cpu().eval(), (example,))
        lowered = exir.to_edge_transform_and_lower(program, partitioner=[partition.XnnpackPartitioner()])
        nodes = [node for node in lowered.exported_program().graph.nodes if node.op == "call_function"]
        left = Counter(str(node.target) for node in nodes if not _of_delegates(node))
        return bytes(lowered.to_executorch().buffer), left


def _of_delegates(node: fx.Node) -> bool:
    return node.target is operator.getitem or "delegate" in str(node.target)


def open_program(source: Path | bytes) -> Run:
    """The program as a function of (batch, *shape) float32, window by window on one thread.

    Raises:
        ArtefactError: the file is missing or no program that this runtime can run.
        MissingExtraError: the extra ``int8`` is not installed.
    """
    runtime = extra_int8("executorch.runtime")
    bindings = extra_int8("executorch.extension.pybindings.portable_lib")
    name = source if isinstance(source, Path) else "the program"
    if isinstance(source, Path) and not source.is_file():
        raise ArtefactError(f"{source}: no such file")
    try:
        with silent():
            bindings._unsafe_reset_threadpool(1)
            program = runtime.Runtime.get().load_program(source)
            program.load_method("forward")
    except Exception as error:  # the runtime has no public base of its errors
        raise ArtefactError(f"{name}: ExecuTorch cannot run it ({error})") from None

    def run(x: np.ndarray) -> np.ndarray:
        method = program.load_method("forward")  # the one of before: alone it would outlive the bytes it runs in
        windows = torch.from_numpy(np.ascontiguousarray(x, np.float32))
        # Its output lies in a buffer that the next call reuses.
        return np.concatenate(
            [method.execute([windows[row : row + 1]])[0].numpy().copy() for row in range(len(windows))]
        )

    return run


@contextmanager
def silent() -> Iterator[None]:
    """Without what the runtime, which is no Python, writes to stderr."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the libraries print and warn of while they compile."""
    level = logging.root.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.root.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logging.root.setLevel(level)
