"""A finished run opened again: its space, its data, and the network chosen from its front."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import mean

from asc_search.data.source import OpenedSource
from asc_search.errors import RunFolderError
from asc_search.files import read_json
from asc_search.space.load import loads
from asc_search.space.space import Space
from asc_search.study.dataset import open_data
from asc_search.study.retrain import Finalist, Trained, trained_in
from asc_search.study.run_folder import RunFolder


def reopened(run: RunFolder) -> tuple[Space, OpenedSource]:
    """The space and the data a run was started with.

    Raises:
        RunFolderError: the data is no longer what it was.
        DataError: it cannot be opened.
    """
    space = reopened_space(run)
    opened = open_data(space, run, skip_bad_files=(run.root / "skipped_files.txt").exists(), allow_leaky_split=True)
    if opened.clips.digest() != (run.identity or {}).get("data"):
        raise RunFolderError(f"{run.root}: {space.data.source} is no longer the data this run was trained on")
    return space, opened


def reopened_space(run: RunFolder) -> Space:
    """The space a run was started with, on the data it was started on."""
    identity = run.identity or {}
    space = loads(run.space_file.read_text(encoding="utf-8"), str(run.space_file), Path(identity["folder"]))
    return replace(space, data=replace(space.data, source=identity["source"]))


def chosen_finalist(run: RunFolder, space: Space, trial: int | None) -> tuple[Finalist, Trained]:
    """The finalist of ``trial``, or the one best on validation, with its best seed on validation.

    Raises:
        RunFolderError: the run has no finalists yet, or not this one.
    """
    listed = read_json(run.root / "finalists.json")
    if listed is None:
        raise RunFolderError(f"{run.root}: no finalists yet; let `asc-search run` finish first")
    choices: dict[Finalist, list[Trained]] = {}
    for finalist in map(Finalist.from_json, listed):
        if finalist.role == "finalist" and trial in (None, finalist.trial):
            folders = [run.finalist(finalist.digest, space.retrain.epochs, seed) for seed in range(space.retrain.seeds)]
            runs = [trained for folder in folders if (trained := trained_in(folder)) is not None]
            if runs:
                choices[finalist] = runs
    if not choices:
        known = ", ".join(str(one["trial"]) for one in listed if one["role"] == "finalist")
        raise RunFolderError(f"--trial {trial}: not a finalist of {run.root}; the finalists are trials {known}")
    best = max(choices, key=lambda finalist: mean(one.validation.accuracy for one in choices[finalist]))
    return best, max(choices[best], key=lambda one: one.validation.accuracy)
