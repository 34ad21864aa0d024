"""Log-mel windows of clips, the input of students and network teachers."""

from __future__ import annotations

from pathlib import Path

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.logmel import LogMel
from asc_search.data.clips import Clips
from asc_search.train.windows import Windows, transformed_windows


def logmel_windows(folder: Path, clips: Clips, frontend: FrontEnd) -> Windows:
    """Windows (windows, 1, mels, frames) of ``clips`` through ``frontend``, kept under ``folder``/features."""
    label = f"features {frontend.mels} mels, hop {frontend.hop}"
    key = {"transform": "logmel", **frontend.to_json()}
    return transformed_windows(
        folder / "features", clips, frontend.rate_hz, frontend.seconds, LogMel(frontend), key, label
    )
