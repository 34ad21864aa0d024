"""A pretrained tagger fine-tuned on the task: its last layer first, then all of them; students may begin as it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from asc_search.distill.head import fit_head
from asc_search.nets.network import Network
from asc_search.nets.tagger import load_tagger
from asc_search.space.candidate import Candidate, Distillation, Training
from asc_search.space.teachers import TaggerTeacher
from asc_search.train.candidate import Material, Origin, train_candidate
from asc_search.train.features import frontend_windows
from asc_search.train.fit import TrainState, device

BATCH = 256
MIXED = 0.5  # share of the windows that are mixtures, where there are any


def tune(
    material: Material,
    checkpoint: Path,
    teacher: TaggerTeacher,
    seconds: float,
    recipe: Training,
    seed: int,
    after_epoch: Callable[[TrainState], None],
) -> tuple[Candidate, TrainState]:
    """``teacher`` trained on the labels of ``material``, by the students' ``recipe`` but for the learning rate, into
    ``checkpoint``; and the candidate it is.

    Raises:
        WeightsError: its weights file cannot be used.
    """
    frontend, spec = teacher.start(seconds, len(material.training.classes))
    plan = Distillation(mixed=0.0 if material.mixtures is None else MIXED)
    candidate = Candidate(frontend, spec, training=replace(recipe, lr=teacher.lr), distillation=plan)
    weights = None if checkpoint.exists() else _with_head(teacher, candidate, material)
    state = train_candidate(
        candidate,
        material,
        checkpoint,
        seed=seed,
        epochs=teacher.epochs,
        after_epoch=after_epoch,
        origin=None if weights is None else Origin(weights=weights),
    )
    return candidate, state


def _with_head(teacher: TaggerTeacher, candidate: Candidate, material: Material) -> Mapping[str, torch.Tensor]:
    """The tagger's state_dict with a last layer for the task: regression on what its own saw, L2 penalty ``decay``."""
    network = load_tagger(teacher.weights).network.to(device())
    windows = frontend_windows(material.folder, material.training, candidate.frontend)
    rows = np.flatnonzero(windows.audible)
    seen = []
    for start in range(0, len(rows), BATCH):
        x = torch.from_numpy(windows.values[rows[start : start + BATCH]].astype(np.float32))
        seen.append(_before_last(network, x).cpu())
    labels = material.training.label_array()[windows.clip_of[rows]]
    head = fit_head(torch.cat(seen).numpy(), labels, len(material.training.classes), teacher.decay)
    scaled = head.weight / head.scale
    *_, last = [name.removesuffix(".weight") for name in network.state_dict() if name.endswith(".weight")]
    return {**network.state_dict(), f"{last}.weight": scaled, f"{last}.bias": head.bias - scaled @ head.mean}


@torch.inference_mode()
def _before_last(network: Network, x: torch.Tensor) -> torch.Tensor:
    """What the last linear layer sees of inputs ``x``: (batch, width)."""
    head = network.eval()[-1]
    return head.classifier[:-1](head.embed(*network.trunk(x.to(device()))))
