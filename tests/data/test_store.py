"""The resident store: true to the audio, survives kills and damage, shared by processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support import ENVIRONMENT, SHARED, cut

from asc_search.data import store, store_files
from asc_search.data.audio_io import UnreadableAudio, read_audio, read_mono, resampled
from asc_search.data.clips import Clips
from asc_search.data.store import Store, open_store
from asc_search.data.store_files import StoreError
from asc_search.train.clip_scores import OVERLAP

RATE = 8_000
COUNT = 200
BLOCK = 16

# builds a store in a process of its own, slowly, and lists what it decodes
BUILDER = """
import sys, time
from pathlib import Path
from asc_search.data import store, store_files
from asc_search.data.clips import Clips
root, audio, log, pause, rate, block = *map(Path, sys.argv[1:4]), float(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])
store_files.BLOCK_CLIPS = block
real = store_files.read_audio
def slow(path, channels):
    time.sleep(pause)
    with log.open("a") as lines:
        lines.write(path.name + "\\n")
    return real(path, channels)
store_files.read_audio = slow
names = tuple(sorted(path.name for path in audio.iterdir()))
blank = ("",) * len(names)
clips = Clips(audio, ("a",), names, (0,) * len(names), blank, blank, blank)
store.open_store(root, clips, rate, "train", verify=len(sys.argv) > 7)
"""


def clips_in(folder: Path) -> Clips:
    names = tuple(sorted(path.name for path in folder.iterdir()))
    blank = ("",) * len(names)
    return Clips(folder, ("a",), names, (0,) * len(names), blank, blank, blank)


def write(path: Path, seed: int, length: int, gain: float = 0.3) -> None:
    noise = gain * np.random.default_rng(seed).standard_normal(length)
    soundfile.write(path, noise, RATE, subtype="FLOAT")


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short clips of different lengths and levels, some louder than full scale."""
    folder = tmp_path_factory.mktemp("audio")
    for i in range(COUNT):
        write(folder / f"{i:03}.wav", i, 700 + 3 * i, gain=10.0 ** (i % 7 - 5))
    return folder


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_files, "BLOCK_CLIPS", BLOCK)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files decoded in this test."""
    names: list[str] = []

    def counted(path: Path, channels: int) -> tuple[np.ndarray, int]:
        names.append(path.name)
        return read_audio(path, channels)

    monkeypatch.setattr(store_files, "read_audio", counted)
    return names


def same(made: Store, clips: Clips, rate_hz: int = RATE) -> bool:
    """Whether every clip is within half a step of int16 of the file, a step being at most 2**-15 of twice the peak."""
    for row, name in enumerate(clips.files):
        expected = read_mono(clips.root / name, rate_hz)
        error = np.abs(made.clip(row).astype(np.float64) - expected).max()
        if error > np.abs(expected).max() * 2.0**-15 or len(expected) != made.lengths[row]:
            return False
    return len(made) == len(clips)


def folder_of(root: Path) -> Path:
    (folder,) = (path for path in root.iterdir() if path.is_dir())
    return folder


@pytest.mark.parametrize("rate_hz", [RATE, 11_025, 4_000])
def test_clips_are_the_files_within_rounding(tmp_path: Path, audio: Path, rate_hz: int) -> None:
    clips = clips_in(audio)
    made = open_store(tmp_path, clips, rate_hz, "train")
    assert same(made, clips, rate_hz)
    assert made.samples.dtype == np.int16
    assert made.bytes == (folder_of(tmp_path) / "samples.i16").stat().st_size == 2 * made.lengths.sum()
    peaks = np.array([np.abs(read_mono(audio / name, rate_hz)).max() for name in clips.files])
    assert (peaks > 1).sum() > 20  # loud ones among them, none clipped


def test_audio_of_16_bits_is_kept_exactly(tmp_path: Path) -> None:
    folder = tmp_path / "audio"
    folder.mkdir()
    rng = np.random.default_rng(0)
    extremes = [np.array([-32768, 32767, 0], np.int16), np.array([-32768, 5], np.int16), np.zeros(4, np.int16)]
    for i, values in enumerate([*extremes, *(rng.integers(-(2**b), 2**b, 50, np.int16) for b in range(1, 15))]):
        soundfile.write(folder / f"{i:02}.wav", values, RATE, subtype="PCM_16")
    clips = clips_in(folder)
    made = open_store(tmp_path / "store", clips, RATE, "train")
    for row, name in enumerate(clips.files):
        assert np.array_equal(made.clip(row), read_mono(folder / name))


def test_windows_are_cut_and_repeated_as_for_the_networks(tmp_path: Path, audio: Path) -> None:
    made = open_store(tmp_path, clips_in(audio), RATE, "train")
    on_device = made.to_device("cpu")
    for length in (400, 800, 1_000, 3_000):  # shorter than all clips, than some, longer than all
        rows = np.repeat(np.random.default_rng(length).permutation(COUNT)[:40], 3)
        starts = np.tile(np.arange(3) * (length // OVERLAP), 40)
        needed = length + 2 * (length // OVERLAP)
        expected = np.concatenate([cut(np.resize(made.clip(row), needed), length, 3) for row in rows[::3]])
        got = made.windows(rows, starts, length)
        assert got.dtype == np.int16
        assert np.array_equal(got * made.gains[rows, None], expected)
        there = on_device.windows(rows, starts, length)
        assert there.dtype == torch.int16
        assert np.array_equal(there.numpy(), got)
    fitting = made.windows(np.arange(COUNT), made.lengths - 500, 500)  # up to the last sample, without repeating
    last = [made.samples[end - 500 : end] for end in made.offsets[1:]]
    assert np.array_equal(fitting, last)
    assert np.array_equal(on_device.windows(np.arange(COUNT), made.lengths - 500, 500).numpy(), fitting)


def test_a_second_opening_decodes_nothing(tmp_path: Path, audio: Path, decoded: list[str]) -> None:
    clips = clips_in(audio)
    open_store(tmp_path, clips, RATE, "train")
    assert sorted(decoded) == list(clips.files)
    open_store(tmp_path, clips, RATE, "train")
    open_store(tmp_path, clips, RATE, "train", verify=True)
    assert len(decoded) == COUNT
    open_store(tmp_path, clips, 4_000, "train")
    open_store(tmp_path, clips.take([3, 1]), RATE, "train")
    assert len(decoded) == 2 * COUNT + 2


def test_files_made_again_the_same_are_found(tmp_path: Path, decoded: list[str]) -> None:
    for where in ("one", "two"):  # another folder and other times, but the same content
        (tmp_path / where).mkdir()
        for i in range(5):
            path = tmp_path / where / f"{where}{i}.wav"
            if where == "one":
                write(path, i, 500)
            else:  # writing again would put another second into the header of a float file
                shutil.copy(tmp_path / "one" / f"one{i}.wav", path)
            os.utime(path, (i, i))
        made = open_store(tmp_path / "store", clips_in(tmp_path / where), RATE, "train")
        os.utime(tmp_path / where / f"{where}0.wav")
        assert np.array_equal(
            made.samples, open_store(tmp_path / "store", clips_in(tmp_path / where), RATE, "").samples
        )
    assert len(decoded) == 5


def test_content_changed_behind_size_and_time_is_found_by_verify(tmp_path: Path) -> None:
    folder = tmp_path / "audio"
    folder.mkdir()
    for i in range(5):
        write(folder / f"{i}.wav", i, 500)
    clips = clips_in(folder)
    before = open_store(tmp_path / "store", clips, RATE, "train")
    stat = (folder / "3.wav").stat()
    write(folder / "3.wav", 99, 500)
    os.utime(folder / "3.wav", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert np.array_equal(open_store(tmp_path / "store", clips, RATE, "train").samples, before.samples)
    assert same(open_store(tmp_path / "store", clips, RATE, "train", verify=True), clips)
    assert same(open_store(tmp_path / "store", clips, RATE, "train"), clips)


def build_elsewhere(root: Path, audio: Path, log: Path, pause_s: float, *more: str) -> subprocess.Popen:
    arguments = [sys.executable, "-c", BUILDER, root, audio, log, pause_s, RATE, BLOCK, *more]
    return subprocess.Popen([*map(str, arguments)], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def until(condition: Callable[[], bool], limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.005)


def lines_of(root: Path) -> list[bytes]:
    return [line for path in root.glob("*/blocks.jsonl") for line in path.read_bytes().splitlines() if line]


def test_a_killed_build_goes_on(
    tmp_path: Path, audio: Path, decoded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    root, log = tmp_path / "store", tmp_path / "log"
    process = build_elsewhere(root, audio, log, 0.01)
    until(lambda: len(lines_of(root)) >= 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    kept = len(lines_of(root)) * BLOCK
    assert kept < COUNT
    with (folder_of(root) / "blocks.jsonl").open("ab") as journal:
        journal.write(b'0badc0de {"row": ')  # as torn as a line can be
    clips = clips_in(audio)
    assert same(open_store(root, clips, RATE, "train"), clips)
    assert sorted(decoded) == list(clips.files[kept:])
    assert "clips were decoded before" in " ".join(capsys.readouterr().err.split())
    open_store(root, clips, RATE, "train")
    assert len(decoded) == COUNT - kept


def test_two_processes_at_once_make_one_store(tmp_path: Path, audio: Path, decoded: list[str]) -> None:
    root, log = tmp_path / "store", tmp_path / "log"
    processes = [build_elsewhere(root, audio, log, 0.005) for _ in range(2)]
    said = [process.communicate(timeout=100)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    clips = clips_in(audio)
    assert sorted(log.read_text().split()) == list(clips.files)  # each once
    assert same(open_store(root, clips, RATE, "train", verify=True), clips)
    assert not decoded


def damages(folder: Path) -> Iterator[tuple[str, int]]:
    """Damages a complete store in one way after another; names it and says how many clips it costs at most."""
    samples, blocks, note = folder / "samples.i16", folder / "blocks.jsonl", folder / "store.json"
    whole, text = samples.read_bytes(), blocks.read_bytes()

    def flipped(data: bytes, at: int) -> bytes:
        return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]

    samples.write_bytes(whole[:-1])
    yield "one byte short", BLOCK
    samples.write_bytes(whole[: len(whole) // 3])
    yield "cut to a third", COUNT
    samples.write_bytes(b"")
    yield "emptied", COUNT
    samples.write_bytes(flipped(flipped(whole, len(whole) // 2), 0))
    yield "two bits flipped", 2 * BLOCK
    samples.write_bytes(whole + b"more")
    yield "too long", 0
    blocks.write_bytes(flipped(text, len(text) // 2))
    note.unlink()
    yield "a flipped bit in the list of blocks", BLOCK
    blocks.write_bytes(text[: len(text) // 2])
    yield "half a list of blocks", COUNT
    blocks.unlink()
    yield "no list of blocks", COUNT
    note.write_text("{")
    yield "half a note", 0
    samples.unlink()
    yield "no samples", COUNT


def test_damage_is_found_and_only_that_decoded_again(
    tmp_path: Path, audio: Path, decoded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    clips = clips_in(audio)
    good = open_store(tmp_path, clips, RATE, "train").samples.copy()
    for what, most in damages(folder_of(tmp_path)):
        decoded.clear()
        capsys.readouterr()
        again = open_store(tmp_path, clips, RATE, "train")
        assert np.array_equal(again.samples, good), what
        assert len(decoded) <= most, what
        assert bool(decoded) == bool(capsys.readouterr().err.strip()) == bool(most), what
        decoded.clear()
        open_store(tmp_path, clips, RATE, "train")
        assert not decoded, what


def test_bytes_flipped_without_a_trace_are_found_by_verify(tmp_path: Path, audio: Path, decoded: list[str]) -> None:
    clips = clips_in(audio)
    open_store(tmp_path, clips, RATE, "train")
    path = folder_of(tmp_path) / "samples.i16"
    stat = path.stat()
    with path.open("r+b") as samples:
        samples.seek(1_000)
        samples.write(b"wrong")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    decoded.clear()
    assert not same(open_store(tmp_path, clips, RATE, "train"), clips)
    assert same(open_store(tmp_path, clips, RATE, "train", verify=True), clips)
    assert len(decoded) == BLOCK


def test_a_block_that_no_longer_fits_between_its_neighbours_starts_the_store_over(
    tmp_path: Path, audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = clips_in(audio)
    folder = tmp_path / "store"
    with monkeypatch.context() as other:  # a resampler that gives one sample more
        other.setattr(store_files, "resampled", lambda samples, *rates: np.append(resampled(samples, *rates), 0))
        open_store(folder, clips, RATE, "train")
    blocks = folder_of(folder) / "blocks.jsonl"
    lines = blocks.read_bytes().splitlines(keepends=True)
    blocks.write_bytes(b"".join(lines[:3] + lines[5:]))
    assert same(open_store(folder, clips, RATE, "train"), clips)


@pytest.mark.parametrize(("bad", "reason"), [(b"no audio at all", "cannot be read as audio"), (None, "No such file")])
def test_an_unreadable_file_is_named_and_the_rest_kept(
    tmp_path: Path, decoded: list[str], bad: bytes | None, reason: str
) -> None:
    folder, root = tmp_path / "audio", tmp_path / "store"
    folder.mkdir()
    for i in range(60):
        write(folder / f"{i:02}.wav", i, 500)
    clips = clips_in(folder)
    if bad is None:
        (folder / "41.wav").unlink()
    else:
        (folder / "41.wav").write_bytes(bad)
    with pytest.raises(UnreadableAudio, match=rf"41\.wav: .*{reason}"):
        open_store(root, clips, RATE, "train")
    if bad is not None:  # the same content still makes the same store, so a second try goes on where the first ended
        decoded.clear()
        with pytest.raises(UnreadableAudio, match=r"41\.wav"):
            open_store(root, clips, RATE, "train")
        assert not set(decoded) & set(clips.files[:41])


def test_audio_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touching(path: Path, channels: int) -> tuple[np.ndarray, int]:
        os.utime(path)
        return read_audio(path, channels)

    monkeypatch.setattr(store_files, "read_audio", touching)
    with pytest.raises(StoreError, match=r"000\.wav: changed while it was read"):
        open_store(tmp_path, clips_in(audio), RATE, "train")


def test_places_that_cannot_hold_a_store_are_one_clear_error(tmp_path: Path, audio: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="choose another folder"):
        open_store(tmp_path / "file" / "store", clips_in(audio), RATE, "train")
    with pytest.raises(StoreError, match="no clips"):
        open_store(tmp_path, clips_in(audio).take([]), RATE, "train")


def test_a_full_disk_is_one_clear_error_and_what_was_written_is_kept(
    tmp_path: Path, audio: Path, decoded: list[str]
) -> None:
    resource = pytest.importorskip("resource")
    clips, (soft, hard) = clips_in(audio), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # no file may grow over this: about half of the store
    try:
        with pytest.raises(StoreError, match="free space there"):
            open_store(tmp_path, clips, RATE, "train")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    decoded.clear()
    assert same(open_store(tmp_path, clips, RATE, "train"), clips)
    assert COUNT // 4 < len(decoded) < COUNT * 3 // 4


def test_memory_is_stated_before_it_is_taken(
    tmp_path: Path, audio: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = open_store(tmp_path, clips_in(audio), RATE, "train")
    assert isinstance(made.samples.base, np.memmap)
    capsys.readouterr()
    held = made.resident()
    assert f"train: {made.bytes / 1e6:.1f} MB of samples go into memory" in capsys.readouterr().err
    assert held.samples.base is None
    assert np.array_equal(held.samples, made.samples)
    assert made.resident(limit_bytes=made.bytes - 1) is made
    assert "stay on disk, memory-mapped" in capsys.readouterr().err
    monkeypatch.setattr(store, "free_bytes", lambda: made.bytes)
    assert made.resident() is made


def test_a_full_gpu_is_left_alone(
    tmp_path: Path, audio: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = open_store(tmp_path, clips_in(audio), RATE, "train")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (made.bytes, 10 * made.bytes))
    assert made.to_device("cuda") is None
    assert "stay off the GPU" in capsys.readouterr().err


def test_free_memory_is_what_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/proc/meminfo").exists():
        pytest.skip("no /proc/meminfo on this system")
    said = Path("/proc/meminfo").read_text()
    available = int(said.partition("MemAvailable:")[2].split()[0]) * 1024
    assert 0 < store.free_bytes() < 1.1 * available


@pytest.mark.skipif(not (SHARED / "data" / "tau_mini").exists(), reason="needs the real clips of tau_mini")
def test_real_clips(tmp_path: Path) -> None:
    source = SHARED / "data" / "tau_mini"
    names = tuple(sorted(str(path.relative_to(source)) for path in (source / "audio").iterdir()))
    blank = ("",) * len(names)
    clips = Clips(source, ("a",), names, (0,) * len(names), blank, blank, blank)
    assert len(clips) == 29
    assert same(open_store(tmp_path, clips, 32_000, "train"), clips, 32_000)
