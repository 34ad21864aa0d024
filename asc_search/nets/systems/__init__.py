"""Published designs by name, one report a file."""

from __future__ import annotations

from collections.abc import Callable

from asc_search.errors import NetworkError
from asc_search.nets.spec import NetSpec
from asc_search.nets.systems import bc_res2, dsmn, mn, mobile, rfr, seoul

SYSTEMS: dict[str, Callable[..., NetSpec]] = {
    **mobile.SYSTEMS,
    **bc_res2.SYSTEMS,
    **dsmn.SYSTEMS,
    **rfr.SYSTEMS,
    **seoul.SYSTEMS,
    **mn.SYSTEMS,
}

WINDOW_SECONDS = {"seoul-raw": 10.0, "seoul-mel": 10.0}  # of audio in a design's own input; the others hear one second


def system(name: str) -> Callable[..., NetSpec]:
    """The design called ``name``; its keyword arguments are what can be varied.

    Raises:
        NetworkError: unknown name; the message lists those there are.
    """
    if name not in SYSTEMS:
        raise NetworkError(f"unknown design {name!r}; known: {', '.join(SYSTEMS)}")
    return SYSTEMS[name]
