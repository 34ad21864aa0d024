"""Who searches: this process, several of this machine, Slurm jobs or Ray tasks; all run the one worker function."""

from __future__ import annotations

from dataclasses import dataclass, field

import optuna
import torch

from asc_search.errors import AscSearchError
from asc_search.scale import local, rays, slurm
from asc_search.scale.crew import Crew, watch
from asc_search.scale.worker import Job, work_on
from asc_search.study.create import GRACE_S
from asc_search.study.tasks import Setting

ENGINES = ("local", "slurm", "ray")


@dataclass(frozen=True)
class Hands:
    """``workers`` of an ``engine`` with its ``options``; ``gpus`` of this machine are dealt to local ones in turn.

    A worker of another machine that gives no sign of life for ``grace_s`` loses its trial to the next.
    """

    workers: int = 1
    engine: str = "local"
    gpus: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    grace_s: int = GRACE_S

    @property
    def alone(self) -> bool:
        """Whether this process searches itself."""
        return self.engine == "local" and self.workers == 1 and not self.gpus


def search_with(study: optuna.Study, setting: Setting, hands: Hands, url: str) -> None:
    """Spend the budget of ``study`` with ``hands``; ``url`` is that of a database other than the run's own.

    Raises:
        AscSearchError: an engine cannot be used, or all workers ended before the budget was spent.
    """
    if hands.alone:
        work_on(study, setting)
        return
    root, threads = str(setting.run.root.resolve()), torch.get_num_threads()
    share = max(1, threads // hands.workers)
    job = Job(root, url, hands.grace_s, share if hands.engine == "local" else threads)
    watch(study, setting.space, _launch(job, hands))


def _launch(job: Job, hands: Hands) -> Crew:
    if hands.engine == "local":
        if hands.options:
            raise AscSearchError("--engine-option: the local engine has none; use --workers and --gpus")
        return local.launch(job, hands.workers, hands.gpus)
    if hands.gpus:
        what = "--engine-option gpus_per_node=1" if hands.engine == "slurm" else "--engine-option num_gpus=1"
        raise AscSearchError(f"--gpus is for local workers; for --engine {hands.engine} use {what}")
    if hands.engine == "slurm":
        options = dict(hands.options)
        return slurm.launch(job, hands.workers, options, options.pop("cluster", "slurm"))
    if hands.engine == "ray":
        return rays.launch(job, hands.workers, hands.options)
    raise AscSearchError(f"--engine {hands.engine!r} is not known; there are {', '.join(ENGINES)}")
