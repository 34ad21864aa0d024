"""Published designs in a space: on their own front ends (those that hear one microphone), or as points of it."""

from __future__ import annotations

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.frontends import FRONTENDS
from asc_search.nets.systems import SYSTEMS

_NAMED = {
    "sscp": "dcase2024-baseline",
    "serfr": "serfr",
    "bcres2": "bcres2",
    "dsmn": "dsmn",
}  # designs whose name begins so hear through the front end of that name

REFERENCES: dict[str, FrontEnd] = {
    name: FRONTENDS[own]
    for name in SYSTEMS
    if (own := name if name in FRONTENDS else _NAMED.get(name.partition("-")[0])) and FRONTENDS[own].channels == 1
}

# Designs that a space may hold as one of its points.
PRESETS: dict[str, tuple[str, int, float, float, float]] = {
    # name: block family, base, multiplier, expansion, pruning ratio
    "dcase2024-baseline": ("cp", 32, 1.8, 2.1, 0.0),
    "sscp-mobile": ("sscp", 32, 1.8, 2.2, 0.0),
    "sscp-s1": ("sscp", 64, 1.8, 2.2, 0.5),
}
