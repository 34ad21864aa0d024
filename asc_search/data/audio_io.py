"""Reading and writing of single audio files: everything is float32 at the wanted rate once read, mono unless asked for more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from asc_search.errors import AscSearchError

RATES_HZ = (100, 1_000_000)  # outside, a header is damaged: resampling it would take all memory or leave nothing


class UnreadableAudio(AscSearchError):
    """An audio file cannot be used; the message is the reason alone, the caller adds which file."""


def read_mono(path: Path, rate_hz: int | None = None) -> np.ndarray:
    """The file as float32 of shape (samples,): mean of its channels, resampled (soxr HQ) to ``rate_hz``.

    Without ``rate_hz`` the file's own rate is kept.

    Raises:
        UnreadableAudio: as for ``read_audio``.
    """
    samples, source_hz = read_audio(path)
    return resampled(samples, source_hz, source_hz if rate_hz is None else rate_hz)


def read_audio(path: Path, channels: int = 1) -> tuple[np.ndarray, int]:
    """The file as float32, and its rate: the mean of its channels (samples,), or all ``channels`` (samples, channels).

    Raises:
        UnreadableAudio: not a wav, flac or ogg file, damaged, without samples, with NaN or infinite samples, or of a rate
            no recording has; several ``channels`` are asked for and the file has another number of them.
    """
    try:
        samples, source_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        raise UnreadableAudio(_reason(error)) from error
    if not len(samples):
        raise UnreadableAudio("has no samples")
    _check_rate(source_hz)
    _check_finite(samples)
    if channels == 1:
        return _mean(samples), source_hz
    _match(samples.shape[1], channels)
    return samples, source_hz


def resampled(samples: np.ndarray, source_hz: int, rate_hz: int) -> np.ndarray:
    """``samples`` (samples,) or (samples, channels) at ``rate_hz`` (soxr HQ)."""
    return samples if source_hz == rate_hz else soxr.resample(samples, source_hz, rate_hz, quality="HQ")


def check_channels(path: Path, channels: int) -> None:
    """Open ``path`` without decoding it and count its channels.

    Raises:
        UnreadableAudio: not an audio file that can be read, or it has another number of channels.
    """
    _match(_header(path).channels, channels)


def _match(found: int, wanted: int) -> None:
    if found != wanted:
        has = "one channel" if found == 1 else f"{found} channels"
        raise UnreadableAudio(f"has {has}, frontend.channels asks for {wanted}")


def blocks_mono(path: Path, rate_hz: int, block_s: float = 10.0) -> Iterator[np.ndarray]:
    """``read_mono`` in blocks of about ``block_s`` seconds, float32 (samples,), so that memory does not grow with the file.

    Raises:
        UnreadableAudio: as ``read_mono``, when the block that shows it is reached.
    """
    try:
        with soundfile.SoundFile(path) as file:
            source_hz, frames = file.samplerate, 0
            _check_rate(source_hz)
            resampler = soxr.ResampleStream(source_hz, rate_hz, 1, dtype="float32", quality="HQ")
            for samples in file.blocks(round(block_s * source_hz), dtype="float32", always_2d=True):
                frames += len(samples)
                _check_finite(samples)
                mono = _mean(samples)
                yield mono if source_hz == rate_hz else resampler.resample_chunk(mono)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        raise UnreadableAudio(_reason(error)) from error
    if not frames:
        raise UnreadableAudio("has no samples")
    if source_hz != rate_hz:
        yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def duration_s(path: Path) -> float:
    """Seconds of audio in ``path`` by its header.

    Raises:
        UnreadableAudio: not an audio file that can be read, or its length is zero.
    """
    check_header(path)
    return soundfile.info(path).duration


def _check_rate(rate_hz: int) -> None:
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        raise UnreadableAudio(f"has {rate_hz:,} samples a second by its header, which cannot be")


def _check_finite(samples: np.ndarray) -> None:
    finite = np.isfinite(samples)
    if not finite.all():
        raise UnreadableAudio(f"has {np.size(finite) - np.count_nonzero(finite)} NaN or infinite samples")


def _mean(samples: np.ndarray) -> np.ndarray:
    """The mean of the channels of (samples, channels)."""
    return samples.mean(axis=1, dtype=np.float32)


def check_header(path: Path) -> None:
    """Open ``path`` without decoding it.

    Raises:
        UnreadableAudio: not an audio file that can be read, or its length is zero.
    """
    header = _header(path)
    if header.frames <= 0:
        raise UnreadableAudio("has no samples")
    _check_rate(header.samplerate)


def _header(path: Path) -> soundfile._SoundFileInfo:
    try:
        return soundfile.info(path)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        raise UnreadableAudio(_reason(error)) from error


def write_wav(path: Path, samples: np.ndarray, rate_hz: int) -> None:
    """Write mono float ``samples``, clipped to [-1, 1], as 16-bit PCM."""
    pcm = np.rint(np.clip(samples, -1.0, 1.0) * 32767.0).astype(np.int16)
    soundfile.write(path, pcm, rate_hz, subtype="PCM_16", format="WAV")


def _reason(error: Exception) -> str:
    # libsndfile repeats the path in its message; the caller names it already
    text = getattr(error, "error_string", None) or str(error)
    return f"cannot be read as audio ({text.strip().rstrip('.')})"
