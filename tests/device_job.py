"""Whole jobs, and scores as of submissions, on one device: python device_job.py DEVICE SPACE.yaml ...

DEVICE is cpu, cuda, or apart (``separate_device``). Run folders lie beside the spaces. The last line of what it prints is JSON:
for each space what was measured, by network, or how it failed.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import separate_device
import torch

from asc_search.train import fit


def main(name: str, spaces: Sequence[Path]) -> None:
    torch.set_num_threads(1)
    apart = name == separate_device.NAME
    device = separate_device.begin() if apart else torch.device(name)
    fit.device = lambda: device  # before others take it by name
    found = {}
    with separate_device.Mode() if apart else nullcontext():
        for space in spaces:
            try:
                found[space.stem] = measured(space, space.with_suffix(f".{name}"))
            except Exception:
                found[space.stem] = traceback.format_exc()
    print(json.dumps(found))


def measured(space_file: Path, folder: Path) -> dict[str, list[float]]:
    """Log loss of each network on the test split, and the best one's probabilities of its clips, as a submission has them."""
    from asc_search.export.scores import evaluation_scores
    from asc_search.job import Wishes, run_job
    from asc_search.space.load import load
    from asc_search.study.finished import chosen_finalist, reopened
    from asc_search.study.retrain import MODEL
    from asc_search.study.run_folder import RunFolder
    from asc_search.train.model_file import load_model

    run = RunFolder(folder)
    rows = run_job(load(space_file), run, Wishes(parallel=1))
    space, opened = reopened(run)
    model = load_model(chosen_finalist(run, space, None)[1].folder / MODEL)
    scores = evaluation_scores(folder, {"best": model}, opened.clips.split("test"))["best"]
    return {**{row.name: list(row.test_log_loss) for row in rows}, "probabilities": scores.flatten().tolist()}


if __name__ == "__main__":
    main(sys.argv[1], [Path(name) for name in sys.argv[2:]])
