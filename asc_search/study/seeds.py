"""Seeds that follow from what they are for."""

from __future__ import annotations

import hashlib


def derived_seed(*parts: object) -> int:
    """A seed from parts such as (study seed, trial number): the same parts, the same seed."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")
