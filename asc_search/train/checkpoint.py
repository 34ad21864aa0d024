"""Checkpoints: weights, their trained twins aside, peers, and optimiser states in one safetensors file, written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from asc_search.files import write_atomically

VERSION = "3"  # raise when a training could not go on from an older file; it begins anew then
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class SavedPeer:
    """A network trained beside the student: its state_dict and its optimiser's state by parameter index."""

    network: Tensors = field(default_factory=dict)
    optimizer: dict[int, Tensors] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds.

    ``network`` is its state_dict, ``aside`` the weights kept beside it, ``regressor`` those of the layer trained with it (both
    empty where there are none), ``optimizer`` the optimiser's state by parameter index, ``peers`` the networks trained
    beside it in their order, ``note`` JSON.
    """

    network: Tensors
    aside: Tensors
    regressor: Tensors
    optimizer: dict[int, Tensors]
    note: dict[str, Any]
    peers: list[SavedPeer]


def save(
    path: Path,
    network: Tensors,
    aside: Tensors,
    regressor: Tensors,
    optimizer: torch.optim.Optimizer,
    note: Mapping[str, Any],
    peers: Sequence[tuple[Tensors, torch.optim.Optimizer]] = (),
) -> None:
    """Write the tensors and ``note`` (JSON) to ``path``; ``peers`` are (state_dict, optimiser)."""
    tensors = {f"network.{name}": value for name, value in network.items()}
    tensors |= {f"aside.{name}": value for name, value in aside.items()}
    tensors |= {f"regressor.{name}": value for name, value in regressor.items()}
    tensors |= _moments("optimizer", optimizer)
    for number, (weights, its_optimizer) in enumerate(peers):
        tensors |= {f"peer.{number}.network.{name}": value for name, value in weights.items()}
        tensors |= _moments(f"peer.{number}.optimizer", its_optimizer)
    tensors = {
        name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors.items()
    }  # some are shared
    write_atomically(path, lambda part: save_file(tensors, part, {"version": VERSION, "note": json.dumps(note)}))


def _moments(prefix: str, optimizer: torch.optim.Optimizer) -> Tensors:
    return {
        f"{prefix}.{index}.{name}": torch.as_tensor(value)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


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
    peers: dict[int, SavedPeer] = {}
    saved = Saved({}, {}, {}, {}, note, [])
    for name, value in tensors.items():
        part, rest = name.split(".", 1)
        into: Saved | SavedPeer = saved
        if part == "peer":
            number, part, rest = rest.split(".", 2)
            into = peers.setdefault(int(number), SavedPeer())
        if part == "optimizer":
            index, rest = rest.split(".", 1)
            into.optimizer.setdefault(int(index), {})[rest] = value
        else:
            getattr(into, part)[rest] = value
    saved.peers.extend(peers[number] for number in sorted(peers))
    return saved
