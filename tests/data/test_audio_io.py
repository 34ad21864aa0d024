"""Reading audio: channels, rates, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from asc_search.data.audio_io import UnreadableAudio, check_header, read_mono, write_wav


def band_limited(rate_hz: int, seconds: float, top_hz: float) -> np.ndarray:
    """A sum of tones below ``top_hz``, faded at both ends."""
    t = np.arange(int(rate_hz * seconds)) / rate_hz
    tones = sum(np.sin(2 * np.pi * f * t + f) / 8 for f in np.linspace(110.0, top_hz, 6))
    return (tones * np.hanning(len(t))).astype(np.float32)


@pytest.mark.parametrize(
    ("source_hz", "rate_hz"), [(44_100, 32_000), (16_000, 32_000), (48_000, 32_000), (32_000, 8_000)]
)
def test_resampling_agrees_with_scipy(tmp_path: Path, source_hz: int, rate_hz: int) -> None:
    samples = band_limited(source_hz, 1.0, min(source_hz, rate_hz) * 0.35)
    soundfile.write(tmp_path / "a.wav", samples, source_hz, subtype="FLOAT")
    ours = read_mono(tmp_path / "a.wav", rate_hz)
    common = np.gcd(source_hz, rate_hz)
    theirs = resample_poly(samples.astype(np.float64), rate_hz // common, source_hz // common, window=("kaiser", 12.0))
    assert ours.dtype == np.float32
    assert ours.shape == (rate_hz,)
    assert np.abs(ours - theirs).max() < 2e-3


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg"])
def test_channels_are_averaged(tmp_path: Path, extension: str) -> None:
    left = band_limited(32_000, 0.5, 4_000.0)
    soundfile.write(tmp_path / f"a.{extension}", np.stack([left, 0.5 * left], axis=1), 32_000)
    mono = read_mono(tmp_path / f"a.{extension}")
    assert mono.shape == left.shape
    assert np.abs(mono - 0.75 * left).max() < (0.05 if extension == "ogg" else 1e-3)


def test_written_wav_is_16_bit_and_clipped(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.array([0.0, 0.5, -2.0, 3.0], dtype=np.float32), 8_000)
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.subtype, info.samplerate, info.channels) == ("PCM_16", 8_000, 1)
    assert soundfile.read(tmp_path / "a.wav", dtype="int16")[0].tolist() == [0, 16384, -32767, 32767]


def test_refusals_say_why(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, dtype=np.float32), 8_000)
    bad = np.zeros(100, dtype=np.float32)
    bad[[3, 4]] = np.nan, np.inf
    soundfile.write(tmp_path / "nan.wav", bad, 8_000, subtype="FLOAT")
    soundfile.write(tmp_path / "cut.flac", np.random.default_rng(0).standard_normal(9_000) / 10, 8_000)
    whole = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    for name, reason in [
        ("text.wav", "cannot be read as audio"),
        ("gone.wav", "cannot be read as audio"),
        ("empty.wav", "no samples"),
        ("nan.wav", "2 NaN or infinite samples"),
        ("cut.flac", "cannot be read as audio"),
    ]:
        with pytest.raises(UnreadableAudio, match=reason):
            read_mono(tmp_path / name)
    check_header(tmp_path / "nan.wav")
    with pytest.raises(UnreadableAudio, match="no samples"):
        check_header(tmp_path / "empty.wav")
