"""Clips of several channels and of several files in the resident store, against soundfile, soxr and NumPy."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from asc_search.data import store_files
from asc_search.data.audio_io import UnreadableAudio
from asc_search.data.clips import Clips
from asc_search.data.store import open_store

RATE = 8_000


def clips_of(folder: Path, names: tuple[str, ...], more: tuple[tuple[str, ...], ...] = ()) -> Clips:
    blank = ("",) * len(names)
    return Clips(folder, ("a",), names, (0,) * len(names), blank, blank, blank, more)


@pytest.fixture(scope="module")
def binaural(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """Stereo clips of 16 bits, of several lengths, the right ear much quieter than the left."""
    folder, rng = tmp_path_factory.mktemp("binaural"), np.random.default_rng(0)
    names = tuple(f"{i}.wav" for i in range(9))
    for i, name in enumerate(names):
        samples = rng.integers(-(2**14), 2**14, (900 + 100 * i, 2)) // np.array([1, 2**i])
        soundfile.write(folder / name, samples.astype(np.int16), RATE, subtype="PCM_16")
    return clips_of(folder, names)


def test_both_channels_are_kept_exactly_and_apart(tmp_path: Path, binaural: Clips) -> None:
    made = open_store(tmp_path, binaural, RATE, "train", channels=2)
    for row, name in enumerate(binaural.files):
        expected = soundfile.read(binaural.root / name, dtype="float32")[0]
        assert np.array_equal(made.clip(row), expected.T)
        assert made.lengths[row] == len(expected)


def test_each_channel_is_resampled_by_itself(tmp_path: Path, binaural: Clips) -> None:
    made = open_store(tmp_path, binaural, 11_025, "train", channels=2)
    for row, name in enumerate(binaural.files):
        samples = soundfile.read(binaural.root / name, dtype="float32")[0]
        for channel in range(2):
            expected = soxr.resample(samples[:, channel], RATE, 11_025, quality="HQ")
            # half a step of the int16, which both channels share
            np.testing.assert_allclose(made.clip(row)[channel], expected, atol=np.abs(samples).max() * 2.0**-14)


@pytest.mark.parametrize("length", [300, 1_200, 5_000])  # shorter than all clips, than some, longer than all
def test_windows_of_two_channels_are_cut_and_repeated(tmp_path: Path, binaural: Clips, length: int) -> None:
    made = open_store(tmp_path, binaural, RATE, "train", channels=2)
    rows, starts = np.array([8, 0, 3, 3, 1]), np.array([0, 700, 150, 0, 10])
    expected = []
    for row, start in zip(rows, starts, strict=True):
        samples = soundfile.read(binaural.root / binaural.files[row], dtype="float32")[0].T
        expected.append(samples[:, (start + np.arange(length)) % samples.shape[1]])
    for store in (made, made.resident(), made.to_device("cpu")):
        waves = store.waves(rows, starts, length)
        assert waves.dtype == torch.float32
        assert np.array_equal(waves.numpy(), np.stack(expected))


def test_mono_is_the_mean_and_has_the_store_it_always_had(tmp_path: Path, binaural: Clips) -> None:
    stereo = open_store(tmp_path, binaural, RATE, "train", channels=2)
    mono = open_store(tmp_path, binaural, RATE, "train")
    assert stereo.folder != mono.folder
    for row, name in enumerate(binaural.files):
        expected = soundfile.read(binaural.root / name, dtype="float32")[0].mean(1)
        np.testing.assert_allclose(mono.clip(row), expected, atol=np.abs(expected).max() * 2.0**-15)
    lines = f"{store_files.VERSION} {RATE}\n"
    for name in binaural.files:
        data = (binaural.root / name).read_bytes()
        lines += f"{len(data)} {hashlib.sha256(data).hexdigest()}\n"
    assert mono.folder.name == hashlib.sha256(lines.encode()).hexdigest()[:32]


@pytest.mark.parametrize(("channels", "has"), [(1, "one channel"), (3, "3 channels")])
def test_files_of_other_channels_are_named(tmp_path: Path, binaural: Clips, channels: int, has: str) -> None:
    samples = np.zeros((50, channels)) + 0.1
    soundfile.write(binaural.root / "other.wav", samples, RATE)
    with pytest.raises(UnreadableAudio, match=rf"other\.wav: has {has}, frontend\.channels asks for 2"):
        open_store(tmp_path, clips_of(binaural.root, ("0.wav", "other.wav")), RATE, "train", channels=2)


def test_clips_of_several_files_are_joined_before_they_are_resampled(tmp_path: Path, binaural: Clips) -> None:
    joined = clips_of(binaural.root, ("4.wav", "0.wav"), (("2.wav", "7.wav"), ()))
    sounds = [soundfile.read(binaural.root / f"{i}.wav", dtype="float32")[0] for i in range(9)]
    whole = [np.concatenate([sounds[4], sounds[2], sounds[7]]), sounds[0]]
    exact = open_store(tmp_path, joined, RATE, "train", channels=2)
    other = open_store(tmp_path, joined, 11_025, "train")
    for row, samples in enumerate(whole):
        assert np.array_equal(exact.clip(row), samples.T)
        expected = soxr.resample(samples.mean(1), RATE, 11_025, quality="HQ")
        np.testing.assert_allclose(other.clip(row), expected, atol=np.abs(expected).max() * 2.0**-14)
    apart = open_store(tmp_path, clips_of(binaural.root, ("4.wav", "2.wav", "7.wav", "0.wav")), RATE, "train")
    assert len({exact.folder, other.folder, apart.folder}) == 3
    assert joined.take([1, 0]).parts == (("0.wav",), ("4.wav", "2.wav", "7.wav"))
    assert joined.digest() != clips_of(binaural.root, ("4.wav", "0.wav")).digest()


def test_a_continuation_at_another_rate_is_named(tmp_path: Path) -> None:
    for name, rate_hz in (("one.wav", 8_000), ("two.wav", 16_000)):
        soundfile.write(tmp_path / name, np.full(100, 0.1), rate_hz)
    with pytest.raises(UnreadableAudio, match=r"two\.wav: is at 16000 Hz, the file it continues at 8000 Hz"):
        open_store(tmp_path / "store", clips_of(tmp_path, ("one.wav",), (("two.wav",),)), RATE, "train")


def test_a_damaged_store_of_joined_binaural_clips_is_mended(
    tmp_path: Path, binaural: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_files, "BLOCK_CLIPS", 1)
    clips = clips_of(binaural.root, ("4.wav", "0.wav", "5.wav"), (("2.wav",), (), ("6.wav",)))
    good = open_store(tmp_path, clips, RATE, "train", channels=2)
    samples = good.samples.copy()
    with (good.folder / store_files.SAMPLES).open("r+b") as file:
        file.seek(10_000)
        file.write(b"wrong")
    read: list[str] = []
    real = store_files.read_audio
    monkeypatch.setattr(
        store_files, "read_audio", lambda path, channels: read.append(path.name) or real(path, channels)
    )
    assert np.array_equal(open_store(tmp_path, clips, RATE, "train", channels=2).samples, samples)
    assert 0 < len(read) < 5
