"""A worker: joins the study of a run and trains trials until the budget is spent. It is the same wherever it is started."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
import torch

from asc_search.distill.weights import fetch_weights
from asc_search.errors import RunFolderError
from asc_search.files import write_atomically, write_json
from asc_search.progress import Stage
from asc_search.study.create import GRACE_S, existing_study, open_storage, shown_url, sqlite_url, study_name
from asc_search.study.finished import reopened
from asc_search.study.identity import check_identity
from asc_search.study.outage import StorageAwayError
from asc_search.study.owner import Owner
from asc_search.study.run_folder import RunFolder
from asc_search.study.search import search
from asc_search.study.subsets import teach_all
from asc_search.study.tasks import Setting

STORAGE = "ASC_SEARCH_STORAGE"  # where a database URL may stand, so that its password is in no list of processes
REGISTERED = "worker:"


@dataclass(frozen=True)
class Job:
    """What a launcher starts somewhere: a worker on the run folder ``root``.

    ``url`` is the database's, empty for that in ``STORAGE`` or else in the folder; no launcher writes it to a file.
    """

    root: str
    url: str = field(default="", repr=False)
    grace_s: int = GRACE_S
    threads: int | None = None

    def __call__(self) -> None:
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        work(RunFolder(Path(self.root)), self.url or os.environ.get(STORAGE), self.grace_s)


def work(run: RunFolder, url: str | None, grace_s: int = GRACE_S) -> None:
    """Join the study of ``run`` and train until its budget is spent.

    Raises:
        RunFolderError: the folder's space or data are not the study's; says what differs.
    """
    study = join(run, url, grace_s)
    with run.preparing():
        space, opened = reopened(run)
        check_identity(study, space, opened.clips.digest())
        space = replace(space, pool=fetch_weights(space.pool, run.root / "weights"))
        training, validation = opened.clips.split("train"), opened.clips.split("validation")
        with Stage("teachers", len(space.pool)) as stage:
            material = teach_all(space, run, tuple(space.pool), training, validation, stage)
    work_on(study, Setting(space, run, material, validation))


def join(run: RunFolder, url: str | None, grace_s: int = GRACE_S) -> optuna.Study:
    """The study of ``run`` in the database at ``url``, by default the one the run says.

    Raises:
        RunFolderError: there is none, or its database needs a password that is not here.
    """
    identity = run.identity
    if identity is None:
        raise RunFolderError(f"{run.root}: not a run folder (no run.json); give the folder `asc-search run` wrote")
    kept = identity.get("storage", "study.db")
    if not url and "***" in kept:
        raise RunFolderError(f"{run.root}: its study is in {kept}; give --storage or {STORAGE} with the password")
    elsewhere = kept != "study.db"
    url = url or (kept if elsewhere else sqlite_url(run.database))
    where = shown_url(url)
    return existing_study(open_storage(url, grace_s), study_name(run, elsewhere), where)


def fetch_run(run: RunFolder, url: str, name: str, grace_s: int = GRACE_S) -> None:
    """Make the folder of ``run`` by what the study ``name`` says of itself: space and run.json; data are opened later.

    Raises:
        RunFolderError: there is no such study.
    """
    known = existing_study(open_storage(url, grace_s), name, shown_url(url)).user_attrs
    if "run" not in known:
        raise RunFolderError(f"study {name!r} does not say what run it is of; give the run folder instead of its name")
    with run.preparing():
        if run.identity is None:
            text = known["space_text"]
            write_atomically(run.space_file, lambda aside: aside.write_text(text, encoding="utf-8"))
            write_json(run.root / "run.json", known["run"])


def work_on(study: optuna.Study, setting: Setting) -> None:
    """The worker function: train trials of ``study`` until its budget is spent, seen by all who look at the study."""
    owner = Owner.here()
    with registered(study, owner):
        search(study, setting, owner)


@contextmanager
def registered(study: optuna.Study, owner: Owner) -> Iterator[None]:
    """Let the study say that ``owner`` works on it, and why it stopped."""
    note: dict[str, Any] = {"worker": owner.text, "since": time.time(), "until": None, "why": ""}
    key = REGISTERED + owner.text
    study.set_user_attr(key, note)
    why = "done"
    try:
        yield
    except BaseException as error:
        why = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else 'stopped'}"
        raise
    finally:
        if StorageAwayError.__name__ not in why:
            study.set_user_attr(key, {**note, "until": time.time(), "why": why})
