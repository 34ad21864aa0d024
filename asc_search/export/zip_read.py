"""Reading entries of a zip that may be hostile: never more than a stated number of bytes, whatever a header says."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO
from zipfile import BadZipFile, ZipFile

MAX_ZIP_BYTES = 2**30
MAX_CSV_BYTES = 128 * 2**20  # the real files are about 20 MB
MAX_YAML_BYTES = 256 * 2**10
UNREADABLE = (BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError, zlib.error)


class _Limited(io.RawIOBase):
    """A stream that refuses to give more than ``limit`` bytes."""

    def __init__(self, source: IO[bytes], limit: int) -> None:
        self._source, self._left, self._limit = source, limit, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        data = self._source.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"is larger than {self._limit:,} bytes")
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def text_of(archive: ZipFile, name: str, limit: int) -> Iterator[io.TextIOWrapper]:
    """An entry as UTF-8 text, lines as they are, decompressed as it is read.

    Raises:
        ValueError: while reading, more than ``limit`` bytes or not UTF-8.
    """
    with archive.open(name) as source:
        yield io.TextIOWrapper(io.BufferedReader(_Limited(source, limit)), encoding="utf-8", newline="")


def read(archive: ZipFile, name: str, limit: int) -> bytes:
    """Content of an entry of at most ``limit`` bytes.

    Raises:
        ValueError: it is larger.
    """
    with archive.open(name) as handle:
        data = handle.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"is larger than {limit:,} bytes")
    return data


def beginning(archive: ZipFile, name: str, count: int = 8) -> bytes:
    """The first ``count`` bytes of an entry; none where it cannot be read."""
    try:
        with archive.open(name) as handle:
            return handle.read(count)
    except UNREADABLE:
        return b""
