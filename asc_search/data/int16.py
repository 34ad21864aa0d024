"""Samples as int16 with a power of two, the form in which audio is kept. NumPy alone."""

from __future__ import annotations

import math

import numpy as np

SMALLEST_EXPONENT = -40  # below this a clip is as good as silent
FULL_SCALE = 2.0**15


def as_int16(samples: np.ndarray) -> tuple[np.ndarray, int]:
    """Float ``samples`` as int16 and the exponent e with which they are int16 * 2**(e - 15).

    The power of two is the smallest that clips nothing: a peak above 1 stays whole, a quiet clip keeps its low bits, and
    16-bit audio is kept exactly.
    """
    mantissa, exponent = math.frexp(max(-float(samples.min()), float(samples.max()) * 32768 / 32767))
    exponent = max(exponent - (mantissa == 0.5), SMALLEST_EXPONENT) if mantissa else 0
    return np.rint(samples * np.float32(2.0 ** (15 - exponent))).astype("<i2"), exponent
