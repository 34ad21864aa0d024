"""Downloading a file so that a broken transfer goes on where it stopped, and only verified content gets its name."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asc_search.errors import DataError, Problem

AGAIN = "what is there is kept: run the same command again to go on"
_CHUNK = 1 << 18
_SMALL = 64 * 1024 * 1024  # no index or list is as large
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_NETWORK = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


class _Interrupted(Exception):
    """A transfer broke off in a way that may go better next time."""


@dataclass(frozen=True)
class Downloader:
    """Downloads to a file and goes on where that file ends, with HTTP ``Range``; called as pooch calls its downloaders.

    A server without ``Range`` is read from the start. A transfer that breaks off is tried again; ``attempts`` of them
    without a byte gained are too many. ``max_bytes`` bounds what is written, ``size`` is the exact size where known.
    """

    size: int | None = None
    max_bytes: int = _SMALL
    attempts: int = 5
    pause_s: float = 1.0
    timeout_s: float = 60.0
    progress: Callable[[int], object] = lambda count: None

    def __call__(self, url: str, output_file: str | os.PathLike[str], pooch: object = None) -> None:
        """Complete ``output_file`` with the content of ``url``; ``pooch`` is not looked at.

        Raises:
            DataError: the address is wrong, the server refuses or stays unreachable, or sends more than it may.
        """
        path, failures = Path(output_file), 0
        while True:
            before = path.stat().st_size if path.exists() else 0
            if before and before == self.size:
                self.progress(before)
                return
            try:
                self._transfer(url, path, before)
                return
            except urllib.error.HTTPError as error:
                if error.code not in _BUSY:
                    raise unreachable(url, f"the server answers {error.code} {error.reason}") from None
                reason, wait = f"the server answers {error.code} {error.reason}", _seconds(error.headers)
            except (_Interrupted, *_NETWORK) as error:
                reason, wait = str(getattr(error, "reason", None) or error or type(error).__name__), 0.0
            gained = path.exists() and path.stat().st_size > before
            failures = 1 if gained else failures + 1
            if failures >= self.attempts:
                raise unreachable(url, f"{reason} ({failures} attempts)")
            time.sleep(min(60.0, max(wait, self.pause_s * 2 ** (failures - 1))))

    def _transfer(self, url: str, path: Path, have: int) -> None:
        if self.size is not None and have > self.size:
            have = 0
        headers = {"User-Agent": "asc-search", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        if not url.startswith(("https://", "http://")):
            raise unreachable(url, "is no http address")
        try:
            answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=self.timeout_s)
        except urllib.error.HTTPError as error:
            if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
                raise
            path.unlink()
            raise _Interrupted("the file there does not fit the server's") from None
        with answer:
            start, total = _extent(answer, have)
            if start not in (0, have):
                path.unlink()
                raise _Interrupted("the server sends another part than asked for")
            if self.size is not None and total not in (None, self.size):
                raise unreachable(url, f"has {total} bytes, {self.size} were announced")
            with path.open("r+b" if start else "wb") as out:
                out.seek(start)
                out.truncate()
                done = start
                self.progress(done)
                while chunk := answer.read(_CHUNK):
                    done += len(chunk)
                    if done > (self.max_bytes if self.size is None else self.size):
                        raise unreachable(url, "sends more than it may")
                    out.write(chunk)
                    self.progress(done)
        wanted = total if self.size is None else self.size
        if wanted is not None and done < wanted:
            raise _Interrupted(f"the connection ended after {done} of {wanted} bytes")


def download(url: str, path: Path, checksum: str, downloader: Downloader) -> None:
    """Make ``path`` the file of ``url`` with that ``checksum`` (hex of MD5 or SHA-256); nothing is sent where it is that already.

    It appears under its name only once complete and verified; until then it grows as ``NAME.part``. A resumed file of
    wrong checksum is read once more from the start.

    Raises:
        DataError: it cannot be downloaded, or its checksum is wrong.
    """
    kind = "sha256" if len(checksum) == 64 else "md5"
    if path.is_file() and _digest(path, kind) == checksum:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    resumed = part.exists()
    downloader(url, part)
    if resumed and _digest(part, kind) != checksum:
        part.unlink()
        downloader(url, part)
    if (found := _digest(part, kind)) != checksum:
        part.unlink()
        what = f"has the checksum {found}, published is {checksum}; it was removed"
        raise DataError("a download is not what was published", [Problem(url, what)], "run the same command again")
    os.replace(part, path)


def _extent(answer: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """At which byte the answer starts (-1: it does not say), and the size of the whole file where known."""
    if have and answer.status == http.client.PARTIAL_CONTENT:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if not match:
            return -1, None
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _seconds(headers: http.client.HTTPMessage) -> float:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def unreachable(url: str, what: str) -> DataError:
    return DataError("a download failed", [Problem(url, what)], f"check the connection; {AGAIN}")
