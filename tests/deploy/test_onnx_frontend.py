"""The front end as a graph gives what the module gives, for every published front end and the odd corners of the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.frontends import FRONTENDS, front_end
from asc_search.audio.kaldi_mel import student_front_end
from asc_search.deploy.onnx_frontend import frontend_graph
from asc_search.deploy.onnx_network import constant_bytes
from asc_search.deploy.session import open_session

ODD = {
    "n_fft of a large prime": FrontEnd(rate_hz=8_000, n_fft=2 * 103, window=200, hop=77, mels=20),
    "hop that n_fft is a multiple of": FrontEnd(rate_hz=16_000, n_fft=1024, window=1024, hop=256, mels=40),
    "hop longer than a frame": FrontEnd(rate_hz=16_000, n_fft=512, window=400, hop=900, mels=24),
    "deltas alone": FrontEnd(rate_hz=16_000, n_fft=1024, window=1024, hop=512, mels=40, deltas=True),
    "raw, standardised": FrontEnd(rate_hz=8_000, kind="raw", scale=3.0, standardise="sample"),
    "two seconds, uncentred, emphasised": FrontEnd(
        rate_hz=16_000, n_fft=1000, window=800, hop=333, mels=33, seconds=2.0, centre=False, pre_emphasis=0.95
    ),
}
TAGGERS = {"as a tagger": student_front_end(1.0)}
SPECS = {**{name: replace(spec, channels=1) for name, spec in FRONTENDS.items()}, **ODD, **TAGGERS}


def waves(spec: FrontEnd) -> np.ndarray:
    """Noise, a tone in noise 30 dB below that goes on a thousand times quieter, and silence.

    Two transforms in float32 differ by some 1e-7 of a frame's loudest bin: more where others are 60 dB below that.
    """
    rng = np.random.default_rng(0)
    time = np.arange(spec.samples) / spec.rate_hz
    tone = 0.3 * np.sin(2 * np.pi * 440 * time) + 1e-2 * rng.standard_normal(spec.samples)
    tone[spec.samples // 2 :] *= 1e-3
    return np.stack([0.2 * rng.standard_normal(spec.samples), tone, np.zeros(spec.samples)]).astype(np.float32)


@pytest.mark.parametrize("name", SPECS)
def test_graph_gives_the_features_of_the_module(name: str) -> None:
    spec = SPECS[name]
    graph = frontend_graph(spec)
    onnx.checker.check_model(graph, full_check=True)
    x = waves(spec)
    with torch.inference_mode():
        expected = front_end(spec)(torch.from_numpy(x)).numpy()
    run = open_session(graph.SerializeToString())
    found = run(x)
    assert found.shape == (3, *spec.shape)
    assert np.abs(found - expected).max() <= 1e-3 * max(1.0, spec.scale)
    np.testing.assert_allclose(run(x[1:2]), found[1:2], atol=1e-5 * max(1.0, spec.scale))


def test_graph_is_small_and_made_of_common_operators() -> None:
    graph = frontend_graph(FrontEnd())
    assert constant_bytes(graph) < 250_000
    assert {node.op_type for node in graph.graph.node} <= {
        "Pad", "Reshape", "Gather", "Slice", "Mul", "Add", "Sub", "MatMul", "Concat", "Transpose", "Log", "Unsqueeze",
        "Identity",
    }  # fmt: skip
