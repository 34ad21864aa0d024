"""Teachers out of other runs: a network that was found there teaches here (teacher assistants, self-distillation)."""

from __future__ import annotations

from asc_search.data.clips import Clips
from asc_search.errors import WeightsError
from asc_search.space.teachers import ModelTeacher, RunTeacher
from asc_search.study.finished import chosen_finalist, reopened
from asc_search.study.retrain import MODEL
from asc_search.study.run_folder import existing_run


def from_run(teacher: RunTeacher, training: Clips) -> ModelTeacher:
    """The network of another run that ``teacher`` names.

    Raises:
        RunFolderError: there is no such run, it is not finished, or has no such finalist.
        WeightsError: it was trained on clips that are not in the ``training`` part here, such as test clips.
    """
    run = existing_run(teacher.folder)
    space, opened = reopened(run)
    theirs = opened.clips.split("train")
    allowed = {(training.root / file).resolve() for file in training.all_files}
    others = [file for file in theirs.all_files if (theirs.root / file).resolve() not in allowed]
    if others:
        raise WeightsError(
            f"teacher {teacher.name}: {teacher.folder} was trained on {len(others)} clips that are not in the training part "
            f"here (first: {others[0]}), so it may know what is tested; use a run on the same data, folds and seed"
        )
    finalist, trained = chosen_finalist(run, space, None if teacher.trial < 0 else teacher.trial)
    return ModelTeacher(teacher.name, trained.folder / MODEL, f"{teacher.written}, {finalist.name}")
