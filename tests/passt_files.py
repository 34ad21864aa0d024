"""Files of PaSST as its authors name and shape them, of any width and depth, with random values."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from support import tone_clips

from asc_search.data.clips import Clips
from asc_search.space.teachers import PasstTeacher

State = dict[str, torch.Tensor]


def random_passt(width: int = 128, depth: int = 2, labels: int = 7) -> State:
    """A file's content, with random values that keep signals in range."""
    generator = torch.Generator().manual_seed(0)
    state: State = {}

    def normal(name: str, *shape: int, scale: float = 1.0) -> None:
        state[name] = scale * torch.randn(*shape, generator=generator)

    def linear(name: str, inputs: int, outputs: int) -> None:
        normal(f"{name}.weight", outputs, inputs, scale=2 / math.sqrt(inputs))
        normal(f"{name}.bias", outputs, scale=0.5)

    def norm(name: str) -> None:
        state[f"{name}.weight"] = 0.5 + torch.rand(width, generator=generator)
        normal(f"{name}.bias", width, scale=0.5)

    normal("cls_token", 1, 1, width)
    normal("dist_token", 1, 1, width)
    normal("new_pos_embed", 1, 2, width)
    normal("freq_new_pos_embed", 1, width, 12, 1)
    normal("time_new_pos_embed", 1, width, 1, 99)
    normal("patch_embed.proj.weight", width, 1, 16, 16, scale=1 / 16)
    normal("patch_embed.proj.bias", width, scale=0.5)
    for index in range(depth):
        for part in (1, 2):
            norm(f"blocks.{index}.norm{part}")
        linear(f"blocks.{index}.attn.qkv", width, 3 * width)
        linear(f"blocks.{index}.attn.proj", width, width)
        linear(f"blocks.{index}.mlp.fc1", width, 4 * width)
        linear(f"blocks.{index}.mlp.fc2", 4 * width, width)
    norm("norm")
    norm("head.0")
    linear("head.1", width, labels)
    linear("head_dist", width, labels)
    return state


def passt_on_tones(folder: Path) -> tuple[PasstTeacher, Clips]:
    """A teacher from a random file, and eight tones to tell apart; skipped where the package is not installed."""
    if importlib.util.find_spec("hear21passt") is None:
        pytest.skip("needs hear21passt (pip install 'asc-search[teachers]')")
    (folder / "audio").mkdir()
    weights = folder / "passt.pt"
    torch.save(random_passt(labels=527), weights)
    return PasstTeacher("passt", weights, weights.name, 1e-3), tone_clips(folder / "audio", 8, 32_000)
