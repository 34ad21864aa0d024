"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file aside, flush it to disk, then rename it to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(aside)
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_folder_atomically(folder: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a folder aside, then rename it to ``folder``, which must be absent or empty."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        aside.mkdir()
        write(aside)
        os.replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` as readable JSON, atomically."""
    write_atomically(path, lambda aside: aside.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8"))


def read_json(path: Path) -> Any:
    """The JSON content of ``path``, or None where it is absent or damaged (then what it describes is made again)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None
