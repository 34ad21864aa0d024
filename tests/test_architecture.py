"""The rooms import only rooms below them (the order is written once, in .importlinter)."""

from __future__ import annotations

from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports


def test_import_order_of_the_rooms() -> None:
    root = Path(__file__).resolve().parents[1]
    assert lint_imports(config_filename=str(root / ".importlinter"), no_cache=True) == EXIT_STATUS_SUCCESS
