"""Files that teachers come from: fetched where they are named by an address, and looked for before any work is done."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from asc_search.data.download import Downloader, download
from asc_search.errors import WeightsError
from asc_search.nets.passt import check_passt
from asc_search.progress import console
from asc_search.space.pools import is_url
from asc_search.space.teachers import LogitsTeacher, ModelTeacher, PasstTeacher, PretrainedTeacher, RunTeacher, Teacher

MOST_BYTES = 4 * 1024**3  # of a weights file


def check_local_weights(pool: Mapping[str, Teacher]) -> None:
    """:func:`check_weights` of all but those named by a URL, which are fetched later.

    Raises:
        MissingExtraError: a teacher needs a package that is not installed.
        WeightsError: lists the files that are not there, or are not what their SHA-256 says.
    """
    _check_packages(pool)
    check_weights({name: one for name, one in pool.items() if not is_url(getattr(one, "written", ""))})


def fetch_weights(pool: Mapping[str, Teacher], folder: Path) -> dict[str, Teacher]:
    """``pool`` with every file in place: those named by a URL downloaded into ``folder``, once, and verified.

    A transfer that breaks off goes on where it stopped.

    Raises:
        DataError: a file cannot be downloaded, or is not the one its SHA-256 says.
        WeightsError: lists the files that are not there, or are other ones.
    """
    found = dict(pool)
    for name, teacher in pool.items():
        if isinstance(teacher, (PretrainedTeacher, ModelTeacher)) and is_url(teacher.written):
            suffix = PurePosixPath(urlsplit(teacher.written).path).suffix
            path = folder / f"{teacher.sha256[:16]}{suffix}"
            if not path.is_file():
                console.print(f"teacher {name}: fetching {teacher.written}", markup=False, soft_wrap=True)
            download(teacher.written, path, teacher.sha256, Downloader(max_bytes=MOST_BYTES))
            found[name] = replace(teacher, weights=path)
    check_weights(found)
    return found


def check_weights(pool: Mapping[str, Teacher]) -> None:
    """Look for the files of all teachers that come from one, and for the packages they need.

    Raises:
        MissingExtraError: a teacher needs a package that is not installed.
        WeightsError: lists the files that are not there, or are not what their SHA-256 says.
    """
    _check_packages(pool)
    missing, other = [], []
    for name, teacher in pool.items():
        path = file_of(teacher)
        if isinstance(teacher, RunTeacher) and not (teacher.folder / "finalists.json").is_file():
            missing.append(f"{name}: {teacher.folder} (no finished run)")
        elif path is not None and not path.is_file():
            missing.append(f"{name}: {path}")
        elif path is not None and teacher.sha256 and (found := content(path)) != teacher.sha256:
            other.append(f"{name}: {path} has the SHA-256 {found}, not {teacher.sha256}")
    if missing:
        raise WeightsError("no weights file for teacher " + "; ".join(missing))
    if other:
        raise WeightsError("another file than declared for teacher " + "; ".join(other))


def _check_packages(pool: Mapping[str, Teacher]) -> None:
    if any(isinstance(teacher, PasstTeacher) for teacher in pool.values()):
        check_passt()


def file_of(teacher: Teacher) -> Path | None:
    """The file a teacher comes from, if it comes from one."""
    if isinstance(teacher, (PretrainedTeacher, ModelTeacher)):
        return teacher.weights
    return teacher.file if isinstance(teacher, LogitsTeacher) else None


def content(file: Path) -> str:
    """SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
