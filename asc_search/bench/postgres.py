"""A PostgreSQL server of our own on loopback, for benchmarks and tests."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from asc_search.errors import MissingExtraError

USER = "postgres"


@dataclass(frozen=True)
class Server:
    """A server: its data in ``folder``, programs in ``programs``, ``as_user`` for subprocess where we are root."""

    folder: Path
    programs: Path
    port: int
    password: str
    as_user: dict[str, Any]

    @property
    def url(self) -> str:
        """A SQLAlchemy URL, password included."""
        return f"postgresql+psycopg://{USER}:{self.password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c max_connections=200"
        self._run("pg_ctl", "-D", self.folder / "data", "-o", options, "-l", self.folder / "log", "-w", "start")

    def stop(self) -> None:
        """Stop it, whoever is connected."""
        self._run("pg_ctl", "-D", self.folder / "data", "-m", "fast", "-w", "stop")

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self.programs / program), *map(str, arguments)]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **self.as_user
        )


@contextmanager
def postgres() -> Iterator[Server]:
    """A fresh server, deleted afterwards.

    Raises:
        MissingExtraError: no PostgreSQL is found, neither that of the package pgserver nor one installed.
    """
    installed = _programs()
    folder = Path(tempfile.mkdtemp(prefix="asc-pg-", dir="/tmp"))
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        nobody = pwd.getpwnam("nobody")
        as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        if not all(parent.stat().st_mode & 0o001 for parent in installed.resolve().parents):
            folder.chmod(0o755)
            installed = _reachable(installed, folder / "programs")
    password = secrets.token_hex(8)
    server = Server(folder, installed, _free_port(), password, as_user)
    try:
        file = folder / "password"
        file.write_text(password + "\n")
        file.chmod(0o644)
        server._run(
            "initdb", "-D", folder / "data", "-U", USER, "-A", "scram-sha-256", f"--pwfile={file}", "--no-locale",
            "-E", "UTF8", "--no-sync",
        )  # fmt: skip
        server.start()
        yield server
        server.stop()
    finally:
        _remove(folder)


def _programs() -> Path:
    found = find_spec("pgserver")
    places = [Path(place) / "pginstall" / "bin" for place in (found.submodule_search_locations or [])] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if on_path := shutil.which("pg_ctl"):
        places.append(Path(on_path).resolve().parent)
    for place in places:
        if (place / "pg_ctl").exists() and (place / "initdb").exists():
            return place
    raise MissingExtraError("no PostgreSQL server is found: pip install pgserver")


def _reachable(programs: Path, into: Path) -> Path:
    """A copy of the package pgserver's programs, and of the libraries that lie beside the package, that all users can reach."""
    package = programs.parent.parent
    shutil.copytree(programs.parent, into / package.name / programs.parent.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, into / libraries.name)
    return into / package.name / programs.parent.name / programs.name


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _remove(folder: Path) -> None:
    """Delete the folder; a server that still runs in it is ended first."""
    lines = (
        (folder / "data" / "postmaster.pid").read_text().splitlines()
        if (folder / "data" / "postmaster.pid").exists()
        else []
    )
    if lines:
        os.kill(int(lines[0]), 3)  # immediate shutdown
        time.sleep(0.5)
    shutil.rmtree(folder, ignore_errors=True)
