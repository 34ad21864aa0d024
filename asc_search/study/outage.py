"""A database that is away for a while: what is asked of it is asked again until it is back."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from asc_search.errors import AscSearchError
from asc_search.progress import console

PATIENCE_S = 600.0
LONGEST_PAUSE_S = 5.0
Method = TypeVar("Method", bound=Callable[..., Any])


class StorageAwayError(AscSearchError):
    """The database was away longer than anyone waits; every training goes on from its last epoch."""


def is_away(error: BaseException | None) -> bool:
    """Whether ``error`` says that the database cannot be reached now, or is locked, rather than that something is wrong."""
    if isinstance(error, StorageInternalError):  # Optuna's name for every error of SQLAlchemy's
        error = error.__cause__
    if isinstance(error, DBAPIError) and "sqlite3" in type(error.orig).__module__:
        return "locked" in str(error.orig) or "busy" in str(error.orig)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, (OperationalError, InterfaceError, PoolTimeout, PendingRollbackError))


def bridging(method: Method) -> Method:
    """``method`` called again while the database is away, for up to ``PATIENCE_S``.

    It may have been done without our hearing of it, so it must bear being done twice.

    Raises:
        StorageAwayError: it stayed away.
    """

    @wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        began, pause = 0.0, 0.05
        while True:
            try:
                found = method(*arguments, **options)
            except Exception as error:
                if not is_away(error):
                    raise
                _forget_session(arguments[0])
                began = began or time.monotonic()
                if time.monotonic() - began > PATIENCE_S:
                    raise StorageAwayError(
                        f"the study's database has been away for {PATIENCE_S / 60:.0f} minutes; "
                        "the same command goes on when it is back"
                    ) from None
                if pause > 1:
                    console.print("the study's database is away; waiting for it", style="yellow")
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(LONGEST_PAUSE_S, 2 * pause)
            else:
                return found

    return call  # type: ignore[return-value]


def _forget_session(storage: object) -> None:
    """Let go of a session of Optuna's that has lost its connection; it would refuse everything from then on."""
    sessions = getattr(storage, "scoped_session", None)
    if sessions is not None:
        try:
            sessions.remove()
        except SQLAlchemyError:
            sessions.registry.clear()
