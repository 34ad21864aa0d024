"""One tree of errors a user can act on.

Everything derived from :class:`AscSearchError` is printed by the command line as one message without a traceback;
the message says where, what is wrong, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_LISTED = 20


class AscSearchError(Exception):
    """Base of every error a user's input, data or machine can cause."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in one place: ``where`` (file, file:line or key), ``what`` is wrong and what is allowed."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class ProblemsError(AscSearchError):
    """Several problems found in one pass, all listed (at most ``MAX_LISTED``, then a count)."""

    def __init__(self, headline: str, problems: Sequence[Problem], advice: str = "") -> None:
        self.problems = tuple(problems)
        lines = [headline, *(f"  {problem}" for problem in self.problems[:MAX_LISTED])]
        if len(self.problems) > MAX_LISTED:
            lines.append(f"  ... and {len(self.problems) - MAX_LISTED} more ({len(self.problems)} in all)")
        if advice:
            lines.append(advice)
        super().__init__("\n".join(lines))


class SpaceError(ProblemsError):
    """The YAML space has mistakes."""


class DataError(ProblemsError):
    """The data source has mistakes: columns, files, labels, samples."""


class NetworkError(AscSearchError):
    """A network cannot be built as specified; the message names the block and the parameter."""


class InfeasibleSpaceError(AscSearchError):
    """The space has (almost) no candidate within the budget."""


class RunFolderError(AscSearchError):
    """The run folder is in use, damaged, or belongs to another space."""


class WeightsError(AscSearchError):
    """A weights file is missing, not a plain state_dict, or of another architecture."""


class DivergedError(AscSearchError):
    """A training produced a non-finite or exploding loss; ends that trial, never the study."""


class ExportError(ProblemsError):
    """A submission would break the rules of its profile, or an artefact is not the network it was made of."""


class ArtefactError(AscSearchError):
    """A folder is not a deployable artefact, or one whose files do not belong together."""


class MissingExtraError(AscSearchError):
    """A part of asc-search needs packages that are not installed; the message is the command that installs them."""
