"""The evaluation clips: unlabelled files numbered from 0, as the organisers publish them."""

from __future__ import annotations

from pathlib import Path

from asc_search.data.clips import Clips
from asc_search.data.folder import check_audio
from asc_search.errors import ExportError, Problem
from asc_search.export.profile import Profile
from asc_search.export.rules import clip_problems


def evaluation_clips(folder: Path, classes: tuple[str, ...]) -> Clips:
    """The unlabelled clips ``<integer>.wav`` of ``folder`` (or its ``audio`` folder), in order of their number.

    Raises:
        ExportError: there are none.
    """
    root = folder / "audio" if (folder / "audio").is_dir() else folder
    names = sorted((path.name for path in root.glob("*.wav") if path.stem.isdecimal()), key=lambda name: int(name[:-4]))
    if not names:
        raise ExportError(
            "The evaluation clips cannot be used:", [Problem(str(folder), "no files named 0.wav, 1.wav, ...")]
        )
    blank = ("",) * len(names)
    return Clips(root, classes, tuple(names), (-1,) * len(names), blank, blank, ("evaluation",) * len(names))


def evaluation_problems(clips: Clips | None, out: Path, practice: bool, profile: Profile) -> list[Problem]:
    """What is wrong with the clips and the file to write, found before anything is trained."""
    problems = [] if out.suffix == ".zip" and not out.is_dir() else [Problem(f"--out {out}", "must name a .zip file")]
    if clips is None:
        return [*problems, Problem("--clips", "give the folder of evaluation clips (0.wav, 1.wav, ...)")]
    expected = len(clips) if practice else profile.evaluation_clips
    problems += clip_problems(f"--clips {clips.root}", clips.files, expected)
    return [*problems, *check_audio(clips).values()]
