"""Fixtures shared by all rooms: a small set of demo scenes and a tiny space."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import TINY_SPACE

from asc_search.data.demo import SMALL, make_demo

torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--candidates", type=int, default=150, help="random networks whose price is compared with both counters"
    )


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set of demo scenes as a folder in the TAU layout, with an evaluation set."""
    root = tmp_path_factory.mktemp("scenes")
    make_demo(root, size=SMALL)
    return root


@pytest.fixture
def tiny_space(tmp_path: Path) -> Path:
    """A space whose whole job takes seconds."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_SPACE)
    return path
