"""The front end as an ONNX graph: waveform in, features out, of operators every runtime has.

onnxruntime's STFT takes 8 ms for a second of the baseline's front end and loses 2e-3 where n_fft is no power of two; here
the transform is two small matrix products (Cooley and Tukey 1965: n_fft = rows * columns), which need tables of 100 kB
where a strided convolution or a whole DFT matrix would need 67 MB.
"""

from __future__ import annotations

import math
from itertools import count

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from asc_search.audio.frontend_spec import AUDIOSET_DEVIATION, AUDIOSET_MEAN, FrontEnd
from asc_search.audio.logmel import DELTA_REACH, LogMel, mel_filters
from asc_search.audio.standardise import MIN_DEVIATION

BAND = 8  # neighbouring mel filters that are one product over the bins they read
OPSET, IR_VERSION = 17, 8  # onnxruntime 1.12 (2022) and later
WAVEFORM, FEATURES = "waveform", "features"


class GraphWriter:
    """Nodes and constants of a graph under construction; ``node`` and ``constant`` return the name of what they add."""

    def __init__(self) -> None:
        self.nodes: list = []
        self.initializers: list = []
        self._numbers = count()

    def constant(self, value: np.ndarray | float | list[int]) -> str:
        """A float32 or int64 tensor."""
        array = np.asarray(value)
        name = f"frontend_constant_{next(self._numbers)}"
        kind = np.int64 if array.dtype.kind in "iu" else np.float32
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array, dtype=kind), name))
        return name

    def node(self, kind: str, *inputs: str, outputs: int = 1, out: str = "", **attributes: object) -> str:
        """An operator; of several outputs, all names joined by a comma."""
        number = next(self._numbers)
        names = [out] if out else [f"frontend_{number}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, f"frontend_{kind}_{number}", **attributes))
        return ",".join(names)


def frontend_graph(spec: FrontEnd) -> ModelProto:
    """The graph of ``spec``: waveform (batch, spec.samples) -> features (batch, *spec.shape), float32.

    As ``front_end(spec)`` computes them; ``tests/deploy`` holds the two together. One channel; statistics of the
    training part (``standardise`` by ``frequency`` or ``global``) are not part of a front end.
    """
    graph = GraphWriter()
    x = WAVEFORM
    if spec.kind == "raw" and spec.scale != 1:
        x = graph.node("Mul", x, graph.constant(float(spec.scale)))
    if spec.pre_emphasis:
        x = _emphasised(graph, x, spec.pre_emphasis)
    x = graph.node("Unsqueeze", x, graph.constant([1, 2])) if spec.kind == "raw" else _log_mel(graph, x, spec)
    if spec.standardise == "sample":
        x = _standardised(graph, x)
    if spec.standardise == "audioset":
        x = graph.node(
            "Mul", graph.node("Sub", x, graph.constant(AUDIOSET_MEAN)), graph.constant(1 / AUDIOSET_DEVIATION)
        )
    if spec.kind != "raw" and spec.deltas:
        slope = _deltas(graph, x, spec)
        slope = _standardised(graph, slope) if spec.standardise == "sample" else slope
        x = graph.node("Concat", x, slope, axis=1)
    graph.node("Identity", x, out=FEATURES)
    inputs = [helper.make_tensor_value_info(WAVEFORM, TensorProto.FLOAT, ["batch", spec.samples])]
    outputs = [helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", *spec.shape])]
    made = helper.make_graph(graph.nodes, "frontend", inputs, outputs, graph.initializers)
    return helper.make_model(
        made, producer_name="asc-search", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )


def _emphasised(graph: GraphWriter, x: str, coefficient: float) -> str:
    """x[t] - coefficient x[t-1], one sample shorter."""
    axis, end = graph.constant([-1]), graph.constant([np.iinfo(np.int64).max])
    now = graph.node("Slice", x, graph.constant([1]), end, axis)
    before = graph.node("Slice", x, graph.constant([0]), graph.constant([-1]), axis)
    return graph.node("Sub", now, graph.node("Mul", before, graph.constant(float(coefficient))))


def _log_mel(graph: GraphWriter, x: str, spec: FrontEnd) -> str:
    """Log-mel (batch, 1, mels, frames) of (batch, samples), before standardisation and deltas."""
    samples = spec.samples - (spec.pre_emphasis > 0)
    half = spec.n_fft // 2 if spec.centre else 0
    if half:
        x = graph.node("Pad", x, graph.constant([0, half, 0, half]), mode="reflect")
    framed = _framed(graph, x, samples + 2 * half, spec.frames(samples), spec.n_fft, spec.hop)
    power = _power(graph, framed, LogMel(spec).window.double().numpy())
    bands = []
    for start in range(0, spec.mels, BAND):
        filters = mel_filters(spec).numpy()[:, start : start + BAND]
        read = np.flatnonzero(filters.any(axis=1)).tolist() or [0]
        edges = (graph.constant([edge]) for edge in (read[0], read[-1] + 1, -1))
        bands.append(
            graph.node("MatMul", graph.node("Slice", power, *edges), graph.constant(filters[read[0] : read[-1] + 1]))
        )
    mel = graph.node("Concat", *bands, axis=-1)
    log = graph.node("Log", graph.node("Add", mel, graph.constant(float(spec.log_floor))))
    if spec.log == "log10":
        log = graph.node("Mul", log, graph.constant(1 / math.log(10)))
    return graph.node("Unsqueeze", graph.node("Transpose", log, perm=[0, 2, 1]), graph.constant([1]))


def _framed(graph: GraphWriter, x: str, samples: int, frames: int, n_fft: int, hop: int) -> str:
    """Frames (batch, frames, n_fft) of ``x`` (batch, samples), copied in blocks of a hop: gathering samples is slow."""
    blocks = -(-n_fft // hop)
    needed = (frames - 1 + blocks) * hop
    if needed > samples:
        x = graph.node("Pad", x, graph.constant([0, 0, 0, needed - samples]))
    elif needed < samples:
        x = graph.node("Slice", x, graph.constant([0]), graph.constant([needed]), graph.constant([1]))
    x = graph.node("Reshape", x, graph.constant([0, -1, hop]))
    x = graph.node("Gather", x, graph.constant(np.add.outer(np.arange(frames), np.arange(blocks))), axis=1)
    x = graph.node("Reshape", x, graph.constant([0, 0, blocks * hop]))
    return graph.node("Slice", x, graph.constant([0]), graph.constant([n_fft]), graph.constant([2]))


def _power(graph: GraphWriter, framed: str, window: np.ndarray) -> str:
    """Power spectra (batch, frames, n_fft / 2 + 1 at least) of frames (batch, frames, n_fft).

    With n = columns * i + j and k = p + rows * q, X[k] = sum over j of w(j q / columns) w(j p / n_fft) times the sum over
    i of x[n] w(i p / rows), w(t) = exp(-2 pi i t): a product over i, one with the twiddles, one over j, of which only
    q that reach n_fft / 2 are taken.
    """
    n_fft = len(window)
    rows = max(divisor for divisor in range(1, math.isqrt(n_fft) + 1) if n_fft % divisor == 0)
    columns = n_fft // rows
    kept = n_fft // 2 // rows + 1
    framed = graph.node("Mul", framed, graph.constant(window))
    framed = graph.node("Reshape", framed, graph.constant([0, 0, rows, columns]))
    first = _roots(np.outer(np.arange(rows), np.arange(rows)), rows)
    real, imaginary = (graph.node("MatMul", graph.constant(part), framed) for part in (first.real, first.imag))
    twiddles = _roots(np.outer(np.arange(rows), np.arange(columns)), n_fft)
    cosines, sines = graph.constant(twiddles.real), graph.constant(twiddles.imag)
    turned = graph.node(
        "Concat",
        graph.node("Sub", graph.node("Mul", real, cosines), graph.node("Mul", imaginary, sines)),
        graph.node("Add", graph.node("Mul", real, sines), graph.node("Mul", imaginary, cosines)),
        axis=3,
    )  # (batch, frames, p, real and imaginary of j)
    last = _roots(np.outer(np.arange(columns), np.arange(kept)), columns)
    real = graph.node("MatMul", turned, graph.constant(np.vstack([last.real, -last.imag])))
    imaginary = graph.node("MatMul", turned, graph.constant(np.vstack([last.imag, last.real])))
    power = graph.node("Add", graph.node("Mul", real, real), graph.node("Mul", imaginary, imaginary))
    power = graph.node("Transpose", power, perm=[0, 1, 3, 2])  # (batch, frames, q, p)
    return graph.node("Reshape", power, graph.constant([0, 0, kept * rows]))


def _roots(turns: np.ndarray, whole: int) -> np.ndarray:
    """exp(-2 pi i turns / whole), exact to complex128: whole turns are taken off first."""
    return np.exp(-2j * np.pi * (turns % whole) / whole)


def _standardised(graph: GraphWriter, x: str) -> str:
    """Mean 0 and deviation 1 (of n - 1) over the last two axes."""
    centred = graph.node("Sub", x, graph.node("ReduceMean", x, axes=[2, 3]))
    squares = graph.node("ReduceSum", graph.node("Mul", centred, centred), graph.constant([2, 3]))
    shape = graph.node("Shape", x, start=2)
    count = graph.node("Cast", graph.node("ReduceProd", shape), to=TensorProto.FLOAT)
    variance = graph.node("Div", squares, graph.node("Sub", count, graph.constant(1.0)))
    floor = graph.constant(MIN_DEVIATION)
    return graph.node("Div", centred, graph.node("Max", graph.node("Sqrt", variance), floor))


def _deltas(graph: GraphWriter, x: str, spec: FrontEnd) -> str:
    """The slope of (batch, 1, mels, frames) over five frames, ends repeated (``asc_search.audio.logmel.deltas``)."""
    frames, reach = spec.shape[2], DELTA_REACH
    norm = 2 * sum(n * n for n in range(1, reach + 1))
    slope = np.zeros((frames, frames))  # x @ slope
    for frame in range(frames):
        for n in range(-reach, reach + 1):
            slope[min(max(frame + n, 0), frames - 1), frame] += n / norm
    return graph.node("MatMul", x, graph.constant(slope))
