"""What is counted on the file that is submitted."""

from __future__ import annotations

from pathlib import Path

import torch

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.compress.weights import stored_state
from asc_search.export.complexity import measured_complexity
from asc_search.export.profile import PROFILES
from asc_search.nets.network import build
from asc_search.nets.systems import system
from asc_search.space.candidate import Candidate
from asc_search.train.model_file import Model, save_model


def test_zeros_are_counted_only_where_a_year_states_them(tmp_path: Path) -> None:
    """The models of 2024's five splits underflow to other numbers of zeros in fp16, and state one complexity together."""
    spec = system("dcase2024-baseline")()
    candidate = Candidate(FrontEnd(mels=spec.input[1], hop=500), spec)
    network = build(spec)
    with torch.no_grad():
        next(network.parameters()).view(-1)[:5] = 0
    classes = tuple(f"scene {index}" for index in range(10))
    save_model(tmp_path / "m.safetensors", stored_state(network, "fp16"), Model(candidate, classes, network))
    counted = sum(int(value.half().count_nonzero()) for value in network.parameters())
    found = measured_complexity(tmp_path / "m.safetensors", PROFILES["dcase2023"])
    assert found.params == 61_148 and found.params_non_zero == counted < 61_148
    assert measured_complexity(tmp_path / "m.safetensors", PROFILES["dcase2024"]).params_non_zero is None
