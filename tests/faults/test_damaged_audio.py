"""Two hundred damaged audio files: every one is named with its reason, and the others are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc_search.data.audio_io import UnreadableAudio, blocks_mono, check_header, read_mono
from asc_search.data.folder import read_folder
from asc_search.errors import DataError

FORMATS = (("wav", "PCM_16"), ("wav", "FLOAT"), ("wav", "PCM_24"), ("flac", "PCM_16"), ("ogg", "VORBIS"))
COUNT = 200


def _sound(rng: np.random.Generator) -> bytes:
    """A short sound in one of the formats, as bytes, and its suffix before them."""
    return rng.standard_normal(4000).astype(np.float32).clip(-3, 3) / 4


def damaged(folder: Path, rng: np.random.Generator, index: int) -> Path:
    """Write one damaged file: cut, overwritten, stretched, swapped, emptied or made of something else."""
    suffix, subtype = FORMATS[index % len(FORMATS)]
    path = folder / f"{index:03d}.{suffix}"
    soundfile.write(path, _sound(rng), 16_000, subtype=subtype)
    content = bytearray(path.read_bytes())
    match rng.integers(8):
        case 0:
            content = content[: int(rng.integers(60))]
        case 1:
            content = content[: int(rng.integers(60, len(content)))]
        case 2:
            at = int(rng.integers(min(64, len(content))))
            content[at : at + 4] = rng.bytes(4)
        case 3:
            for at in rng.integers(len(content), size=40):
                content[at] = int(rng.integers(256))
        case 4:
            content = bytearray(rng.bytes(len(content)))
        case 5:
            content = bytearray(b"<html>404 not found</html>")
        case 6:
            content = bytearray(len(content))
        case 7:
            content[36:44] = b"\xff" * 8
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("damaged"), np.random.default_rng(1)
    return [damaged(folder, rng, index) for index in range(COUNT)]


def test_every_file_is_read_or_refused_with_a_reason(files: list[Path]) -> None:
    """All ways of reading agree that what is returned is finite sound, or say in one line why there is none."""
    refused = 0
    for path in files:
        for read in (
            read_mono,
            lambda path: read_mono(path, 22_050),
            lambda path: list(blocks_mono(path, 16_000)),
            check_header,
        ):
            try:
                found = read(path)
            except UnreadableAudio as error:
                refused += read is read_mono
                assert str(error) and "\n" not in str(error) and str(path) not in str(error)
                continue
            if isinstance(found, np.ndarray):
                assert found.ndim == 1 and len(found) and np.isfinite(found).all()
    assert COUNT // 4 < refused < COUNT


def test_a_folder_of_them_is_listed_at_once_or_used_without_them(files: list[Path]) -> None:
    folder = files[0].parent
    soundfile.write(folder / "good 'q\"uote, é<b>.wav", _sound(np.random.default_rng(2)), 16_000)
    names = [path.name for path in files] + ['"good \'q""uote, é<b>.wav"']
    (folder / "meta.csv").write_text(
        "filename,label\n" + "".join(f"{name},scene\n" for name in names), encoding="utf-8"
    )
    with pytest.raises(DataError, match="--skip-bad-files") as refusal:
        read_folder(folder)
    left = read_folder(folder, skip_bad_files=True)
    assert {problem.where for problem in refusal.value.problems} == {problem.where for problem in left.skipped}
    assert len(left.skipped) + len(left.clips) == len(names)
    assert "good 'q\"uote, é<b>.wav" in left.clips.files
