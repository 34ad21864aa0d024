"""A trained model on disk: its candidate and its stored weights in one safetensors file, the one source of truth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from asc_search.errors import WeightsError
from asc_search.files import write_atomically
from asc_search.nets.network import build
from asc_search.space.candidate import Candidate


@dataclass(frozen=True)
class Model:
    """A trained network ready to run: (batch, 1, freq, time) -> logits (batch, classes)."""

    candidate: Candidate
    classes: tuple[str, ...]
    network: nn.Module


def save_model(path: Path, weights: Mapping[str, torch.Tensor], candidate: Candidate, classes: tuple[str, ...]) -> None:
    """Write ``weights`` in the type they are stored in, with everything needed to rebuild the network."""
    note = json.dumps({"candidate": candidate.to_json(), "classes": list(classes)})
    write_atomically(path, lambda aside: save_file(dict(weights), aside, {"asc_search": note}))


def load_model(path: Path) -> Model:
    """The model at ``path``; weights are widened to float32 to compute.

    Raises:
        WeightsError: the file is missing, damaged, or its widths are not those of its specification.
    """
    try:
        with safe_open(path, framework="pt") as file:
            note = json.loads(file.metadata()["asc_search"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file") from None
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path}: not a model file of asc-search ({error})") from None
    candidate = Candidate.from_json(note["candidate"])
    network = build(candidate.deployed)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise WeightsError(f"{path}: the weights disagree with the specification beside them: {error}") from None
    return Model(candidate, tuple(note["classes"]), network.eval())
