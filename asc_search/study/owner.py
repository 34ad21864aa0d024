"""Who trains a trial: a process on a host, told apart from every other, and whether it is known to have ended."""

from __future__ import annotations

import os
import platform
import uuid
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A process: ``scope`` is its PID namespace, within which alone ``pid`` says anything; ``born`` its start in clock
    ticks since boot (0: unknown), as pids come again; ``token`` tells two searches of one process apart.
    """

    host: str
    scope: str
    pid: int
    born: int
    token: str

    @staticmethod
    def here() -> Owner:
        """This process."""
        return Owner(platform.node() or "?", _scope(), os.getpid(), _state(os.getpid())[1], uuid.uuid4().hex[:6])

    @staticmethod
    def parse(text: str | None) -> Owner | None:
        """The owner that ``text`` names, or None."""
        parts = (text or "").split("/")
        if len(parts) != 5 or not (parts[2].isdigit() and parts[3].isdigit()):
            return None
        return Owner(parts[0], parts[1], int(parts[2]), int(parts[3]), parts[4])

    @property
    def text(self) -> str:
        """What ``parse`` reads."""
        return "/".join((self.host.replace("/", "_"), self.scope, str(self.pid), str(self.born), self.token))

    @property
    def name(self) -> str:
        """Short, for people."""
        return f"{self.host}:{self.pid}"

    @property
    def is_near(self) -> bool:
        """Whether this process can see that one."""
        return (self.host, self.scope) == (platform.node().replace("/", "_") or "?", _scope())

    @property
    def gone(self) -> bool:
        """Whether the process is known to have ended; of another host's this is never known."""
        if not self.is_near:
            return False
        alive, born = _state(self.pid)
        return not alive or born != self.born


def _scope() -> str:
    try:
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return ""


def _state(pid: int) -> tuple[bool, int]:
    """Whether a process of this host runs, and when it started."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[0] not in "ZX", int(fields[19])
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return False, 0
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False, 0
    except OSError:
        pass
    return True, 0
