"""Rooms import only rooms below them (the order is written once, in .importlinter); a command starts with what it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports
from support import ENVIRONMENT


def test_import_order_of_the_rooms() -> None:
    root = Path(__file__).resolve().parents[1]
    assert lint_imports(config_filename=str(root / ".importlinter"), no_cache=True) == EXIT_STATUS_SUCCESS


def test_a_run_starts_without_what_it_may_never_need() -> None:
    """Each of these takes seconds to import: a wrong path or a typing error would be told that much later."""
    script = "import sys, asc_search.job, asc_search.cli_study, asc_search.export.from_run; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    late = {
        "sklearn",
        "pandas",
        "matplotlib",
        "torchao",
        "executorch",
        "onnx",
        "onnxruntime",
        "torch._dynamo",
        "torchaudio",
    }
    assert not late & set(done.stdout.split())
