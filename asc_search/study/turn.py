"""One worker at a time: while it looks what there is to do and takes some of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.exc import SQLAlchemyError

from asc_search.study.outage import bridging

LONGEST_S = 60  # a worker frozen in its turn holds up the others no longer than this
# for this transaction alone, both in one statement
LIMITED = "SELECT set_config('idle_in_transaction_session_timeout', :ms, true), set_config('lock_timeout', :ms, true)"


@contextmanager
def turn(engine: sa.Engine, name: str) -> Iterator[None]:
    """This worker's turn at the study ``name``; it ends with the process, and when the connection is lost.

    What is done in it must not depend on it to be right, only to be economical: after ``LONGEST_S`` the next one goes on.
    Kinds of database other than SQLite and PostgreSQL have no turns.
    """
    if engine.dialect.name == "sqlite" and engine.url.database:
        lock = FileLock(Path(engine.url.database).with_suffix(".turn"))
        with suppress(Timeout):
            lock.acquire(timeout=LONGEST_S)
        try:
            yield
        finally:
            lock.release()
    elif engine.dialect.name == "postgresql":
        connection = bridging(_advisory)(engine, name)
        try:
            yield
        finally:
            with suppress(SQLAlchemyError):
                connection.close()  # rolls back, and with that the lock falls
    else:
        yield


def _advisory(engine: sa.Engine, name: str) -> sa.Connection:
    key = int.from_bytes(hashlib.sha256(f"asc-search {name}".encode()).digest()[:7], "big")
    connection = engine.connect()
    try:
        connection.execute(sa.text(LIMITED), {"ms": str(1000 * LONGEST_S)})
        with _in_time_or_not():
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
    except BaseException:
        with suppress(SQLAlchemyError):
            connection.close()
        raise
    return connection


@contextmanager
def _in_time_or_not() -> Iterator[None]:
    """Go on where the lock was not to be had in time."""
    try:
        yield
    except sa.exc.OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != "55P03":  # lock_not_available
            raise
