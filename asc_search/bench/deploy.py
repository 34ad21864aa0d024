"""`asc-search bench deploy`: the exported int8 model against the network in eager PyTorch, batch 1, one thread."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.bench.bars import at_least, at_most, report
from asc_search.compress.calibration import calibration_features
from asc_search.compress.pt2e import check_int8, quantised
from asc_search.data.clips import Clips
from asc_search.data.demo import DemoSize
from asc_search.data.source import open_source
from asc_search.deploy.check import AGREEMENT, open_test
from asc_search.deploy.executorch import open_program, program_of
from asc_search.deploy.models import torch_run
from asc_search.deploy.session import LATENCY_ROUNDS, extra, latency_ms, open_session
from asc_search.nets.network import Network, build
from asc_search.nets.systems import system
from asc_search.processes import cpu_threads
from asc_search.progress import Stage
from asc_search.space.candidate import Training
from asc_search.train.batches import batch_count, epoch_batches
from asc_search.train.fit import Recipe, device, fit, start
from asc_search.train.inputs import open_inputs
from asc_search.train.losses import cross_entropy
from asc_search.train.responses import ALL_GENERATED

DESIGN = "dcase2024-baseline"
OTHERS = ("cp-mobile-2023", "sscp-mobile", "sscp-s1", "sscp-s3")  # of which the speed alone is told
SPEEDUP, DROP = 5, 0.5  # the bars: times faster, points of accuracy lost
BARRED = ("int8", "qdq")  # the files that have bars
CALIBRATED = 16  # windows
EPOCHS = 20  # so that its classes lie apart
RECIPE = Training(batch=32, freq_mask=16, mixstyle_p=0.0)
DEMO = DemoSize(train_places=8, train_clips_per_place=4, test_places=6, test_clips_per_place=7, evaluation_clips=0)


def bench_deploy() -> dict[str, Any]:
    """Train a published design for some epochs on generated scenes, export it, and compare in turn within one run.

    The bars are those of the two int8 files made of the network as it was quantised: the ExecuTorch program and the QDQ graph.
    onnxruntime's own static quantisation stands beside them, and how many times as fast the programs of ``OTHERS``, untrained,
    are.

    Raises:
        MissingExtraError: onnx or onnxruntime, or the extra ``int8``, is not installed.
    """
    extra("onnx")
    extra("onnxruntime")
    check_int8()
    from asc_search.deploy.int8 import quantised as quantised_by_onnxruntime
    from asc_search.deploy.onnx_network import network_graph
    from asc_search.deploy.qdq import qdq_graph

    with cpu_threads(1), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = open_source("demo", folder, allow_leaky_split=True, demo_size=DEMO).clips
        training, test, frontend = clips.split("train"), clips.split("test"), FrontEnd()
        network = _trained(folder, training, frontend)
        eager = torch_run(network)
        reference = open_test(folder, test, frontend, eager)
        calibration = calibration_features(folder, training, frontend).astype(np.float32)
        int8_network = quantised(network, calibration)
        int8_reference = open_test(folder, test, frontend, torch_run(int8_network))
        graph = network_graph(network, frontend.shape, fold=True)
        files = {
            "float": graph.SerializeToString(),
            "int8": program_of(int8_network, frontend.shape),
            "qdq": qdq_graph(int8_network, frontend.shape).SerializeToString(),
            "onnxruntime": quantised_by_onnxruntime(graph, calibration).SerializeToString(),
        }
        runs = {kind: (open_program if kind == "int8" else open_session)(file) for kind, file in files.items()}
        scored = {kind: reference.probabilities_of(run, kind) for kind, run in runs.items()}
        window = reference.windows.values[:1].astype("float32")
        calls = {kind: partial(run, window) for kind, run in {"eager": eager, **runs}.items()}
        rounds = _rounds(calls)
        others = {f"speedup_int8_{design}": _speedup_of(design) for design in OTHERS}
    taken = {kind: median(one[kind] for one in rounds) for kind in calls}
    found = {kind: reference.parity(probabilities) for kind, probabilities in scored.items()}
    ran = {
        "network": DESIGN,
        "epochs": EPOCHS,
        "data": "generated scenes",
        "test_clips": len(test),
        "accuracy": round(reference.accuracy, 4),
        "int8_reference_accuracy": round(int8_reference.accuracy, 4),
        **{f"{kind}_ms": round(value, 3) for kind, value in taken.items()},
        **{f"speedup_{kind}": _speedup(rounds, kind) for kind in runs if kind not in BARRED},
        **others,
        **{f"{kind}_top1_agreement": round(found[kind].top1_agreement, 4) for kind in runs if kind != "int8"},
        **{f"{kind}_accuracy_drop": round(found[kind].accuracy_drop, 2) for kind in ("qdq", "onnxruntime")},
        **{f"{kind}_bytes": len(file) for kind, file in files.items()},
        "threads": 1,
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
    }
    same = {kind: int8_reference.parity(scored[kind]).top1_agreement for kind in BARRED}
    bars = [
        at_least("speedup_int8", _speedup(rounds, "int8"), SPEEDUP),
        at_least("speedup_qdq", _speedup(rounds, "qdq"), SPEEDUP),
        at_least("top1_agreement_reference", round(same["int8"], 4), AGREEMENT),
        at_least("qdq_top1_agreement_reference", round(same["qdq"], 4), AGREEMENT),
        at_least("top1_agreement", round(found["int8"].top1_agreement, 4), AGREEMENT),
        at_most("accuracy_drop", round(found["int8"].accuracy_drop, 2), DROP),
    ]
    return report("deploy", ran, bars)


def _speedup_of(design: str) -> float:
    """Of the int8 program of a design with random weights, on which its time does not depend."""
    spec = system(design)()
    torch.manual_seed(0)
    network = build(spec).eval()
    windows = np.random.default_rng(0).normal(size=(CALIBRATED, *spec.input)).astype(np.float32)
    runs = {"eager": torch_run(network), "int8": open_program(program_of(quantised(network, windows), spec.input))}
    return _speedup(_rounds({kind: partial(run, windows[:1]) for kind, run in runs.items()}), "int8")


def _rounds(calls: Mapping[str, Callable[[], object]]) -> list[dict[str, float]]:
    return [latency_ms(calls, rounds=1) for _ in range(LATENCY_ROUNDS)]


def _speedup(rounds: Sequence[Mapping[str, float]], kind: str) -> float:
    return round(median(one["eager"] / one[kind] for one in rounds), 2)


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
