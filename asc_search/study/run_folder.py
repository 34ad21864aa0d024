"""A run is a folder a person can read: space, environment, study, checkpoints, results. Deleting it undoes the run."""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from asc_search import __version__
from asc_search.errors import RunFolderError
from asc_search.files import read_json, write_json

PACKAGES = ("torch", "torchaudio", "optuna", "torch-pruning", "numpy", "soundfile", "soxr")


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run folder."""

    root: Path

    @property
    def space_file(self) -> Path:
        return self.root / "space.yaml"

    @property
    def database(self) -> Path:
        return self.root / "study.db"

    def trial(self, number: int, digest: str) -> Path:
        return self.root / "trials" / f"{number:05d}-{digest}"

    def finalist(self, digest: str, epochs: int, seed: int) -> Path:
        return self.root / "finalists" / f"{digest}-{epochs}-epochs" / f"seed-{seed}"

    @property
    def identity(self) -> dict[str, Any] | None:
        """What the run was started with (space digest, data digest, seed, versions), or None for a new folder."""
        return read_json(self.root / "run.json")

    def write_identity(self, **identity: Any) -> None:
        """Record what this run is and the environment it was started in."""
        versions = {name: metadata.version(name) for name in PACKAGES}
        write_json(
            self.root / "run.json",
            {
                **identity,
                "run_id": uuid.uuid4().hex[:8],
                "asc_search": __version__,
                "python": platform.python_version(),
                "machine": platform.platform(),
                "versions": versions,
            },
        )

    def check_same(self, notes: Mapping[str, Any], **identity: Any) -> None:
        """Refuse to continue a run that was started with another ``identity``; ``notes`` are kept beside it.

        Raises:
            RunFolderError: names what differs.
        """
        known = self.identity
        if known is None:
            self.write_identity(**identity, **notes)
            return
        different = [name for name, value in identity.items() if known.get(name) != value]
        if different:
            raise RunFolderError(
                f"{self.root}: this run was started with another {' and '.join(different)}; "
                f"give --out another folder, or delete this one to start again"
            )

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """One process at a time prepares data and teachers here; where all is prepared the next one only reads."""
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / ".prepare"):
            yield

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; the lock falls with the process, however it ends.

        Raises:
            RunFolderError: another process holds it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        holder = self.root / "holder.json"
        lock = FileLock(self.root / ".lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            who = read_json(holder) or {}
            raise RunFolderError(
                f"{self.root}: in use by process {who.get('pid', '?')} since {who.get('since', '?')}; "
                f"wait for it, stop it, or give --out another folder"
            ) from None
        try:
            write_json(holder, {"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")})
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()


def existing_run(root: Path) -> RunFolder:
    """The run at ``root``.

    Raises:
        RunFolderError: there is none.
    """
    run = RunFolder(root)
    if run.identity is None or not run.space_file.exists():
        raise RunFolderError(f"{root}: not a run folder (no run.json); give the folder `asc-search run` wrote")
    return run
