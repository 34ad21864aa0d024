"""From window scores to a clip's: how many windows a clip has, which of them count, and their mean. NumPy alone."""

from __future__ import annotations

import numpy as np

OVERLAP = 2  # windows start every 1/OVERLAP of their length
AUDIBLE_DB = 40.0  # padding and dead silence say nothing of the label (Piczak 2015 leaves them out, too)


def window_count(duration_s: float, seconds: float) -> int:
    """Windows of ``seconds`` in a clip, at least one (a shorter clip is repeated to fill it)."""
    return 1 + max(0, int((duration_s - seconds) * OVERLAP / seconds + 1e-6))


def level_db(windows: np.ndarray) -> np.ndarray:
    """dB of RMS of waveforms (windows, samples), digital silence at -120: (windows,) float64."""
    return 10 * np.log10(np.square(windows, dtype=np.float64).mean(1) + 1e-12)


def heard(level_db: np.ndarray, clip_of: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(audible, scored) masks of windows from their level in dB, their clip and their number in the clip."""
    loudest = np.full(clip_of.max() + 1, -np.inf)
    np.maximum.at(loudest, clip_of, level_db)
    audible = level_db >= loudest[clip_of] - AUDIBLE_DB
    scored = audible & (index % OVERLAP == 0)
    unscored = ~np.isin(clip_of, clip_of[scored])
    return audible, scored | (unscored & (level_db == loudest[clip_of]))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (rows, classes) float64 of logits (rows, classes)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def clip_probabilities(logits: np.ndarray, clip_of: np.ndarray, clips: int) -> np.ndarray:
    """Softmax of window logits (windows, classes) averaged over each clip's windows: (clips, classes) float64."""
    total = np.zeros((clips, logits.shape[1]))
    np.add.at(total, clip_of, softmax(logits))
    return total / np.bincount(clip_of, minlength=clips)[:, None]
