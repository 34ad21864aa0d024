"""Files derived from training windows (statistics, corrections, measured errors): named by all they depend on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.data.clips import Clips

VERSION = 1  # raise when the values derived from the same things change


def derived_path(folder: Path, clips: Clips, what: str, *rest: object) -> Path:
    """Where ``what`` (the end of the name), made of ``clips`` and ``rest`` (things whose repr says all about them), is kept."""
    identity = json.dumps([what, clips.digest(), [repr(part) for part in rest], VERSION])
    return folder / "features" / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.{what}"


def bare(frontend: FrontEnd) -> FrontEnd:
    """``frontend`` up to the logarithm: without deltas and standardisation; a raw waveform is as it is."""
    return frontend if frontend.kind == "raw" else replace(frontend, deltas=False, standardise="none")
