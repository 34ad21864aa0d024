"""Checkpoints: weights and optimiser state in one safetensors file, written atomically."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from asc_search.files import write_atomically


def save(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, note: dict[str, Any]) -> None:
    """Write the network's and optimiser's tensors and ``note`` (JSON) to ``path``."""
    tensors = {f"network.{name}": value.contiguous() for name, value in network.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value).contiguous()
    write_atomically(path, lambda aside: save_file(tensors, aside, {"note": json.dumps(note)}))


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict[int, dict[str, torch.Tensor]], dict[str, Any]] | None:
    """(network state_dict, optimiser state by parameter index, note), or None where absent or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            note = json.loads(file.metadata()["note"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (FileNotFoundError, SafetensorError, KeyError, TypeError, json.JSONDecodeError):
        return None
    network = {name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")}
    optimizer: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, field = name.split(".", 2)
            optimizer.setdefault(int(index), {})[field] = value
    return network, optimizer, note
