"""Published designs on their own front ends: those that hear one microphone."""

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
