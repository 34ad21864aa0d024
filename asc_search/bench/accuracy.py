"""`asc-search bench accuracy`: what the fast pipeline reaches on real audio, beside the plain PyTorch way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.bench.bars import at_most, report
from asc_search.bench.plain import PlainPipeline
from asc_search.data.clips import Clips
from asc_search.data.source import open_source
from asc_search.files import read_json, write_json
from asc_search.nets.spec import NetSpec
from asc_search.nets.systems import system
from asc_search.processes import side_by_side
from asc_search.progress import Stage
from asc_search.space.candidate import Candidate, Training
from asc_search.train.candidate import Material, train_candidate
from asc_search.train.features import frontend_windows
from asc_search.train.fit import device
from asc_search.train.metrics import evaluate
from asc_search.train.predict import predict_clips

DESIGN = "dcase2024-baseline"
FRONTEND = FrontEnd(rate_hz=16_000, window=1536, n_fft=2048, hop=250, mels=128)
RECIPE = Training(
    lr=0.005, weight_decay=5e-4, batch=32, crops_per_clip=2, roll_s=0.1, freq_mask=16, mixstyle_p=0.0, warmup=0.1
)
WAYS = ("fast", "plain")


@dataclass(frozen=True)
class _Training:
    way: str
    seed: int


def bench_accuracy(source: str, work: Path, test_folds: Sequence[str], epochs: int, seeds: int) -> dict[str, Any]:
    """Train the 2024 baseline both ways from ``seeds`` seeds by one recipe; macro accuracy on the test part.

    Both hear the same windows: those that are not silent.

    The windows, and the accuracy of each finished training, are kept in ``work``: the same call goes on where one was
    stopped.

    Raises:
        DataError: the source cannot be used.
    """
    opened = open_source(source, work, test_folds=list(test_folds) or None, allow_leaky_split=True)
    clips = opened.clips
    heard = clips.where(lambda row: clips.splits[row] in ("train", "validation"))
    test = clips.split("test")
    for part in (heard, test):
        frontend_windows(work, part, FRONTEND)
    spec = system(DESIGN)().with_classes(len(clips.classes)).with_input(FRONTEND.shape)
    trainings = [_Training(way, seed) for seed in range(seeds) for way in WAYS]
    run = partial(_train, spec, work, heard, test, epochs)
    threads = torch.get_num_threads()
    workers = threads if device().type == "cpu" else 1
    reached: dict[str, dict[int, float]] = {way: {} for way in WAYS}
    with Stage("both ways", len(trainings)) as stage:
        for index, accuracy in side_by_side(run, trainings, workers, max(1, threads // workers), lambda _: None):
            one = trainings[index]
            reached[one.way][one.seed] = accuracy
            stage.note(f"{one.way}, seed {one.seed}: {100 * accuracy:.1f} %")
    by_seed = {way: [found[seed] for seed in range(seeds)] for way, found in reached.items()}
    spread = max(stdev(values) if seeds > 1 else 0.0 for values in by_seed.values())
    ran = {
        "network": DESIGN,
        "source": source,
        "clips": len(heard),
        "test_clips": len(test),
        "epochs": epochs,
        "crops_per_clip": RECIPE.crops_per_clip,
        "seeds": seeds,
        **{way: [round(value, 4) for value in values] for way, values in by_seed.items()},
        **{f"{way}_mean": round(mean(values), 4) for way, values in by_seed.items()},
    }
    difference = abs(mean(by_seed["fast"]) - mean(by_seed["plain"]))
    return report("accuracy", ran, [at_most("difference", round(difference, 4), round(spread, 4))])


def _train(
    spec: NetSpec,
    work: Path,
    heard: Clips,
    test: Clips,
    epochs: int,
    one: _Training,
    said: Callable[[Any], None],
) -> float:
    """Macro accuracy of one training on the test clips; read back where it is known."""
    note = work / f"{one.way}-{one.seed}-{epochs}-{heard.digest()[:8]}.json"
    if (known := read_json(note)) is not None:
        return known["accuracy"]
    windows = frontend_windows(work, test, FRONTEND)
    if one.way == "fast":
        material = Material(work, heard, {})
        checkpoint = note.with_suffix(".safetensors")
        candidate = Candidate(FRONTEND, spec, training=RECIPE)
        network = train_candidate(candidate, material, checkpoint, seed=one.seed, epochs=epochs).network
    else:
        torch.manual_seed(one.seed)
        plain = PlainPipeline(frontend_windows(work, heard, FRONTEND), spec, FRONTEND, RECIPE, device(), epochs)
        for _ in range(epochs):
            plain.epoch()
        network = plain.network
    probabilities = predict_clips(network, windows, device())
    accuracy = evaluate(probabilities, test.label_array(), test.classes).accuracy
    write_json(note, {"accuracy": accuracy})
    return accuracy
