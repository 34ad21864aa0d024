"""The data of a run: opened as the space says, with what was left out on record."""

from __future__ import annotations

from pathlib import Path

from asc_search.data.folder import check_clip_channels
from asc_search.data.source import OpenedSource, open_source
from asc_search.errors import DataError
from asc_search.progress import console
from asc_search.space.sections import check_groups
from asc_search.space.space import Space
from asc_search.space.teachers import NetworkTeacher
from asc_search.study.run_folder import RunFolder


def open_data(
    space: Space, run: RunFolder, skip_bad_files: bool = False, allow_leaky_split: bool = False
) -> OpenedSource:
    """The space's data, split; files left out are listed in ``skipped_files.txt`` of the run.

    Raises:
        DataError: the source cannot be used; lists every reason.
        SpaceError: the space groups other classes than the data have.
    """
    data = space.data
    opened = open_source(
        data.source,
        run.root / "data",
        labels=data.labels or None,
        train_folds=data.train_folds or None,
        test_folds=data.test_folds or None,
        validation_fraction=data.validation_fraction,
        validation_devices=data.validation_devices,
        seed=data.seed,
        subset=None if data.subset == "100%" else data.subset,
        segments=data.segments,
        lists=Path(space.file).parent / Path(data.lists).expanduser() if data.lists else None,
        skip_bad_files=skip_bad_files,
        allow_leaky_split=allow_leaky_split or data.allow_leaky_split,
    )
    check_groups(space, opened.clips.classes)
    for channels in sorted(_channels(space)):
        if problems := check_clip_channels(opened.clips, channels):
            what = f"{data.source} cannot be heard with {channels} channels"
            raise DataError(
                what, problems, "Take a source with as many (tau2019 is binaural), or frontend.channels: 1."
            )
    heard = opened.clips.split("validation").devices
    if absent := [device for device in data.validation_devices if device not in heard]:
        console.print(
            f"data.validation_devices: no clip of {', '.join(absent)} is in the validation part",
            markup=False,
            soft_wrap=True,
        )
    if opened.skipped:
        listing = run.root / "skipped_files.txt"
        listing.write_text("".join(f"{problem}\n" for problem in opened.skipped), encoding="utf-8")
        console.print(f"{len(opened.skipped)} bad files left out, listed in {listing}", markup=False, soft_wrap=True)
    return opened


def _channels(space: Space) -> set[int]:
    """The numbers of channels that students and teachers may ask for."""
    found = {value for one in space.parameters if one.name == "frontend.channels" for value in one.domain.corners}
    networks = [one for one in space.pool.values() if isinstance(one, NetworkTeacher)]
    return found | {value for one in networks for key, value in one.frontend if key == "channels"}
