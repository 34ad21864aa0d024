"""Unpacking a zip archive that may be hostile: nothing is written outside the folder, and no more than declared."""

from __future__ import annotations

import lzma
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from asc_search.data.folder import path_problem
from asc_search.errors import DataError, Problem

_CHUNK = 1 << 20
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])(\..*)?", re.IGNORECASE)
_ODD = re.compile(r'[\x00-\x1f<>:"|?*\\]')


def unpack(
    archive: Path,
    into: Path,
    *,
    max_bytes: int,
    max_files: int = 1_000_000,
    advance: Callable[[int], object] = lambda count: None,
) -> dict[str, int]:
    """Unpack ``archive`` into the folder ``into``; sizes of its files by name.

    Every member is checked before the first one is written. Files already there with the right size and checksum are
    left alone, others are written aside and renamed, so that a second call completes what a killed one began.
    ``advance`` is told the bytes done. No more than ``max_bytes`` and ``max_files`` may be declared, and no file may
    hold more than it declares.

    Raises:
        DataError: a member leads out of the folder, is a link or device, cannot be named on every system, or is named
            twice; the archive is too large, encrypted or damaged.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            if problems := _problems(members, max_bytes, max_files):
                raise DataError(f"{archive}: is not safe to unpack", problems, "nothing was unpacked")
            root = into.resolve()
            checked: set[Path] = set()
            for member in members:
                target = root.joinpath(*PurePosixPath(member.filename).parts)
                _make_folder(target if member.is_dir() else target.parent, root, checked)
                if not member.is_dir():
                    _write(opened, member, target)
                    advance(member.file_size)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(
            "an archive cannot be unpacked", [Problem(str(archive), str(error))], "fetch it again"
        ) from None
    return {member.filename: member.file_size for member in members if not member.is_dir()}


def _problems(members: Sequence[zipfile.ZipInfo], max_bytes: int, max_files: int) -> list[Problem]:
    total = sum(member.file_size for member in members)
    if len(members) > max_files or total > max_bytes:
        what = f"declares {len(members)} files of {total} bytes; allowed are {max_files} files of {max_bytes} bytes"
        return [Problem("archive", what)]
    problems, seen = [], set()
    # some file systems do not tell upper from lower case
    files = {_key(member.filename) for member in members if not member.is_dir()}
    for member in members:
        key, what = _key(member.filename), _unsafe(member)
        if not what and key in seen and not member.is_dir():
            what = "is in the archive twice"
        if not what and any(key[:length] in files for length in range(1, len(key) + member.is_dir())):
            what = "lies in a folder that is also a file"
        if what:
            problems.append(Problem(repr(member.orig_filename), what))
        seen.add(key)
    return problems


def _key(name: str) -> tuple[str, ...]:
    return PurePosixPath(name.casefold()).parts


def _unsafe(member: zipfile.ZipInfo) -> str:
    name = member.orig_filename
    if path_problem(name) or name.startswith("/"):
        return "leads out of the folder"
    if _ODD.search(name):
        return "has characters that are special in file names"
    parts = PurePosixPath(name).parts
    if not parts:
        return "names no file"
    if any(_RESERVED.fullmatch(part) or part.endswith((".", " ")) for part in parts):
        return "is the name of a device on some systems, or ends in a dot or space"
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device, no plain file"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.is_dir() and member.file_size:
        return "is a folder with content"
    return ""


def _make_folder(folder: Path, root: Path, checked: set[Path]) -> None:
    """Make ``folder``, unless one of its parents is a link that leads out of ``root``."""
    if folder in checked:
        return
    there = folder
    while not os.path.lexists(there):
        there = there.parent
    if not there.resolve().is_relative_to(root) and there not in root.parents:
        what = f"is a link out of the folder, to {there.resolve()}"
        raise DataError("an archive cannot be unpacked", [Problem(str(there), what)], "give the folder it leads to")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise _in_the_way(there, "a file is where a folder must be") from None
    checked.add(folder)


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    if not target.is_symlink() and target.is_file() and _same(member, target):
        return
    aside = target.with_name(f".{target.name}.part")
    aside.unlink(missing_ok=True)
    try:
        with opened.open(member) as source, aside.open("xb") as out:
            left = member.file_size
            while chunk := source.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise zipfile.BadZipFile(f"{member.filename} holds more than it declares")
                out.write(chunk)
            if left:
                raise zipfile.BadZipFile(f"{member.filename} holds less than it declares")
        os.replace(aside, target)
    except IsADirectoryError:
        raise _in_the_way(target, "a folder is where a file must be") from None
    finally:
        aside.unlink(missing_ok=True)


def _same(member: zipfile.ZipInfo, path: Path) -> bool:
    if path.stat().st_size != member.file_size:
        return False
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum == member.CRC


def _in_the_way(path: Path, what: str) -> DataError:
    return DataError("an archive cannot be unpacked", [Problem(str(path), what)], "move it away")
