"""Creating and reopening a study: storage, sampler, known designs."""

from __future__ import annotations

import warnings
from pathlib import Path

import optuna
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from asc_search.errors import RunFolderError
from asc_search.oracle.budget import assess
from asc_search.progress import console
from asc_search.space.presets import expressed, params_for_design
from asc_search.space.space import Space
from asc_search.study.pool import pricer_of
from asc_search.study.sampler import PricedSampler

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

CLASSES = 10  # of a study that does not say how many


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """The database at a SQLAlchemy ``url``; SQLite in write-ahead mode, so that a dashboard can read while we write.

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
        local = make_url(url).get_backend_name() == "sqlite"
        storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}} if local else None)
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


def sqlite_url(path: Path) -> str:
    """URL of a SQLite file."""
    return f"sqlite:///{path.resolve()}"


def open_study(storage: optuna.storages.RDBStorage, name: str, space: Space, classes: int) -> optuna.Study:
    """The study called ``name``, created with its known designs enqueued if it is new.

    Designs that the space cannot express, or that are over its budget for ``classes`` classes, are left out.

    Raises:
        RunFolderError: the storage holds a study of this name for another space.
    """
    directions = ["maximize" if objective == "accuracy" else "minimize" for objective in space.objectives]
    study = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
    known = study.user_attrs.get("space")
    if known is not None and known != space.digest():
        raise RunFolderError(
            f"--storage: it holds a study {name!r} of another space; give --out a folder of another name"
        )
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
        study.set_user_attr("space", space.digest())  # last: an interrupted creation is done again
    return study


def make_sampler(space: Space, study: optuna.Study) -> optuna.samplers.BaseSampler:
    """The sampler for the next draw: random candidates within the budget until ``search.startup`` were trained, then those
    that promise most (``PricedSampler``).

    What is drawn depends on the space's seed, the trial's number and the trials that ended, so that a resumed search goes on
    with the draws of an undisturbed one.
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
