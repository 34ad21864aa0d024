"""A pretrained network fine-tuned on the task: its last layer first, then all of them; students may begin as a tagger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from asc_search.audio.kaldi_mel import student_front_end
from asc_search.distill.head import fit_head
from asc_search.nets.network import Network
from asc_search.nets.passt import PasstClassifier, load_passt
from asc_search.nets.spec import NetSpec
from asc_search.nets.tagger import load_tagger
from asc_search.space.candidate import Candidate, Distillation, Training
from asc_search.space.teachers import PretrainedTeacher, TaggerTeacher
from asc_search.train.candidate import Material, Origin, train_candidate
from asc_search.train.features import frontend_windows
from asc_search.train.fit import TrainState, device

BATCH = 256
MIXED = 0.5  # share of the windows that are mixtures, where there are any


def tune(
    material: Material,
    checkpoint: Path,
    teacher: PretrainedTeacher,
    seconds: float,
    recipe: Training,
    seed: int,
    after_epoch: Callable[[TrainState], None],
) -> tuple[Candidate, TrainState]:
    """``teacher`` trained on the labels of ``material``, by the students' ``recipe`` but for the learning rate, into
    ``checkpoint``; and the candidate it is, without layers where it is no tagger.

    Raises:
        MissingExtraError: the package it is of is not installed.
        WeightsError: its weights file cannot be used.
    """
    classes, fresh = len(material.training.classes), not checkpoint.exists()
    plan = Distillation(mixed=0.0 if material.mixtures is None else MIXED)
    recipe = replace(recipe, lr=teacher.lr)
    network, origin = None, None
    if isinstance(teacher, TaggerTeacher):
        candidate = Candidate(*teacher.start(seconds, classes), training=recipe, distillation=plan)
        origin = Origin(weights=_tagger_with_head(teacher, candidate, material)) if fresh else None
    else:
        frontend = student_front_end(seconds)
        candidate = Candidate(frontend, NetSpec(frontend.shape, classes, ()), training=recipe, distillation=plan)
        network = PasstClassifier(load_passt(teacher.weights), classes)
        if fresh:
            weight, bias = _task_layer(material, candidate, teacher.decay, network.to(device()).eval()[0])
            network[-1].load_state_dict({"weight": weight, "bias": bias})
    state = train_candidate(
        candidate,
        material,
        checkpoint,
        seed=seed,
        epochs=teacher.epochs,
        after_epoch=after_epoch,
        network=network,
        origin=origin,
    )
    return candidate, state


def _tagger_with_head(teacher: TaggerTeacher, candidate: Candidate, material: Material) -> Mapping[str, torch.Tensor]:
    """The tagger's state_dict with a last layer for the task."""
    network = load_tagger(teacher.weights).network.to(device()).eval()
    weight, bias = _task_layer(material, candidate, teacher.decay, partial(_before_last, network))
    *_, last = [name.removesuffix(".weight") for name in network.state_dict() if name.endswith(".weight")]
    return {**network.state_dict(), f"{last}.weight": weight, f"{last}.bias": bias}


def _task_layer(
    material: Material, candidate: Candidate, decay: float, before: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight (classes, width) and bias of a last layer: regression on what is ``before`` it, L2 penalty ``decay``."""
    windows = frontend_windows(material.folder, material.training, candidate.frontend)
    rows = np.flatnonzero(windows.audible)
    seen = []
    for start in range(0, len(rows), BATCH):
        x = torch.from_numpy(windows.values[rows[start : start + BATCH]].astype(np.float32))
        with torch.inference_mode():
            seen.append(before(x.to(device())).cpu())
    labels = material.training.label_array()[windows.clip_of[rows]]
    head = fit_head(torch.cat(seen).numpy(), labels, len(material.training.classes), decay)
    scaled = head.weight / head.scale
    return scaled, head.bias - scaled @ head.mean


def _before_last(network: Network, x: torch.Tensor) -> torch.Tensor:
    """What the last linear layer sees of inputs ``x``: (batch, width)."""
    head = network[-1]
    return head.classifier[:-1](head.embed(*network.trunk(x)))
