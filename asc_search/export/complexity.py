"""What an exported model costs, counted on the file that is submitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from asc_search.export.int8 import in_int8
from asc_search.export.profile import Profile
from asc_search.export.submission import Complexity
from asc_search.nets.network import build
from asc_search.oracle.nessi import recount
from asc_search.train.clip_scores import heard, window_count
from asc_search.train.model_file import Model, load_model

CLIP_SECONDS = 1.0  # what every year's clips have, and what its limits are for


def measured_complexity(path: Path, profile: Profile) -> Complexity:
    """Complexity of the model file itself: stored parameters, and a count of the rebuilt module.

    Of int8 the float twin is counted, a byte for each parameter: the official counter sees none in integer operations.

    MACs are those for a clip of a second: of a shorter window as many times as the clip has windows, of a longer one once.

    Raises:
        NetworkError: the count is not the price the search used; the model must not be submitted.
    """
    model = load_model(path)
    candidate = model.candidate
    int8 = candidate.weight_type == "int8"
    counted = recount(build(candidate.deployed).eval() if int8 else model.network, candidate.deployed)
    macs = counted.macs * windows_of_a_clip(candidate.frontend.seconds)
    asked = "total_parameters_non_zero" in profile.complexity_keys  # it differs from split to split
    if int8:
        return Complexity(counted.params, macs, counted.params, "int8", counted.params if asked else None)
    if profile.weight_type == "int8":
        nonzero = sum(int(value.count_nonzero()) for value in in_int8(model).network.parameters())
        return Complexity(counted.params, macs, counted.params, "int8", nonzero)
    stored = _stored(path, model)
    size = sum(value.numel() * value.element_size() for value in stored)
    nonzero = sum(int(value.count_nonzero()) for value in stored) if asked else None
    return Complexity(counted.params, macs, size, candidate.weight_type, nonzero)


def windows_of_a_clip(seconds: float) -> int:
    """How often a network with windows of ``seconds`` runs for one clip of a second."""
    index = np.arange(window_count(CLIP_SECONDS, seconds))
    _, scored = heard(np.zeros(len(index)), np.zeros(len(index), int), index)
    return int(scored.sum())


def _stored(path: Path, model: Model) -> list[torch.Tensor]:
    names = {name for name, _ in model.network.named_parameters()}
    with safe_open(path, framework="pt") as file:
        return [file.get_tensor(name) for name in names]
