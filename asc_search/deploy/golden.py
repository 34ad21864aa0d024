"""The golden clip: a generated waveform with the features and scores that a port of the artefact must find."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.data.audio_io import read_mono, write_wav
from asc_search.deploy.artefact import GOLDEN_FEATURES, GOLDEN_NOTE, GOLDEN_WAV
from asc_search.deploy.session import Run
from asc_search.files import write_json
from asc_search.train.clip_scores import softmax
from asc_search.train.windows import save_array

TONES = 12


def golden_wave(frontend: FrontEnd) -> np.ndarray:
    """One window (samples,) float32 of tones, a sweep, bursts and noise over the whole band; the same ones each time.

    Generated: recordings of most data sets may not be passed on.
    """
    rng = np.random.default_rng(0)
    time = np.arange(frontend.samples) / frontend.rate_hz
    top = 0.45 * frontend.rate_hz
    wave = 0.02 * rng.standard_normal(len(time))
    for hz in np.geomspace(60, top, TONES):
        wave += 0.04 * np.sin(2 * np.pi * (hz * time + rng.random()))
    wave += 0.15 * np.sin(2 * np.pi * (100 * time + (top - 100) * time**2 / (2 * frontend.seconds)))
    wave += 0.3 * rng.standard_normal(len(time)) * (np.sin(2 * np.pi * 4 * time) > 0.95)
    return wave.astype(np.float32)


def write_golden(
    folder: Path, frontend: FrontEnd, classes: tuple[str, ...], front: Run, network: Run, graphs: dict[str, Run]
) -> None:
    """Write the clip, its features by ``front`` (waveform -> features) and the scores of ``network`` (of features).

    ``graphs`` are those of the artefact that take waveforms, by file name; their scores are noted beside.
    """
    write_wav(folder / GOLDEN_WAV, golden_wave(frontend), frontend.rate_hz)
    wave = read_mono(folder / GOLDEN_WAV)[None]
    features = front(wave)
    save_array(folder / GOLDEN_FEATURES, features[0])
    scores = {"pytorch": network(features), **{name: run(wave) for name, run in graphs.items()}}
    write_json(
        folder / GOLDEN_NOTE,
        {
            "what": f"{GOLDEN_WAV} is generated, it belongs to no class; {GOLDEN_FEATURES} holds the features (channel, "
            "freq, time) float32 that the front end gives for it, the scores are softmax of logits in the order of classes",
            "rate_hz": frontend.rate_hz,
            "features": {
                "shape": list(features.shape[1:]),
                "mean": float(features.mean(dtype=np.float64)),
                "min": float(features.min()),
                "max": float(features.max()),
                "corner": features[0, 0, :4, :4].tolist(),
                "tolerance": 1e-3,
            },
            "classes": list(classes),
            "scores": {name: np.round(softmax(logits)[0], 6).tolist() for name, logits in scores.items()},
        },
    )
