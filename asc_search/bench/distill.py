"""`asc-search bench distill`: what cached distillation costs a training, and what running the teacher would."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.bench.bars import at_least, at_most, report
from asc_search.bench.timing import noise_clips, seconds
from asc_search.nets.network import Network, build
from asc_search.nets.systems import system
from asc_search.nets.systems.mn import mn
from asc_search.progress import bar
from asc_search.space.candidate import Candidate, Distillation, Training
from asc_search.train.batches import batch_count, epoch_batches
from asc_search.train.candidate import Material
from asc_search.train.fit import Recipe, TrainState, device, fit, start
from asc_search.train.inputs import Inputs
from asc_search.train.losses import Batch, distillation
from asc_search.train.mixtures import draw_mixtures
from asc_search.train.targets import Lesson, Targets, targets_of

DESIGN = "dcase2024-baseline"
CLIPS, WIDTH = 256, 384  # of an embedding of the AudioSet tagger mn04
RECIPE = Training(batch=32, roll_s=0.1, freq_mask=48, mixstyle_p=0.4)
PLAN = Distillation(("teacher",), features=1.0, mixed=0.5)
REPEATS = 7


def bench_distill() -> dict[str, Any]:
    """Epochs of the 2024 baseline, in turn within one run: with labels alone, with all that teachers say read from the cache
    (logits, embeddings, mixtures), and with the teacher, a tagger of mn04's layers, run on every batch.
    """
    design = system(DESIGN)()
    with tempfile.TemporaryDirectory() as name, bar() as progress:
        task = progress.add_task("with and without teachers", total=REPEATS)
        folder = Path(name)
        clips = noise_clips(folder, CLIPS)
        candidate = Candidate(FrontEnd(), design, training=RECIPE)
        plain = Material(folder, clips, {}).inputs(candidate)
        windows = plain.windows
        mixtures = draw_mixtures(windows.clip_of, windows.audible, 0)
        rng, rows = np.random.default_rng(0), len(windows) + len(mixtures)
        lesson = Lesson(
            rng.normal(size=(rows, len(clips.classes))).astype(np.float16),
            rng.normal(size=(rows, WIDTH)).astype(np.float16),
        )
        material = Material(folder, clips, {"teacher": lesson}, mixtures=mixtures)
        taught = material.inputs(replace(candidate, distillation=PLAN))
        targets = targets_of(material.teachers, PLAN)
        teacher = build(mn(0.4).with_input(FrontEnd().shape).with_classes(len(clips.classes))).to(device()).eval()
        ways = {
            "labels": _Way(plain, None, 0.0),
            "cached": _Way(taught, targets, PLAN.mixed),
            "running": _Way(plain, None, 0.0, teacher),
        }
        for way in ways.values():
            way.epoch()  # first steps choose algorithms
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(REPEATS):
            for name, way in ways.items():
                taken[name].append(seconds(way.epoch))
            progress.advance(task)
    overhead = median(b / a - 1 for a, b in zip(taken["labels"], taken["cached"], strict=True))
    speedup = median(b / a for a, b in zip(taken["cached"], taken["running"], strict=True))
    ran = {
        "network": DESIGN,
        "batch": RECIPE.batch,
        "device": device().type,
        "threads": torch.get_num_threads(),
        "clips_an_epoch": CLIPS,
        **{f"{name}_s": round(median(values), 3) for name, values in taken.items()},
    }
    bars = [
        at_most("overhead", round(overhead, 3), 0.05),
        at_least("speedup_vs_running_teachers", round(speedup, 2), 1),
    ]
    return report("distill", ran, bars)


class _Way:
    """A training by one of the ways, an epoch at a time."""

    def __init__(
        self, inputs: Inputs, targets: Targets | None, mixed_share: float, teacher: Network | None = None
    ) -> None:
        predicted = targets.predicted if targets is not None else WIDTH if teacher is not None else 0
        self._inputs, self._targets, self._mixed, self._teacher = inputs, targets, mixed_share, teacher
        self._recipe = Recipe(RECIPE, 10**6, batch_count(inputs.windows, RECIPE), predicted)
        self._state: TrainState = start(system(DESIGN)(), self._recipe, 0)

    def epoch(self) -> None:
        loss = partial(distillation, plan=PLAN)
        fit(self._state, self._batches, loss, self._recipe, self._state.epoch + 1)

    def _batches(self, epoch: int) -> Iterator[Batch]:
        for batch in epoch_batches(self._inputs, self._targets, RECIPE, 0, epoch, 10**6, device(), self._mixed):
            yield batch if self._teacher is None else _told(self._teacher, batch)


@torch.inference_mode()
def _ask(teacher: Network, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    maps = teacher.trunk(x)
    return teacher[-1](*maps), teacher[-1].embed(*maps)


def _told(teacher: Network, batch: Batch) -> Batch:
    """The batch with what the teacher says of it right now."""
    logits, embedding = (value.clone() for value in _ask(teacher, batch.x))
    return replace(batch, teacher=logits[:, None], embedding=embedding)
