"""`asc-search bench deploy`: the exported int8 model against the network in eager PyTorch, batch 1, one thread."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.bench.bars import at_least, at_most, report
from asc_search.compress.calibration import calibration_features
from asc_search.data.clips import Clips
from asc_search.data.demo import DemoSize
from asc_search.data.source import open_source
from asc_search.deploy.check import AGREEMENT, open_test
from asc_search.deploy.models import torch_run
from asc_search.deploy.session import extra, latency_ms, open_session
from asc_search.nets.network import Network
from asc_search.nets.systems import system
from asc_search.progress import Stage
from asc_search.space.candidate import Training
from asc_search.train.batches import batch_count, epoch_batches
from asc_search.train.fit import Recipe, device, fit, start
from asc_search.train.inputs import open_inputs
from asc_search.train.losses import cross_entropy
from asc_search.train.responses import ALL_GENERATED

DESIGN = "dcase2024-baseline"
SPEEDUP, DROP = 5, 1.0  # the bars: times faster, points of accuracy lost
EPOCHS = 20  # so that its classes lie apart
RECIPE = Training(batch=32, freq_mask=16, mixstyle_p=0.0)
DEMO = DemoSize(train_places=8, train_clips_per_place=4, test_places=6, test_clips_per_place=7, evaluation_clips=0)


def bench_deploy() -> dict[str, Any]:
    """Train a published design for some epochs on generated scenes, export it, and compare in turn within one run.

    Raises:
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    extra("onnx")
    extra("onnxruntime")
    from asc_search.deploy.int8 import quantised
    from asc_search.deploy.onnx_network import network_graph

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            clips = open_source("demo", folder, allow_leaky_split=True, demo_size=DEMO).clips
            training, test, frontend = clips.split("train"), clips.split("test"), FrontEnd()
            network = _trained(folder, training, frontend)
            eager = torch_run(network)
            reference = open_test(folder, test, frontend, eager)
            graph = network_graph(network, frontend.shape, fold=True)
            int8 = quantised(graph, calibration_features(folder, training, frontend))
            runs = {
                "float": open_session(graph.SerializeToString()),
                "int8": open_session(int8.SerializeToString()),
            }
            found = {kind: reference.from_features(run, kind) for kind, run in runs.items()}
            window = reference.windows.values[:1].astype("float32")
            calls = {kind: partial(run, window) for kind, run in {"eager": eager, **runs}.items()}
            rounds = [latency_ms(calls, rounds=1) for _ in range(7)]
    finally:
        torch.set_num_threads(threads)
    taken = {kind: median(one[kind] for one in rounds) for kind in calls}
    ran = {
        "network": DESIGN,
        "epochs": EPOCHS,
        "data": "generated scenes",
        "test_clips": len(test),
        "accuracy": round(reference.accuracy, 4),
        **{f"{kind}_ms": round(value, 3) for kind, value in taken.items()},
        "speedup_float": round(median(one["eager"] / one["float"] for one in rounds), 2),
        "float_top1_agreement": round(found["float"].top1_agreement, 4),
        "float_bytes": graph.ByteSize(),
        "int8_bytes": int8.ByteSize(),
        "threads": 1,
    }
    speedup = median(one["eager"] / one["int8"] for one in rounds)
    bars = [
        at_least("speedup_int8", round(speedup, 2), SPEEDUP),
        at_least("top1_agreement", round(found["int8"].top1_agreement, 4), AGREEMENT),
        at_most("accuracy_drop", round(found["int8"].accuracy_drop, 2), DROP),
    ]
    return report("deploy", ran, bars)


def _trained(folder: Path, training: Clips, frontend: FrontEnd) -> Network:
    """The design after some epochs; its logits are then those of a classifier, not of chance."""
    inputs = open_inputs(folder, training, frontend, RECIPE, ALL_GENERATED, device())
    recipe = Recipe(RECIPE, EPOCHS, batch_count(inputs.windows, RECIPE))
    state = start(system(DESIGN)().with_classes(len(training.classes)), recipe, 0)
    with Stage("training", 1) as stage:
        stage.begin(DESIGN, EPOCHS)
        fit(
            state,
            lambda epoch: epoch_batches(inputs, None, RECIPE, 0, epoch, EPOCHS, device()),
            cross_entropy,
            recipe,
            EPOCHS,
            after_epoch=lambda state: stage.epoch(state.epoch),
        )
    return state.network
