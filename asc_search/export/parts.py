"""Which training clips the model of each split may learn from: official lists, or nested subsets of our own."""

from __future__ import annotations

from pathlib import Path

from asc_search.data.clips import Clips
from asc_search.data.splits import list_files, nested_subsets, subset_from_list
from asc_search.errors import Problem
from asc_search.export.profile import FULL, Profile
from asc_search.space.space import Space


def whole_part(space: Space) -> str:
    """The split that the training part of a run is, in percent."""
    return str(space.data.percent)


def split_parts(training: Clips, lists: Path | None, profile: Profile, whole: str = FULL) -> dict[str, Clips]:
    """Training clips of each split: from the official lists, or nested subsets of our own; the split ``whole`` is all."""
    smaller = [split for split in profile.splits if split != whole]
    if lists is None:
        nested = nested_subsets(training, tuple(int(split) for split in smaller)) if smaller else {}
        parts = {str(percentage): part for percentage, part in nested.items()}
    else:
        parts = {split: subset_from_list(training, list_file(lists, split)) for split in smaller}
    return {split: training if split == whole else parts[split] for split in profile.splits}


def allowed_files(lists: Path | None, profile: Profile) -> dict[str, frozenset[str]]:
    """Names the official lists allow each split's model to be trained on; empty without lists."""
    if lists is None:
        return {}
    return {
        split: frozenset(Path(name).name for name in list_files(list_file(lists, split)))
        for split in profile.splits
        if split != FULL
    }


def list_file(lists: Path, split: str) -> Path:
    """The list of a split in a folder of them, as it is published or compressed."""
    plain = lists / f"split{split}.csv"
    return plain if plain.exists() else lists / f"split{split}.csv.gz"


def list_problems(lists: Path | None, profile: Profile, whole: str, practice: bool) -> list[Problem]:
    """What is wrong with the lists given, and splits that the run has not the clips for."""
    problems = []
    needed = [split for split in profile.splits if split != FULL]
    beyond = [split for split in profile.splits if int(split) > int(whole)]
    if beyond:
        what = (
            f"the run heard {whole}% of the training part, {profile.name} asks for models of "
            f"{', '.join(f'{split}%' for split in beyond)}; run with data.subset: 100%"
        )
        problems.append(Problem("data.subset", what))
    if lists is None and needed and not practice:
        what = f"the rules fix the training files of each split; give the folder with {_names(needed)}"
        problems.append(Problem("--splits", what))
    if lists is not None:
        missing = [split for split in needed if not list_file(lists, split).exists()]
        if missing:
            problems.append(Problem(f"--splits {lists}", f"{_names(missing)} not found there"))
    return problems


def _names(splits: list[str]) -> str:
    return ", ".join(f"split{split}.csv" for split in splits)
