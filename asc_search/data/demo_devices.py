"""The recording devices of the demo scenes: a reference microphone and six phones of growing strangeness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Device:
    """How a device colours sound.

    ``curve_db`` is its response at ``CURVE_HZ``; ``resonances`` are (centre Hz, gain dB, width in octaves); ``low_hz``
    and ``high_hz`` its band limits (12 dB per octave below, 24 above); ``noise_db`` its self-noise in dB full scale;
    ``drive`` the gain into its soft limiter (0: linear).
    """

    name: str
    curve_db: tuple[float, ...]
    resonances: tuple[tuple[float, float, float], ...]
    low_hz: float
    high_hz: float
    noise_db: float
    drive: float


CURVE_HZ = (60.0, 200.0, 600.0, 1_500.0, 4_000.0, 10_000.0)
REFERENCE = "a"
SEEN = ("s1", "s2", "s3")
UNSEEN = ("s4", "s5", "s6")

DEVICES = {
    device.name: device
    for device in (
        Device("a", (0, 0, 0, 0, 0, 0), (), 25.0, 15_500.0, -78.0, 0.0),
        Device("s1", (-3, 1, 0, 2, 3, -2), ((2_600.0, 4.0, 0.4),), 60.0, 14_000.0, -66.0, 1.0),
        Device("s2", (2, 2, -1, -1, -3, -5), ((900.0, 3.0, 0.5),), 45.0, 12_500.0, -68.0, 1.5),
        Device("s3", (-5, -2, 1, 2, 1, 3), ((4_800.0, 5.0, 0.3),), 80.0, 15_000.0, -63.0, 1.0),
        Device("s4", (-8, -4, 0, 3, 6, 6), ((3_400.0, 8.0, 0.3), (700.0, -6.0, 0.5)), 130.0, 13_500.0, -58.0, 2.5),
        Device("s5", (5, 4, 1, -3, -6, -9), ((1_300.0, 7.0, 0.4), (5_500.0, -8.0, 0.6)), 70.0, 8_500.0, -62.0, 2.0),
        Device("s6", (-4, 2, 5, -3, 4, -6), ((450.0, 7.0, 0.4), (2_000.0, -7.0, 0.5)), 160.0, 10_000.0, -56.0, 3.0),
    )
}


def response(device: Device, frequencies_hz: np.ndarray) -> np.ndarray:
    """Amplitude response of ``device`` at ``frequencies_hz``, float32."""
    octaves = np.log2(np.maximum(frequencies_hz, 10.0))
    gain_db = np.interp(octaves, np.log2(CURVE_HZ), device.curve_db)
    for centre_hz, peak_db, width in device.resonances:
        gain_db += peak_db * np.exp(-0.5 * ((octaves - np.log2(centre_hz)) / width) ** 2)
    band = 1.0 / np.sqrt(1.0 + (device.low_hz / np.maximum(frequencies_hz, 1.0)) ** 4)
    band = band / np.sqrt(1.0 + (frequencies_hz / device.high_hz) ** 8)
    return (10.0 ** (gain_db / 20.0) * band).astype(np.float32)


def record(device: Device, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What ``device`` stores of already coloured ``samples``: soft limiting and self-noise; float32, same shape."""
    if device.drive:
        samples = np.tanh(samples * device.drive) / device.drive
    noise = rng.standard_normal(len(samples), dtype=np.float32)
    return samples + np.float32(10.0 ** (device.noise_db / 20.0)) * noise
