"""Workers as an array of Slurm jobs, by submitit; preempted or out of time, each is queued again."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asc_search.errors import AscSearchError, MissingExtraError
from asc_search.scale.worker import STORAGE, Job

SIGNAL = "USR1"
HOURS = 24
WARNING_S = 120  # before the time is over


@dataclass(frozen=True)
class Requeued:
    """What submitit runs: the job, and again where it was stopped by Slurm's signal."""

    job: Job

    def __call__(self) -> None:
        self.job()

    def checkpoint(self) -> Any:
        """Called on the signal. Epochs are checkpoints already; the exit that follows gives the trial under way back."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


@dataclass
class SlurmCrew:
    """See ``crew.Crew``."""

    jobs: list[Any]
    folder: Path

    def alive(self) -> int:
        return sum(not job.done() for job in self.jobs)

    def why_ended(self) -> str:
        return "\n".join(f"  job {job.job_id} ({job.state}), {job.paths.stderr}: {_last(job)}" for job in self.jobs)

    def stop(self) -> None:
        for job in self.jobs:
            if not job.done():
                job.cancel(check=False)


def launch(job: Job, count: int, options: dict[str, str], cluster: str = "slurm") -> SlurmCrew:
    """Submit an array of ``count`` workers with submitit's ``options`` (``slurm_partition``, ``gpus_per_node``, ...).

    A database URL goes by the environment, which Slurm hands on, as submitit keeps what it submits in the run folder.
    ``cluster`` ``local`` runs them on this machine, for trying out.

    Raises:
        MissingExtraError: submitit is not installed.
        AscSearchError: Slurm is not there, or refuses an option.
    """
    os.environ["SUBMITIT_PREEMPT_SIGNAL"] = SIGNAL  # read when submitit is imported
    try:
        import submitit
    except ImportError:
        raise MissingExtraError("--engine slurm needs submitit: pip install 'asc-search[cluster]'") from None
    if job.url:
        os.environ[STORAGE] = job.url
    folder = Path(job.root).resolve() / "slurm"
    given = {
        "name": "asc-search",
        "timeout_min": 60 * HOURS,
        "slurm_array_parallelism": count,
        "cpus_per_task": job.threads or 1,
    }
    given |= {"slurm_signal_delay_s": WARNING_S, **{key: _number(value) for key, value in options.items()}}
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(**given)
        with executor.batch():
            work = Requeued(replace(job, url="", root=str(Path(job.root).resolve())))
            jobs = [executor.submit(work) for _ in range(count)]
    except (RuntimeError, NameError, ValueError, submitit.core.utils.FailedJobError) as error:
        raise AscSearchError(f"--engine slurm: {error}") from None
    return SlurmCrew(jobs, folder)


def _number(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdigit() else text


def _last(job: Any) -> str:
    lines = [line for line in (job.stderr() or job.stdout() or "").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing was said"
