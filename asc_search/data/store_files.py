"""The files behind a resident store: which content they hold, how they are written, and how damage is found.

A store is a folder of three files. ``samples.i16`` holds all clips back to back, of a clip of several channels one whole
channel after the other. ``blocks.jsonl`` has one sealed line for
each block of clips that is safely on disk, in order of writing: a later line for the same clips replaces an earlier one.
``store.json``, written last, notes the size and time of the samples that were checked. A build that is killed therefore
goes on after its last line, and a damaged block is decoded again alone.
"""

from __future__ import annotations

import json
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TypeVar

import numpy as np

from asc_search.data.audio_io import UnreadableAudio, read_audio, resampled
from asc_search.data.int16 import as_int16
from asc_search.errors import AscSearchError
from asc_search.files import read_json, write_json
from asc_search.progress import track

VERSION = 1  # raise when the samples written for the same key change
BLOCK_CLIPS = 512
BLOCK_SAMPLES = 16_000_000  # of long clips fewer make a block
SAMPLES, BLOCKS, NOTE = "samples.i16", "blocks.jsonl", "store.json"
T, R = TypeVar("T"), TypeVar("R")


class StoreError(AscSearchError):
    """The samples cannot be kept: no space, no permission, or the audio changed meanwhile."""


@dataclass(frozen=True)
class Source:
    """One audio file as it was when its content was hashed."""

    path: Path
    size: int
    mtime_ns: int
    sha256: str


Parts = tuple[Source, ...]  # the files of a clip, in order


@dataclass(frozen=True)
class Block:
    """Clips ``row`` and following, from sample ``start`` on; ``exponents`` say what a clip's int16 are worth.

    ``lengths`` are those of whole clips, all channels together.
    """

    row: int
    start: int
    lengths: tuple[int, ...]
    exponents: tuple[int, ...]
    crc: int

    @property
    def end_row(self) -> int:
        """The row after the last clip."""
        return self.row + len(self.lengths)

    @property
    def end(self) -> int:
        """The sample after the last one."""
        return self.start + sum(self.lengths)


def finished(folder: Path, clips: int) -> list[Block] | None:
    """The blocks of a store that is complete and unchanged since it was checked, else None."""
    note = read_json(folder / NOTE)
    if note is None or note != _note(folder, clips):
        return None
    blocks = sound_blocks(folder)
    whole = sum(len(block.lengths) for block in blocks) == clips
    return blocks if whole and 2 * blocks[-1].end == note["bytes"] else None


def sound_blocks(folder: Path, label: str | None = None) -> list[Block]:
    """The blocks whose lines and places agree, in order of rows; with ``label`` those alone whose samples do, too."""
    written: dict[int, Block] = {}
    for block in _journal(folder / BLOCKS):
        written[block.row] = block
    path = folder / SAMPLES
    available = path.stat().st_size // 2 if path.exists() else 0
    samples = np.memmap(path, "<i2", "r", shape=(available,)) if available and label else None
    sound: list[Block] = []
    row = position = 0
    ordered = [written[row] for row in sorted(written)]
    for block in track(ordered, f"{label}: checking", len(ordered)) if label else ordered:
        fits = block.row >= row and block.start >= position and (block.start == position or block.row > row)
        if not fits or block.end > available:
            continue
        if samples is not None and zlib.crc32(samples[block.start : block.end]) != block.crc:
            continue
        sound.append(block)
        row, position = block.end_row, block.end
    return sound


def fill(
    folder: Path, sources: Sequence[Parts], rate_hz: int, channels: int, sound: Sequence[Block], label: str
) -> None:
    """Decode the clips that no block in ``sound`` holds, in parallel, and write them in their place.

    Whatever ends it, an unreadable file included, what was decoded before stays.

    Raises:
        UnreadableAudio: names the file and the reason.
        StoreError: a file changed after its content was hashed.
    """
    held = np.zeros(len(sources), bool)
    for block in sound:
        held[block.row : block.end_row] = True
    missing = np.flatnonzero(~held).tolist()
    ends = {0: 0} | {block.end_row: block.end for block in sound}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SAMPLES).touch()
    with (folder / SAMPLES).open("r+b") as samples, (folder / BLOCKS).open("ab") as journal:
        writer = _Writer(samples, journal, ends)
        with ThreadPoolExecutor(workers()) as pool:
            decoded = ahead(pool, lambda row: decode(sources[row], rate_hz, channels), missing)
            try:
                for row, clip in zip(missing, track(decoded, f"{label}: decoding", len(missing)), strict=True):
                    writer.add(row, *clip)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                writer.flush()


def settle(folder: Path, clips: int, end: int) -> None:
    """Note that the store is complete, its samples as they should be and nothing behind sample ``end``."""
    if (folder / SAMPLES).stat().st_size != 2 * end:
        os.truncate(folder / SAMPLES, 2 * end)
    write_json(folder / NOTE, _note(folder, clips))


def clear(folder: Path) -> None:
    """Forget a store whose parts contradict each other."""
    for name in (NOTE, BLOCKS, SAMPLES):
        (folder / name).unlink(missing_ok=True)


def decode(parts: Parts, rate_hz: int, channels: int = 1) -> tuple[np.ndarray, int]:
    """A clip as ``as_int16`` gives it, (channels * samples,), and the exponent.

    Its files one after the other, resampled as a whole; one channel after the other.

    Raises:
        UnreadableAudio: names the file and the reason, such as another rate than the file it continues.
        StoreError: a file changed after its content was hashed.
    """
    pieces, source_hz = [], 0
    for source in parts:
        try:
            piece, own_hz = read_audio(source.path, channels)
            if pieces and own_hz != source_hz:
                raise UnreadableAudio(f"is at {own_hz} Hz, the file it continues at {source_hz} Hz")
        except UnreadableAudio as error:
            raise unreadable(source.path, error) from None
        if stamp_of(source.path) != f"{source.size} {source.mtime_ns}":
            raise StoreError(f"{source.path}: changed while it was read; run again when nothing writes there")
        pieces.append(piece)
        source_hz = own_hz
    whole = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    samples = resampled(whole, source_hz, rate_hz).T.reshape(-1)
    if not len(samples):
        raise unreadable(parts[0].path, UnreadableAudio(f"is too short for one sample at {rate_hz} Hz"))
    return as_int16(samples)


def workers() -> int:
    """Threads to decode with: reading, libsndfile and soxr leave the interpreter lock alone."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Writer:
    """Gathers clips that follow each other and writes them as blocks: the samples first, then their line."""

    def __init__(self, samples: IO[bytes], journal: IO[bytes], ends: dict[int, int]) -> None:
        self._samples, self._journal, self._ends = samples, journal, ends
        self._row, self._clips, self._exponents = 0, [], []
        journal.write(b"\n")  # ends a line that a killed process left torn

    def add(self, row: int, samples: np.ndarray, exponent: int) -> None:
        if row != self._row + len(self._clips):
            self.flush()
            self._row = row
        self._clips.append(samples)
        self._exponents.append(exponent)
        if len(self._clips) == BLOCK_CLIPS or sum(map(len, self._clips)) >= BLOCK_SAMPLES:
            self.flush()

    def flush(self) -> None:
        clips, exponents, self._clips, self._exponents = self._clips, self._exponents, [], []
        if not clips:
            return
        data, start = np.concatenate(clips), self._ends[self._row]
        self._samples.seek(2 * start)
        self._samples.write(data)
        _to_disk(self._samples)
        block = Block(self._row, start, tuple(map(len, clips)), tuple(exponents), zlib.crc32(data))
        self._journal.write(_sealed(block))
        _to_disk(self._journal)
        self._row = block.end_row
        self._ends[self._row] = block.end


def _to_disk(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sealed(block: Block) -> bytes:
    text = json.dumps(asdict(block)).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _journal(path: Path) -> Iterator[Block]:
    """The blocks whose lines are whole."""
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        seal, _, text = line.partition(b" ")
        if text and seal == b"%08x" % zlib.crc32(text):
            fields = json.loads(text)
            lengths, exponents = tuple(fields.pop("lengths")), tuple(fields.pop("exponents"))
            yield Block(**fields, lengths=lengths, exponents=exponents)


def _note(folder: Path, clips: int) -> dict[str, int]:
    try:
        stat = (folder / SAMPLES).stat()
    except FileNotFoundError:
        return {}
    return {"clips": clips, "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def ahead(pool: ThreadPoolExecutor, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Results in order, a few computed ahead of their use (``pool.map`` would hold all of them)."""
    pending: deque = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) > 4 * workers():
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def stamp_of(path: Path) -> str:
    """Size and time of a file: as long as they stay, its content is taken to stay."""
    try:
        stat = path.stat()
    except OSError as error:
        raise unreadable(path, error) from None
    return f"{stat.st_size} {stat.st_mtime_ns}"


def unreadable(path: Path, error: Exception) -> UnreadableAudio:
    """The error that names the file, the reason and what to do."""
    reason = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else error
    return UnreadableAudio(f"{path}: {reason}; repair or remove it and run again, clips decoded before it are kept")
