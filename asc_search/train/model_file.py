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

from asc_search.audio.standardise import Standardise, standardising
from asc_search.errors import WeightsError
from asc_search.files import write_atomically
from asc_search.nets.graph_file import Operations, rebuilt
from asc_search.nets.network import build
from asc_search.space.candidate import Candidate
from asc_search.train.groups import Fusion, membership

STATISTICS = "standardise."  # before the names of a model's statistics; those of its weights begin with a number


@dataclass(frozen=True)
class Model:
    """A trained network, (batch, channel, freq, time) -> logits (batch, classes), and what its inputs are standardised with.

    Where the candidate has groups, the network's logits are (batch, classes + groups); those of ``whole`` are of classes.
    """

    candidate: Candidate
    classes: tuple[str, ...]
    network: nn.Module
    standardise: Standardise | None = None

    @property
    def whole(self) -> nn.Module:
        """What takes windows as the front end makes them and gives logits of the classes: the network behind its
        statistics and before the fusion with its groups, if it has any.
        """
        network = standardising(self.standardise, self.network)
        if not self.candidate.groups:
            return network
        belongs = membership(self.candidate.groups, self.classes)
        return nn.Sequential(network, Fusion(belongs, self.candidate.distillation.class_share))


def save_model(path: Path, weights: Mapping[str, torch.Tensor], model: Model, graph: Operations | None = None) -> None:
    """Write ``weights`` in the type they are stored in, with everything needed to rebuild ``model`` around them.

    Statistics are stored in float32, whatever the weights are. ``graph`` are the operations of an int8 network, which its
    specification alone does not tell (``graph_file.described``).
    """
    said = {"candidate": model.candidate.to_json(), "classes": list(model.classes)}
    note = json.dumps(said if graph is None else {**said, "graph": graph})
    held = {} if model.standardise is None else model.standardise.state_dict()
    tensors = {**weights, **{STATISTICS + name: value.cpu() for name, value in held.items()}}
    write_atomically(path, lambda aside: save_file(tensors, aside, {"asc_search": note}))


def tensor_bytes(path: Path) -> int:
    """Bytes of all tensors in a model's file but the statistics of its inputs: weights, biases, scales."""
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if not name.startswith(STATISTICS)]  # noqa: SIM118
        return sum(file.get_tensor(name).nbytes for name in names)


def load_model(path: Path) -> Model:
    """The model at ``path``; weights are widened to float32 to compute, those in int8 by the operations of its graph.

    Raises:
        WeightsError: the file is missing, damaged, its widths are not those of its specification, or it lacks the
            statistics its front end is standardised with.
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
    held = {name: weights.pop(name) for name in list(weights) if name.startswith(STATISTICS)}
    if bool(held) != candidate.frontend.needs_statistics:
        told = "unexpected" if held else "no"
        raise WeightsError(f"{path}: {told} statistics beside frontend.standardise {candidate.frontend.standardise}")
    if (candidate.weight_type == "int8") != ("graph" in note):
        raise WeightsError(f"{path}: weights of type {candidate.weight_type} beside a graph, or int8 without one")
    try:
        if "graph" in note:
            network = rebuilt(note["graph"], weights)
        else:
            network = build(candidate.deployed)
            network.load_state_dict(weights)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    except RuntimeError as error:
        raise WeightsError(f"{path}: the weights disagree with the specification beside them: {error}") from None
    statistics = {name.removeprefix(STATISTICS): value for name, value in held.items()}
    standardise = Standardise(**statistics) if statistics else None
    return Model(candidate, tuple(note["classes"]), network.eval(), standardise)
