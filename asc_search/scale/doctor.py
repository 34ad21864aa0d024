"""`asc-search doctor`: what is wrong with a run, and mending it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from asc_search import __version__
from asc_search.distill.teachers import whole_note
from asc_search.errors import AscSearchError
from asc_search.files import read_json, write_json
from asc_search.progress import results
from asc_search.scale.worker import join
from asc_search.study.finished import reopened_space
from asc_search.study.identity import check_identity
from asc_search.study.lease import epochs_of, shared, take_back
from asc_search.study.owner import Owner
from asc_search.study.run_folder import RunFolder
from asc_search.study.storage import WORKER
from asc_search.train.checkpoint import load as load_checkpoint

SKEW_S = 5.0
_PART = re.compile(r"\..*\.(\d+)\.part")


@dataclass(frozen=True)
class Finding:
    """Something wrong: ``what`` of ``kind``, and what was done or can be done about it."""

    kind: str
    what: str
    mended: bool
    advice: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(run: RunFolder, url: str | None, fix: bool, grace_s: int) -> list[Finding]:
    """Everything wrong with ``run``; with ``fix`` what can be mended is.

    Raises:
        RunFolderError: it has no study, or its database cannot be opened.
    """
    study = join(run, url, grace_s)
    trials = study.get_trials(deepcopy=False)
    checks: list[Iterator[Finding]] = [
        _identities(run, study),
        _versions(run),
        _clock(study),
        _stale(study, trials, fix),
        _trials(run, trials, fix),
        _teachers(run, fix),
        _finalists(run),
        _leftovers(run, fix),
    ]
    return [finding for check in checks for finding in check]


def tell(findings: list[Finding]) -> None:
    """Print the findings."""
    for one in findings:
        outcome = "mended" if one.mended else one.advice
        results.print(f"{one.kind}: {one.what}" + (f" [{outcome}]" if outcome else ""), markup=False, soft_wrap=True)
    results.print("nothing is wrong" if not findings else f"{len(findings)} findings", markup=False)


def _identities(run: RunFolder, study: optuna.Study) -> Iterator[Finding]:
    identity = run.identity or {}
    try:
        space = reopened_space(run)
        check_identity(study, space, identity.get("data"))
    except AscSearchError as error:
        yield Finding("space or data", str(error), False, "take the folder and the database of one run")
        return
    if identity.get("space") not in (None, space.digest()):
        yield Finding("space", f"{run.space_file} is not the space the run was started with", False, "restore the file")
    kind, _, path = space.data.source.partition(":")
    if path and not Path(path).exists():
        yield Finding("data", f"{kind}: {path} is not there", False, "mount or copy the recordings")


def _versions(run: RunFolder) -> Iterator[Finding]:
    identity = run.identity or {}
    here = {"asc_search": __version__, "python": platform.python_version()}
    there = {key: identity.get(key) for key in here} | dict(identity.get("versions", {}))
    for name, started in there.items():
        now = here.get(name) or _installed(name)
        if started is not None and now != started:
            what = f"{name} was {started} when the run was started, here it is {now or 'missing'}"
            yield Finding(
                "version", what, False, "results may differ in the last digits; install the former to rule it out"
            )


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _clock(study: optuna.Study) -> Iterator[Finding]:
    skew = (datetime.now(UTC).replace(tzinfo=None) - shared(study).clock()).total_seconds()
    if abs(skew) > SKEW_S:
        what = f"this machine is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the database"
        yield Finding("clock", what, False, "times in reports will be off; set the clock (NTP)")


def _stale(study: optuna.Study, trials: list[FrozenTrial], fix: bool) -> Iterator[Finding]:
    silence, grace = shared(study).silence(study._study_id), shared(study).grace_period or 0
    stale = [trial for trial in trials if trial.state is TrialState.RUNNING and _is_stale(trial, silence, grace)]
    if fix and stale:
        take_back(study, stale, Owner.here())
        # what could not be taken back has meanwhile been taken up or ended by a worker
    for trial in stale:
        worker = Owner.parse(trial.user_attrs.get(WORKER))
        quiet = silence.get(trial._trial_id)
        heard = "" if quiet is None else f", silent for {quiet:.0f} s"
        what = f"trial {trial.number} runs, but its worker {worker.name if worker else '?'} is gone{heard}"
        yield Finding("stale trial", what, fix, "--fix gives it back; so does the next worker")


def _is_stale(trial: FrozenTrial, silence: dict[int, float], grace_s: float) -> bool:
    worker = Owner.parse(trial.user_attrs.get(WORKER))
    return worker is None or worker.gone or silence.get(trial._trial_id, 0.0) > grace_s


def _trials(run: RunFolder, trials: list[FrozenTrial], fix: bool) -> Iterator[Finding]:
    """Notes of rungs that trained trials left, and checkpoints that unfinished ones go on from."""
    for trial in trials:
        attrs = trial.user_attrs
        if "digest" not in attrs:
            continue
        folder = run.trial(trial.number, attrs["digest"])
        if trial.state is TrialState.COMPLETE and not str(attrs.get("reason", "")).startswith("the same candidate"):
            for rung, result in enumerate(attrs["rungs"]):
                note = folder / f"rung-{rung}.json"
                if read_json(note) != result:
                    if fix:
                        write_json(note, result)
                    what = f"{note} is missing or not what the study says"
                    yield Finding("artefact", what, fix, "--fix writes it anew")
        elif trial.state is TrialState.WAITING and epochs_of(trial):
            checkpoint = folder / "checkpoint.safetensors"
            if load_checkpoint(checkpoint) is None:
                if fix:
                    checkpoint.unlink(missing_ok=True)
                    what = "trained anew from its first epoch"
                else:
                    what = "damaged" if checkpoint.exists() else "missing"
                told = f"{checkpoint}: {what} (trial {trial.number} had {epochs_of(trial)} epochs)"
                yield Finding("checkpoint", told, fix, "--fix lets it be trained anew; so does the next worker")


def _teachers(run: RunFolder, fix: bool) -> Iterator[Finding]:
    """What teachers said, and that it is whole."""
    for note in sorted((run.root / "logits").glob("*.json")):
        if whole_note(note) is None:
            if fix:
                note.unlink()
            what = f"{note.stem}: what this teacher said is missing or cut"
            yield Finding("teacher", what, fix, "--fix lets the next worker make it anew; so does it without")


def _finalists(run: RunFolder) -> Iterator[Finding]:
    space: Callable[[], Any] = lambda: reopened_space(run)  # noqa: E731
    listed = read_json(run.root / "finalists.json")
    if listed is None:
        return
    from asc_search.study.retrain import MODEL, Finalist

    known = space()
    for finalist in map(Finalist.from_json, listed):
        for seed in range(known.retrain.seeds):
            folder = run.finalist(finalist.digest, known.retrain.epochs, seed)
            if (folder / "validation.json").exists() and not (folder / MODEL).exists():
                what = f"{folder / MODEL} of {finalist.name} is missing"
                yield Finding("artefact", what, False, "delete its validation.json and run again: it is trained anew")


def _leftovers(run: RunFolder, fix: bool) -> Iterator[Finding]:
    """Files that killed processes left half written."""
    for path in sorted(run.root.rglob(".*.part")):
        found = _PART.fullmatch(path.name)
        if found is None or _runs(int(found[1])):
            continue
        if fix and path.is_file():
            path.unlink()
        yield Finding("leftover", f"{path} was left half written", fix and not path.exists(), "--fix deletes it")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
