"""What a resident store is named by: the content of its audio files, hashed once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock

from asc_search.data import store_files as files
from asc_search.data.clips import Clips
from asc_search.data.store_files import Parts, Source
from asc_search.files import read_json, write_json
from asc_search.progress import track


def sources_of(root: Path, clips: Clips, label: str, afresh: bool = False) -> list[Parts]:
    """The files of each clip with their content hashes; those of unchanged size and time are remembered under ``root``.

    With ``afresh`` every file is read again.

    Raises:
        UnreadableAudio: a file is missing or cannot be opened.
    """
    place = hashlib.sha256(str(clips.root.resolve()).encode()).hexdigest()[:16]
    notes = root / f"contents-{place}.json"
    known = {} if afresh else _remembered(notes)
    stamps = {name: files.stamp_of(clips.root / name) for name in clips.all_files}
    missing = [name for name, stamp in stamps.items() if str(known.get(name)).rpartition(" ")[0] != stamp]
    if missing:
        with ThreadPoolExecutor(files.workers()) as pool:
            hashes = files.ahead(pool, lambda name: _hash(clips.root / name), missing)
            tracked = track(hashes, f"{label}: reading files", len(missing))
            added = {name: f"{stamps[name]} {digest}" for name, digest in zip(missing, tracked, strict=True)}
        known |= added
        with FileLock(notes.with_suffix(".lock")):
            write_json(notes, _remembered(notes) | added)
    split = {name: known[name].split(" ") for name in stamps}
    sources = {name: Source(clips.root / name, int(size), int(at), sha) for name, (size, at, sha) in split.items()}
    return [tuple(sources[name] for name in names) for names in clips.parts]


def store_key(sources: Sequence[Parts], rate_hz: int, channels: int = 1) -> str:
    """The name of the store of these contents, in this order, at this rate, of so many channels, by this code."""
    several = f" {channels}" if channels > 1 else ""
    digest = hashlib.sha256(f"{files.VERSION} {rate_hz}{several}\n".encode())
    for parts in sources:
        for place, source in enumerate(parts):
            digest.update(f"{'+' if place else ''}{source.size} {source.sha256}\n".encode())
    return digest.hexdigest()[:32]


def _remembered(notes: Path) -> dict[str, str]:
    known = read_json(notes)
    return known if isinstance(known, dict) else {}


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise files.unreadable(path, error) from None
