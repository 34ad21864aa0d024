"""What is wrong with a submission zip, told to a person."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

from asc_search.errors import ExportError, Problem
from asc_search.export.profile import PROFILES, profile_named
from asc_search.export.zip_check import check_zip, labels_in, profile_of
from asc_search.progress import results


def report_on(path: Path, profile_name: str | None, practice: bool) -> bool:
    """Print everything the rules forbid in the zip at ``path``; whether there is nothing.

    The year is that of ``profile_name``, else the zip's own.

    Raises:
        ExportError: unknown profile, no such file, or a zip that does not tell its year.
    """
    if not path.is_file():
        raise ExportError("Nothing to check:", [Problem(str(path), "no such file")])
    profile = profile_of(path) if profile_name is None else profile_named(profile_name)
    if profile is None:
        advice = f"Say which with --profile: {', '.join(PROFILES)}."
        what = "is no readable zip with output files and a meta.yaml of a known year"
        raise ExportError("The year of the submission is not known:", [Problem(str(path), what)], advice)
    problems = check_zip(path, profile, practice)
    kind = f"practice file of {profile.name}" if practice else f"{profile.name} submission"
    if problems:
        count = "1 violation" if len(problems) == 1 else f"{len(problems)} violations"
        lines = [f"{path}: not a valid {kind}, {count}:", *(f"  {problem}" for problem in problems)]
    else:
        with ZipFile(path) as archive:
            labels = ", ".join(labels_in(archive, profile))
        lines = [f"{path}: a valid {kind}: {labels}"]
    results.print("\n".join(lines), markup=False, soft_wrap=True)
    return not problems
