"""Write a submission as the zip that the organisers expect, and nothing else into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from asc_search.errors import ExportError, Problem
from asc_search.export.check import check
from asc_search.export.meta_yaml import dump, meta
from asc_search.export.profile import Profile
from asc_search.export.submission import SplitOutput, Submission
from asc_search.files import write_atomically

ROWS_AT_ONCE = 10_000


def write(
    submission: Submission, profile: Profile, out: Path, allowed_files: Mapping[str, frozenset[str]] | None = None
) -> Path:
    """Check ``submission`` and write it to ``out`` (a .zip), whole or not at all; the same submission, the same bytes.

    ``allowed_files`` as in :func:`asc_search.export.check.check`. Returns ``out``.

    Raises:
        ExportError: lists everything the profile forbids, or why the file cannot be written.
    """
    problems = check(submission, profile, allowed_files)
    if out.suffix != ".zip" or out.is_dir():
        problems.append(Problem(str(out), "must name a .zip file"))
    if problems:
        headline = f"{submission.label}: not a valid {profile.name} submission, nothing was written:"
        raise ExportError(headline, problems, "Correct these and export again.")
    try:
        write_atomically(out, lambda part: _fill(part, submission, profile))
    except OSError as error:
        what = f"cannot be read or written: {error.strerror or error}"
        raise ExportError("The submission was not written:", [Problem(str(error.filename or out), what)]) from error
    return out


def csv_blocks(output: SplitOutput, classes: tuple[str, ...], profile: Profile) -> Iterator[bytes]:
    """One output file, tab separated, clips in order of their number, classes in order of the profile.

    ``classes`` names the columns of ``output.probabilities``. Probabilities are float32 with the 9 digits that keep
    them apart, so that the label written is the argmax of the columns written.
    """
    names = [PurePosixPath(name).name for name in output.files]
    numbers = np.asarray([int(name.removesuffix(".wav")) for name in names])
    rows = np.argsort(numbers)
    columns = [classes.index(name) for name in profile.classes]
    probabilities = np.asarray(output.probabilities)[:, columns].astype(np.float32)
    labels = probabilities.argmax(axis=1)
    line = "\t".join(["%s", "%s", *["%.9g"] * len(columns)]) + "\n"
    yield ("\t".join(profile.columns()) + "\n").encode()
    for start in range(0, len(rows), ROWS_AT_ONCE):
        block = rows[start : start + ROWS_AT_ONCE]
        lines = [line % (names[row], profile.classes[labels[row]], *probabilities[row].tolist()) for row in block]
        yield "".join(lines).encode()


def _fill(path: Path, submission: Submission, profile: Profile) -> None:
    outputs = {output.split: output for output in submission.outputs}
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for split in profile.splits:
            with archive.open(_entry(profile.output_entry(submission.label, split)), "w") as handle:
                for block in csv_blocks(outputs[split], submission.classes, profile):
                    handle.write(block)
        archive.writestr(_entry(profile.meta_entry(submission.label)), dump(meta(submission, profile)))
        if submission.technical_report is not None:
            report = submission.technical_report.read_bytes()
            archive.writestr(_entry(profile.report_entries(submission.label)[0]), report)


def _entry(name: str) -> ZipInfo:
    """An entry with a fixed time and fixed rights, so that equal submissions are equal files."""
    entry = ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = ZIP_DEFLATED
    entry.create_system = 3
    entry.external_attr = 0o644 << 16
    return entry
