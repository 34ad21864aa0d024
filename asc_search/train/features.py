"""Windows of clips through a front end, the input of students and network teachers."""

from __future__ import annotations

from pathlib import Path

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.frontends import front_end
from asc_search.data.clips import Clips
from asc_search.train.windows import Windows, transformed_windows


def frontend_windows(folder: Path, clips: Clips, frontend: FrontEnd) -> Windows:
    """Windows (windows, *frontend.shape) of ``clips`` through ``frontend``, kept under ``folder``/features."""
    label = "waveforms" if frontend.kind == "raw" else f"features {frontend.mels} mels, hop {frontend.hop}"
    key = {"transform": "frontend", **frontend.to_json()}
    return transformed_windows(
        folder / "features", clips, frontend.rate_hz, frontend.seconds, front_end(frontend), key, label
    )
