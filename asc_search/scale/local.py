"""Workers as processes of this machine, each with its share of the CPU's threads and, if wanted, one GPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asc_search.scale.worker import STORAGE, Job

PARENT = "ASC_SEARCH_PARENT"
STOP_S = 30.0  # a stopped worker gives its trial back; one that does not manage is killed, and its trial taken up later


@dataclass
class LocalCrew:
    """See ``crew.Crew``; each worker's output is in ``workers/N.log`` of the run."""

    processes: list[subprocess.Popen[bytes]]
    logs: list[Path]

    def alive(self) -> int:
        return sum(process.poll() is None for process in self.processes)

    def why_ended(self) -> str:
        told = []
        for number, (process, log) in enumerate(zip(self.processes, self.logs, strict=True)):
            lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
            starts = [index for index, line in enumerate(lines) if line.startswith("error:")]
            last = " ".join(lines[starts[-1] :]) if starts else lines[-1] if lines else "nothing"
            told.append(f"  worker {number} (exit status {process.returncode}, {log}): {last[:600]}")
        return "\n".join(told)

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + STOP_S
        for process in self.processes:
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def launch(job: Job, count: int, gpus: Sequence[str] = ()) -> LocalCrew:
    """Start ``count`` workers; worker i sees GPU ``gpus[i % len(gpus)]`` alone, if any are given."""
    folder = Path(job.root) / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    threads = job.threads or max(1, (os.cpu_count() or 1) // count)
    environment = {**os.environ, PARENT: str(os.getpid()), "OMP_NUM_THREADS": str(threads)}
    if job.url:
        environment[STORAGE] = job.url  # not in the command, which all users of the machine can see
    command = [sys.executable, "-m", "asc_search", "worker", job.root, "--grace", str(job.grace_s)]
    crew = LocalCrew([], [])
    for number in range(count):
        seen = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}
        log = folder / f"{number}.log"
        with log.open("wb") as output:
            crew.processes.append(
                subprocess.Popen(
                    [*command, "--threads", str(threads)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**environment, **seen},
                    start_new_session=True,  # Ctrl-C is for the one who started them to handle
                )
            )
        crew.logs.append(log)
    return crew


def follow_parent() -> None:
    """In a worker that ``launch`` started: end as soon as the one who started it has, however it did."""
    parent = int(os.environ.get(PARENT, "0"))
    if not parent:
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)  # the trial is given back
        time.sleep(STOP_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
