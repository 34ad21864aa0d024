"""Synthesis of the demo scenes: textures of shaped noise and events at places that differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from asc_search.data.demo_recipes import (
    BED_HZ,
    BED_SPREAD_DB,
    CLIP_SPREAD_DB,
    MAX_LEAN,
    NEIGHBOURS,
    PART_NAMES,
    PLACE_SPREAD_DB,
    RECIPES,
    Recipe,
)

RATE_HZ = 32_000
SAMPLES = 32_000
_CONTROL = 32
_FREQUENCIES_HZ = np.fft.rfftfreq(SAMPLES, 1.0 / RATE_HZ)
_OCTAVES = np.log2(np.maximum(_FREQUENCIES_HZ, 15.0)).astype(np.float32)
_TIMES_S = np.arange(SAMPLES, dtype=np.float32) / RATE_HZ


@dataclass(frozen=True)
class Place:
    """A recording location: its recipe, ``room`` response (complex, (bins,)), level, and pitch of voices and motors."""

    recipe: Recipe
    room: np.ndarray
    level_db: float
    pitch: float


def make_place(scene: str, rng: np.random.Generator) -> Place:
    """A random place of class ``scene``: leaning to a neighbour, with its own spectrum, levels and reverberation."""
    own, other = RECIPES[scene], RECIPES[NEIGHBOURS[scene][rng.integers(2)]]
    lean = MAX_LEAN * rng.random()

    def mix(a: float, b: float) -> float:
        return (1.0 - lean) * a + lean * b

    levels = {name: mix(getattr(own, name), getattr(other, name)) for name in PART_NAMES}
    levels = {name: level + PLACE_SPREAD_DB * rng.standard_normal() for name, level in levels.items()}
    tilt = BED_SPREAD_DB * rng.standard_normal() * np.linspace(-1.0, 1.0, len(BED_HZ))
    bed = [mix(a, b) + BED_SPREAD_DB * rng.standard_normal() for a, b in zip(own.bed_db, other.bed_db, strict=True)]
    recipe = replace(
        own,
        **levels,
        bed_db=tuple(np.add(bed, tilt)),
        sway=mix(own.sway, other.sway) * np.exp(0.3 * rng.standard_normal()),
        rates=tuple(
            mix(a, b) * np.exp(0.3 * rng.standard_normal()) for a, b in zip(own.rates, other.rates, strict=True)
        ),
        echo_s=mix(own.echo_s, other.echo_s) * np.exp(0.35 * rng.standard_normal()),
    )
    return Place(recipe, _room(recipe.echo_s, rng), 4.0 * rng.standard_normal(), np.exp(0.2 * rng.standard_normal()))


def render(place: Place, colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One second at ``place`` heard through the amplitude response ``colour`` (bins,): float32 (SAMPLES,)."""
    recipe = place.recipe
    spectrum = _fft(_noise(rng) * _sway(recipe.sway, 3.0, rng)) * _curve(BED_HZ, recipe.bed_db)
    spectrum /= _rms(spectrum)
    for name in PART_NAMES:
        level_db = getattr(recipe, name) + CLIP_SPREAD_DB * rng.standard_normal()
        if level_db < -30.0:
            continue
        part = _PARTS[name](place, rng)
        spectrum += part * (10.0 ** (level_db / 20.0) / max(_rms(part), 1e-9))
    gain = 10.0 ** ((place.level_db - 30.0 + 2.0 * rng.standard_normal()) / 20.0)
    spectrum *= place.room * colour * np.float32(gain)
    return np.fft.irfft(spectrum, SAMPLES).astype(np.float32)


def frequencies_hz() -> np.ndarray:
    """The frequencies (bins,) at which :func:`render` wants the colour."""
    return _FREQUENCIES_HZ


def _talk(place: Place, rng: np.random.Generator) -> np.ndarray:
    spectrum = np.zeros(len(_OCTAVES), dtype=np.complex64)
    for _ in range(rng.integers(1, 4)):
        pitch_hz = place.pitch * rng.choice((115.0, 210.0)) * np.exp(0.15 * rng.standard_normal())
        voiced = _saw(pitch_hz * _sway(0.12, 4.0, rng)) + 0.15 * _noise(rng)
        phase = np.float32(2 * np.pi) * (np.float32(rng.uniform(3.0, 5.5)) * _TIMES_S + np.float32(rng.random()))
        syllables = np.maximum(np.sin(phase), np.float32(0.0))
        formants = _peak(rng.uniform(350, 750), 0.25) + 0.6 * _peak(rng.uniform(900, 2_200), 0.2)
        formants += 0.25 * _peak(rng.uniform(2_300, 3_400), 0.2)
        spectrum += _fft(voiced * syllables * _sway(0.5, 2.0, rng)) * formants
    return spectrum


def _steps(place: Place, rng: np.random.Generator) -> np.ndarray:
    envelope = _bursts(_arrivals(place.recipe.rates[0], 0.35, rng), 0.018, rng)
    return _fft(envelope * _noise(rng)) * (
        _peak(rng.uniform(180, 350), 0.5) + 0.5 * _peak(rng.uniform(1_500, 3_500), 0.5)
    )


def _clatter(place: Place, rng: np.random.Generator) -> np.ndarray:
    firsts = _arrivals(place.recipe.rates[1], 0.1, rng)
    times = np.concatenate([firsts, firsts + rng.uniform(0.07, 0.11)])
    body = _peak(place.pitch * 260.0, 0.35) + 0.8 * _peak(place.pitch * 720.0, 0.25) + 0.35 * _peak(2_900.0, 0.5)
    return _fft(_bursts(times, 0.03, rng) * _noise(rng)) * body


def _engine(place: Place, rng: np.random.Generator) -> np.ndarray:
    idle_hz = 31.0 * place.pitch * np.exp(0.2 * rng.standard_normal())
    glide = 1.0 + rng.uniform(-0.2, 0.3) * _TIMES_S
    rattle = 1.0 + 0.5 * _saw(idle_hz * glide * 0.5)
    return _fft(_saw(idle_hz * glide) * rattle + 0.2 * _noise(rng) * rattle) * _curve(
        (40, 150, 500, 2_000), (0, 0, -8, -26)
    )


def _whine(place: Place, rng: np.random.Generator) -> np.ndarray:
    start_hz = 330.0 * place.pitch * np.exp(0.35 * rng.standard_normal())
    glide = np.exp(rng.uniform(-0.5, 0.5) * _TIMES_S) * _sway(0.03, 12.0, rng)
    return _fft(_saw(start_hz * glide) * _sway(0.3, 3.0, rng)) * _curve((200, 600, 2_500, 6_000), (0, 2, -6, -24))


def _passing(place: Place, rng: np.random.Generator) -> np.ndarray:
    closest_s, width_s = rng.uniform(0.2, 1.8), rng.uniform(0.3, 0.8)
    envelope = 1.0 / (1.0 + ((_TIMES_S - closest_s) / width_s) ** 2)
    tyres = _fft(envelope * _noise(rng)) * (_peak(rng.uniform(700, 1_300), 1.0) + 0.2 * _peak(4_000.0, 1.0))
    motor = _fft(envelope * _saw(rng.uniform(45, 95) * (1.08 - 0.06 * _TIMES_S))) * _curve(
        (60, 300, 1_500), (0, -4, -24)
    )
    return tyres / _rms(tyres) + 0.7 * motor / _rms(motor)


def _birds(place: Place, rng: np.random.Generator) -> np.ndarray:
    samples = np.zeros(SAMPLES, dtype=np.float32)
    centre_hz = place.pitch * rng.uniform(2_600.0, 4_800.0)
    for start in _arrivals(place.recipe.rates[2], 0.6, rng):
        first = int(start * RATE_HZ)
        t = _TIMES_S[: min(int(rng.uniform(0.05, 0.16) * RATE_HZ), SAMPLES - first)]
        sweep_hz = centre_hz * (1.0 + rng.uniform(-3.0, 3.0) * t + 0.08 * np.sin(2 * np.pi * rng.uniform(15, 45) * t))
        window = np.sin(np.pi * np.arange(len(t)) / max(len(t), 1)) ** 2
        samples[first : first + len(t)] += rng.uniform(0.3, 1.0) * window * np.sin(_phase(sweep_hz))
    return _fft(samples)


def _chime(place: Place, rng: np.random.Generator) -> np.ndarray:
    samples, note_hz, onset = np.zeros(SAMPLES, dtype=np.float32), 520.0 * place.pitch, rng.uniform(-0.4, 0.7)
    for index in range(3):
        first = int(max(onset, 0.0) * RATE_HZ)
        t = _TIMES_S[: SAMPLES - first] if first < SAMPLES else _TIMES_S[:0]
        tone = np.sin(_phase(note_hz * _sway(0.004, 15.0, rng)[: len(t)])) + 0.3 * np.sin(np.float32(9.1 * note_hz) * t)
        samples[first:] += np.exp(np.float32(-4.0) * t) * tone
        note_hz, onset = note_hz * (1.26, 0.84)[index % 2], onset + 0.3
    return _fft(samples)


def _rolling(place: Place, rng: np.random.Generator) -> np.ndarray:
    flutter = 1.0 + 0.9 * _saw(rng.uniform(9.0, 22.0) * _sway(0.1, 3.0, rng)) * 2.0
    rough = np.maximum(flutter, 0.0) * _noise(rng) * _sway(0.4, 1.5, rng)
    return _fft(rough) * _peak(place.pitch * rng.uniform(800.0, 1_500.0), 0.7)


_PARTS = {
    "talk": _talk,
    "steps": _steps,
    "clatter": _clatter,
    "engine": _engine,
    "whine": _whine,
    "passing": _passing,
    "birds": _birds,
    "chime": _chime,
    "rolling": _rolling,
}


def _room(echo_s: float, rng: np.random.Generator) -> np.ndarray:
    """Spectrum of a direct path and an exponentially decaying tail (60 dB in ``echo_s``) of equal energy at 1 s."""
    # applied circularly: what rings on past the end of the clip is heard at its beginning, as if from before it
    tail = np.exp(-6.9 / echo_s * _TIMES_S) * _noise(rng)
    tail *= np.float32(np.sqrt(min(echo_s, 1.5)) / np.sqrt(np.sum(tail**2)))
    tail[0] += 1.0
    return _fft(tail)


def _noise(rng: np.random.Generator) -> np.ndarray:
    first = int(rng.integers(len(_pool()) - SAMPLES))
    return _pool()[first : first + SAMPLES]


@lru_cache(maxsize=1)
def _pool() -> np.ndarray:
    # drawing normal numbers costs as much as filtering them, so slices of one long draw serve all parts
    return np.random.default_rng(20_220).standard_normal(1 << 21, dtype=np.float32)


def _fft(samples: np.ndarray) -> np.ndarray:
    return np.fft.rfft(samples.astype(np.float32, copy=False))


def _rms(spectrum: np.ndarray) -> float:
    return float(np.sqrt(2.0 * np.vdot(spectrum, spectrum).real) / SAMPLES)


@lru_cache(maxsize=32)
def _curve(anchors_hz: tuple[float, ...], levels_db: tuple[float, ...]) -> np.ndarray:
    octaves = np.interp(_OCTAVES, np.log2(anchors_hz), np.divide(levels_db, 6.0206))
    return np.exp2(octaves.astype(np.float32))


def _peak(centre_hz: float, width_octaves: float) -> np.ndarray:
    distance = (_OCTAVES - np.float32(np.log2(centre_hz))) * np.float32(1.0 / width_octaves)
    return np.exp(np.float32(-0.5) * distance * distance)


def _sway(depth: float, speed_hz: float, rng: np.random.Generator) -> np.ndarray:
    """A positive random modulation around 1 of about ``speed_hz``, (total,), in steps of a millisecond."""
    knots = rng.standard_normal(int(2.0 * speed_hz * SAMPLES / RATE_HZ) + 2)
    slow = np.interp(np.linspace(0.0, len(knots) - 1.0, SAMPLES // _CONTROL), np.arange(len(knots)), knots)
    return np.repeat(np.exp(depth * slow).astype(np.float32), _CONTROL)


def _phase(frequency_hz: np.ndarray) -> np.ndarray:
    cycles = np.cumsum(frequency_hz, dtype=np.float64) / RATE_HZ
    return ((2.0 * np.pi) * (cycles - np.floor(cycles))).astype(np.float32)


def _saw(frequency_hz: np.ndarray | float) -> np.ndarray:
    """A sawtooth of the given instantaneous frequency, (total,), in [-0.5, 0.5]."""
    cycles = np.cumsum(np.broadcast_to(frequency_hz, _TIMES_S.shape), dtype=np.float64)
    cycles *= 1.0 / RATE_HZ
    cycles -= np.floor(cycles)
    return cycles.astype(np.float32) - np.float32(0.5)


def _arrivals(rate: float, irregularity: float, rng: np.random.Generator) -> np.ndarray:
    """Times (s) of about ``rate`` events per second, the more regular the smaller ``irregularity``."""
    gap = 1.0 / max(rate, 0.3)
    gaps = gap * np.exp(irregularity * rng.standard_normal(int(2 * _TIMES_S[-1] / gap) + 2))
    times = np.cumsum(gaps) - gap * rng.uniform(0.0, 2.0)
    return times[(times >= 0.0) & (times < _TIMES_S[-1])]


def _bursts(times_s: np.ndarray, decay_s: float, rng: np.random.Generator) -> np.ndarray:
    """Envelope (total,) of bursts of random strength that start at ``times_s`` and decay."""
    envelope = np.zeros(SAMPLES, dtype=np.float32)
    shape = np.exp(-_TIMES_S[: int(6 * decay_s * RATE_HZ)] / decay_s)
    for time in times_s:
        first = int(time * RATE_HZ)
        count = min(len(shape), SAMPLES - first)
        if count > 0:
            envelope[first : first + count] += rng.uniform(0.3, 1.0) * shape[:count]
    return envelope
