"""Creating and reopening a study: storage, sampler, known designs."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from asc_search.errors import RunFolderError
from asc_search.oracle.budget import assess
from asc_search.progress import console
from asc_search.space.presets import expressed, params_for_design
from asc_search.space.space import Space
from asc_search.study.identity import check_identity, note_identity
from asc_search.study.pool import pricer_of
from asc_search.study.run_folder import RunFolder
from asc_search.study.sampler import PricedSampler
from asc_search.study.storage import SharedStorage

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
warnings.filterwarnings("ignore", message="Heartbeat of storage")  # it is given by our own loop, not by Study.optimize

CLASSES = 10  # of a study that does not say how many
GRACE_S = 600
OPENED_AT_MOST = 5  # times, while others make the same tables


def open_storage(url: str, grace_s: int = GRACE_S) -> SharedStorage:
    """The database at a SQLAlchemy ``url``; SQLite in write-ahead mode, so that a dashboard can read while we write.

    A worker of another machine that gives no sign of life for ``grace_s`` loses its trial to the next.

    Raises:
        RunFolderError: the database cannot be opened; the message hides any password.
    """
    try:
        hidden = shown_url(url)
    except ArgumentError:
        raise RunFolderError(
            "--storage: not a database URL; use for example sqlite:///study.db or postgresql+psycopg://user@host/name"
        ) from None
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        storage = _opened(parsed, grace_s)
    except (SQLAlchemyError, NoSuchModuleError, ImportError, RuntimeError) as error:
        raise RunFolderError(
            f"--storage {hidden}: cannot be opened ({type(error).__name__}); is it running and reachable?"
        ) from None
    if storage.engine.dialect.name == "sqlite":

        @event.listens_for(storage.engine, "connect")
        def _write_ahead(connection, record) -> None:  # type: ignore[no-untyped-def]
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

        storage.engine.dispose()
    return storage


def _opened(url: URL, grace_s: int) -> SharedStorage:
    """The storage; its tables are made where there are none, perhaps by several workers at once, of whom one succeeds."""
    tries = 0
    while True:
        try:
            return SharedStorage(
                url.render_as_string(hide_password=False),
                engine_kwargs=_engine(url),
                heartbeat_interval=max(1, grace_s // 10),
                grace_period=grace_s,
            )
        except DBAPIError as error:
            tries += 1
            if tries == OPENED_AT_MOST or not any(
                what in str(error.orig).lower() for what in ("already exists", "unique")
            ):
                raise
            time.sleep(random.uniform(0.1, 0.5))


def _engine(url: URL) -> dict[str, Any]:
    """How to connect: few connections, since there may be many workers, each looked at before it is used."""
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": 60}}
    options: dict[str, Any] = {"pool_size": 2, "max_overflow": 3, "pool_pre_ping": True}
    if url.get_backend_name() == "postgresql":
        # all in one time zone, as heartbeats are kept without one
        given = {"connect_timeout": 10, "options": "-c timezone=UTC"}
        options["connect_args"] = {key: value for key, value in given.items() if key not in url.query}
    return options


def sqlite_url(path: Path) -> str:
    """URL of a SQLite file."""
    return f"sqlite:///{path.resolve()}"


def study_name(run: RunFolder, shared: bool) -> str:
    """The name of a run's study: short in its own database; in a ``shared`` one with the run's id, so that no two meet."""
    identity = run.identity or {}
    return f"{identity.get('name', run.root.resolve().name)}-{identity['run_id']}" if shared else "search"


def open_study(
    storage: optuna.storages.RDBStorage,
    name: str,
    space: Space,
    classes: int,
    data: str | None = None,
    run: Mapping[str, Any] | None = None,
) -> optuna.Study:
    """The study called ``name``, created with its known designs enqueued if it is new.

    ``data`` is the digest of the clips, ``run`` what the run folder says of itself (run.json); both are kept with the study.
    Designs that the space cannot express, or that are over its budget for ``classes`` classes, are left out.

    Raises:
        RunFolderError: the storage holds a study of this name for another space, or other data.
    """
    directions = ["maximize" if objective == "accuracy" else "minimize" for objective in space.objectives]
    study = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
    known = study.user_attrs.get("space")
    check_identity(study, space, data)
    if known is None:
        study.set_metric_names(list(space.objectives))
        study.set_user_attr("classes", classes)
        for design in space.search.enqueue:
            params = params_for_design(space, design)
            if params is None:
                console.print(f"{design}: not enqueued, the space cannot express it", markup=False, soft_wrap=True)
                continue
            verdict = assess(expressed(space, params, classes)[0], space.budget).verdict
            if verdict.fits:
                study.enqueue_trial(params, user_attrs={"design": design}, skip_if_exists=True)
            else:
                console.print(f"{design}: not enqueued, {verdict.reason}", markup=False, soft_wrap=True)
        note_identity(study, space, data, run)
        study.set_user_attr("space", space.digest())  # last: an interrupted creation is done again
    return study


def existing_study(storage: optuna.storages.RDBStorage, name: str, where: str) -> optuna.Study:
    """The study called ``name``, which the creator of the run has finished creating.

    Raises:
        RunFolderError: there is none (yet); ``where`` names the database.
    """
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        study = None
    if study is None or "space" not in study.user_attrs:
        raise RunFolderError(
            f"{where}: no study {name!r} yet; `asc-search run` creates it once data and teachers are prepared"
        )
    return study


def make_sampler(space: Space, study: optuna.Study) -> optuna.samplers.BaseSampler:
    """The sampler of a worker's draws: random candidates within the budget until ``search.startup`` were trained, then those
    that promise most (``PricedSampler``).

    What is drawn depends on the space's seed, the trial's number and the trials that ended, so that a resumed search goes on
    with the draws of an undisturbed one. Beside other workers a draw is another one than theirs.
    """
    known = study.user_attrs
    classes = known.get("classes", len(space.data.labels) or CLASSES)
    key = f"{known.get('space') or space.digest()}-{classes}"
    return PricedSampler(space, key, pricer_of(space, classes), space.search.seed, space.search.startup)


def trained_count(study: optuna.Study) -> int:
    """Trials that were trained to their end, stopped at a rung or failed: what counts against the budget of trials."""
    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL)))


def shown_url(url: str) -> str:
    """A database URL fit to be printed: without its password."""
    parsed = make_url(url)
    secret = [key for key in parsed.query if "pass" in key.lower()]
    return parsed.update_query_dict(dict.fromkeys(secret, "***")).render_as_string(hide_password=True)
