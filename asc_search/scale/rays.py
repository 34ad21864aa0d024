"""Workers as Ray tasks, on a cluster that runs already or on one of this machine alone."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asc_search.errors import AscSearchError, MissingExtraError
from asc_search.scale.worker import Job

MEMORY_BYTES = 100 << 20  # of Ray's object store, which workers do not use


@dataclass
class RayCrew:
    """See ``crew.Crew``."""

    tasks: list[Any]

    def alive(self) -> int:
        import ray

        return len(ray.wait(self.tasks, num_returns=len(self.tasks), timeout=0)[1])

    def why_ended(self) -> str:
        import ray

        told = []
        for number, task in enumerate(self.tasks):
            try:
                ray.get(task, timeout=1)
                told.append(f"  task {number}: ended")
            except Exception as error:
                cause = getattr(error, "cause", None) or error
                told.append(f"  task {number}: {type(cause).__name__}: {str(cause)[:300]}")
        return "\n".join(told)

    def stop(self) -> None:
        import ray

        for task in self.tasks:
            ray.cancel(task, force=False)
        ray.wait(self.tasks, num_returns=len(self.tasks), timeout=10)
        ray.shutdown()


def launch(job: Job, count: int, options: dict[str, str]) -> RayCrew:
    """Start ``count`` tasks; with the option ``address`` (``auto``, ``ray://host:port``) on that cluster, else on a Ray
    started here that listens on loopback alone. ``num_cpus`` and ``num_gpus`` are those of a task.

    Raises:
        MissingExtraError: Ray is not installed.
        AscSearchError: it cannot be started or reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = options.get("address", "")
    if not address:
        os.environ.setdefault("RAY_worker_niceness", "0")  # a worker is the work, not something beside it
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # with 1, Ray 2 listens on every interface
    try:
        import ray
    except ImportError:
        raise MissingExtraError("--engine ray needs Ray: pip install 'asc-search[ray]'") from None
    each = {"num_cpus": float(options.get("num_cpus", job.threads or 1)), "num_gpus": float(options.get("num_gpus", 0))}
    try:
        if address:
            ray.init(address=address, log_to_driver=False)
        else:
            ray.init(
                num_cpus=max(os.cpu_count() or 1, round(count * each["num_cpus"])),
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=tempfile.mkdtemp(prefix="ray"),
                object_store_memory=MEMORY_BYTES,
                log_to_driver=False,
            )
    except Exception as error:
        raise AscSearchError(f"--engine ray: {address or 'a Ray of this machine'} cannot be used: {error}") from None
    remote = ray.remote(max_retries=-1, **each)(_run)
    work = replace(job, root=str(Path(job.root).resolve()))
    return RayCrew([remote.remote(work) for _ in range(count)])


def _run(job: Job) -> None:
    job()
