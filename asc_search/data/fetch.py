"""Fetching the published sets and lists: each archive downloaded, verified, unpacked safely, and that once."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from asc_search.data.download import AGAIN, Downloader, download, unreachable
from asc_search.data.tau_facts import LISTS_URL, SUBSETS, TAU_SETS, TauSet
from asc_search.data.unpack import unpack
from asc_search.errors import DataError, Problem
from asc_search.files import read_json, write_json
from asc_search.progress import bar, console

ZENODO = "https://zenodo.org"
_MB = 1e6


def fetch_list(percent: int, folder: Path, *, base_url: str = LISTS_URL, pause_s: float = 1.0) -> Path:
    """The official list of ``percent`` % (5, 10, 25 or 50) of the 2022 training part, downloaded once into ``folder``.

    Raises:
        DataError: it cannot be downloaded, or its checksum is wrong.
    """
    path = folder / f"split{percent}.csv"
    with _alone(folder, f"{path.name}.lock", wait=True):
        download(f"{base_url}/{path.name}", path, SUBSETS[percent].md5, Downloader(pause_s=pause_s))
    return path


def fetch(name: str, root: Path, *, base_url: str = ZENODO, keep_archives: bool = False, pause_s: float = 1.0) -> Path:
    """Download and unpack a development set (``tau2019``, ``tau2020``, ``tau2022``) below ``root``; its folder.

    Archive by archive: downloaded into ``root/.fetch``, verified against the md5 of the Zenodo record, unpacked, then
    removed unless ``keep_archives``. A second call does what is missing: downloads go on where they stopped, archives
    whose files are all there are passed over. Archives downloaded by hand are taken from ``root/.fetch``.

    Raises:
        DataError: no such set, too little disk space, another process fetches there, the server cannot be used, a
            checksum is wrong, or an archive is not safe to unpack.
    """
    if name not in TAU_SETS:
        raise DataError("nothing to fetch", [Problem(f"set {name!r}", f"is none of {', '.join(TAU_SETS)}")])
    tau, root = TAU_SETS[name], root.expanduser().resolve()
    work = root / ".fetch"
    try:
        with _alone(work, "lock"):
            archives = _record(tau, work, base_url, pause_s)
            unpacked = {archive: size for archive in archives if (size := _unpacked_bytes(archive, root)) is not None}
            waiting = [archive for archive in archives if archive not in unpacked]
            _check_space(root, tau, archives, waiting, keep_archives)
            room = int(1.1 * tau.audio_bytes) + 1_000_000_000 - sum(unpacked.values())
            for number, archive in enumerate(waiting, len(unpacked) + 1):
                label = f"{number}/{len(archives)} {archive.name.removeprefix(tau.folder + '.')}"
                room -= _fetch_archive(archive, root, label, room, keep_archives, pause_s)
    except OSError as error:
        where = str(error.filename or root)
        raise DataError("the set cannot be stored", [Problem(where, error.strerror or str(error))], AGAIN) from error
    return root / tau.folder


@dataclass(frozen=True)
class _Archive:
    url: str
    path: Path
    size: int
    md5: str

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def marker(self) -> Path:
        """Says which files came out of the archive."""
        return self.path.with_name(f"{self.name}.json")


def _record(tau: TauSet, work: Path, base_url: str, pause_s: float) -> list[_Archive]:
    """The set's archives as its Zenodo record lists them: those without audio first."""
    url, path = f"{base_url}/api/records/{tau.record}", work / f"{tau.name}.record.json"
    path.unlink(missing_ok=True)
    Downloader(pause_s=pause_s)(url, path)
    archives = []
    try:
        for entry in read_json(path)["files"]:
            key, md5, size = entry["key"], str(entry["checksum"]).removeprefix("md5:"), int(entry["size"])
            if not re.fullmatch(rf"{re.escape(tau.folder)}\.[a-z0-9.]+\.zip", key):
                continue
            if not re.fullmatch(r"[0-9a-f]{32}", md5) or size <= 0:
                raise ValueError(f"{key} has no md5 or size")
            archives.append(_Archive(f"{base_url}/records/{tau.record}/files/{key}?download=1", work / key, size, md5))
    except (KeyError, TypeError, ValueError) as error:
        raise unreachable(url, f"is no list of files as expected ({error!r})") from None
    if not archives:
        raise unreachable(url, f"lists no archive {tau.folder}.*.zip")
    return sorted(archives, key=lambda archive: (".audio." in archive.name, _numbers(archive.name)))


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _fetch_archive(
    archive: _Archive, root: Path, label: str, max_bytes: int, keep_archives: bool, pause_s: float
) -> int:
    with bar() as progress:
        task = progress.add_task(f"{label} (MB)", total=round(archive.size / _MB))
        downloader = Downloader(
            archive.size, pause_s=pause_s, progress=lambda done: progress.update(task, completed=done / _MB)
        )
        download(archive.url, archive.path, archive.md5, downloader)
        task = progress.add_task("  unpacking (MB)", total=None)
        files = unpack(
            archive.path, root, max_bytes=max_bytes, advance=lambda count: progress.advance(task, count / _MB)
        )
    # one flush for all files: one each would take longer than the download
    if hasattr(os, "sync"):
        os.sync()
    write_json(archive.marker, {"md5": archive.md5, "files": files})
    if not keep_archives:
        archive.path.unlink()
    console.print(f"{label}: {len(files)} files", markup=False, soft_wrap=True)
    return sum(files.values())


def _unpacked_bytes(archive: _Archive, root: Path) -> int | None:
    """Bytes of the archive's files; None unless they are all there with their sizes."""
    marker = read_json(archive.marker)
    if not isinstance(marker, dict) or marker.get("md5") != archive.md5:
        return None
    try:
        if any((root / name).stat().st_size != size for name, size in marker["files"].items()):
            return None
    except OSError:
        return None
    return sum(marker["files"].values())


def _check_space(
    root: Path, tau: TauSet, archives: Sequence[_Archive], waiting: Sequence[_Archive], keep_archives: bool
) -> None:
    if not waiting:
        return
    sizes = [archive.size for archive in waiting]
    unpacked = tau.audio_bytes * sum(sizes) / sum(archive.size for archive in archives)
    needed = max(unpacked, sum(sizes)) + (sum(sizes) if keep_archives else max(sizes))
    if (free := shutil.disk_usage(root).free) < needed:
        what = f"{free / 1e9:.1f} GB are free, about {needed / 1e9:.1f} GB are needed"
        advice = "free some space or give another folder"
        raise DataError(f"{tau.name} does not fit", [Problem(str(root), what)], advice)


@contextmanager
def _alone(folder: Path, name: str, wait: bool = False) -> Iterator[None]:
    """Hold the lock ``name`` of ``folder``, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / name, timeout=-1 if wait else 0):
            yield
    except Timeout:
        what = "another process fetches into this folder"
        raise DataError("nothing was fetched", [Problem(str(folder), what)], "wait for it or end it") from None
