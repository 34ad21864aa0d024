"""MobileNetV3-Large of any width on one-channel log-mel, as EfficientAT names and trains it on AudioSet.

Source: Howard et al., "Searching for MobileNetV3" (2019), table 1; Schmid et al., EfficientAT (2023).
"""

from __future__ import annotations

from functools import partial

from asc_search.nets.blocks import family
from asc_search.nets.blocks.common import round_width
from asc_search.nets.blocks.mn import EPS
from asc_search.nets.spec import NetSpec

# Per block at width 1: kernel, stride, expanded width, squeeze-excitation, activation, output width.
LAYOUT = (
    (3, 1, 16, "none", "relu", 16),
    (3, 2, 64, "none", "relu", 24),
    (3, 1, 72, "none", "relu", 24),
    (5, 2, 72, "se", "relu", 40),
    (5, 1, 120, "se", "relu", 40),
    (5, 1, 120, "se", "relu", 40),
    (3, 2, 240, "none", "hard_swish", 80),
    (3, 1, 200, "none", "hard_swish", 80),
    (3, 1, 184, "none", "hard_swish", 80),
    (3, 1, 184, "none", "hard_swish", 80),
    (3, 1, 480, "se", "hard_swish", 112),
    (3, 1, 672, "se", "hard_swish", 112),
    (5, 2, 672, "se", "hard_swish", 160),
    (5, 1, 960, "se", "hard_swish", 160),
    (5, 1, 960, "se", "hard_swish", 160),
)


def mn(width: float = 1.0, classes: int = 527) -> NetSpec:
    """MobileNetV3-Large with every width times ``width``, rounded to multiples of 8; 1 s of ``TaggerFrontEnd``.

    At width 0.4: 983,599 parameters, 12,761,095 MACs; at 1.0: 4,876,831 and 63,029,239.
    """
    channels = round_width(16 * width)
    layers = [family("mn_stem").layer(1, channels, (2, 2))]
    for kernel, stride, expanded, gate, act, out in LAYOUT:
        hidden, wide = round_width(expanded * width), round_width(out * width)
        options = {"expand": hidden != channels, "expansion": hidden / channels, "attachment": gate}
        block = family("mn").layer(channels, wide, (stride, stride), kernel=kernel, act=act, **options)
        layers.append(block)
        channels = wide
    options = {"features": 6 * channels, "hidden": round_width(1280 * width), "eps": EPS}
    head = family("linear_head").layer(channels, classes, act="hard_swish", dropout=0.2, **options)
    return NetSpec((1, 128, 100), classes, (*layers, head))


SYSTEMS = {"mn04": partial(mn, width=0.4), "mn10": mn}
