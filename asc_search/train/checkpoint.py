"""Checkpoints: weights, their trained twins aside, and optimiser state in one safetensors file, written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from asc_search.files import write_atomically

VERSION = "3"  # raise when a training could not go on from an older file; it begins anew then
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds.

    ``network`` is its state_dict, ``aside`` the weights kept beside it, ``regressor`` those of the layer trained with it (both
    empty where there are none), ``optimizer`` the optimiser's state by parameter index, ``note`` JSON.
    """

    network: Tensors
    aside: Tensors
    regressor: Tensors
    optimizer: dict[int, Tensors]
    note: dict[str, Any]


def save(
    path: Path,
    network: Tensors,
    aside: Tensors,
    regressor: Tensors,
    optimizer: torch.optim.Optimizer,
    note: Mapping[str, Any],
) -> None:
    """Write the tensors and ``note`` (JSON) to ``path``."""
    tensors = {f"network.{name}": value for name, value in network.items()}
    tensors |= {f"aside.{name}": value for name, value in aside.items()}
    tensors |= {f"regressor.{name}": value for name, value in regressor.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    write_atomically(path, lambda part: save_file(tensors, part, {"version": VERSION, "note": json.dumps(note)}))


def load(path: Path) -> Saved | None:
    """What was saved at ``path``, or None where absent, damaged or of another version."""
    try:
        with safe_open(path, framework="pt") as file:
            if file.metadata()["version"] != VERSION:
                return None
            note = json.loads(file.metadata()["note"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (FileNotFoundError, SafetensorError, KeyError, TypeError, json.JSONDecodeError):
        return None
    saved = Saved({}, {}, {}, {}, note)
    for name, value in tensors.items():
        part, rest = name.split(".", 1)
        if part == "optimizer":
            index, field = rest.split(".", 1)
            saved.optimizer.setdefault(int(index), {})[field] = value
        else:
            {"network": saved.network, "aside": saved.aside, "regressor": saved.regressor}[part][rest] = value
    return saved
