"""A PostgreSQL server for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asc_search.bench.postgres import Server, postgres
from asc_search.errors import MissingExtraError


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server of its own, skipped where none is installed."""
    pytest.importorskip("psycopg", reason="the extra [cluster] is not installed: no psycopg")
    try:
        with postgres() as running:
            yield running
    except MissingExtraError as error:
        pytest.skip(str(error))
