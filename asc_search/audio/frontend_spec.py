"""FrontEnd: what turns a waveform into the network's input, as a value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class FrontEnd:
    """Log-mel front end of the DCASE 2024 baseline, by its parameters.

    Rates in Hz, lengths in samples, ``seconds`` the length of one input window. Mel filters: HTK scale, no normalisation,
    ``fmin_hz`` to ``fmax_hz`` (0: half the rate), power spectrum of centred frames, log(x + ``log_floor``).
    """

    rate_hz: int = 32_000
    window: int = 3072
    hop: int = 500
    n_fft: int = 4096
    mels: int = 256
    fmin_hz: float = 0.0
    fmax_hz: float = 0.0
    log_floor: float = 1e-5
    seconds: float = 1.0

    @property
    def samples(self) -> int:
        """Samples in one input window."""
        return round(self.rate_hz * self.seconds)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Network input (channel, freq, time); centred frames: 1 + samples // hop."""
        return (1, self.mels, 1 + self.samples // self.hop)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> FrontEnd:
        return FrontEnd(**data)
