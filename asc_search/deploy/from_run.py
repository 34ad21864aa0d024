"""From a finished run to a folder that is deployed: graphs, front end, labels, card, golden clip, each checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asc_search import __version__
from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.frontends import front_end
from asc_search.compress.calibration import calibration_features, post_training
from asc_search.compress.pt2e import check_int8
from asc_search.data.source import OpenedSource
from asc_search.deploy import artefact as names
from asc_search.deploy.artefact import open_artefact
from asc_search.deploy.check import TOLERANCE, Reference, open_test
from asc_search.deploy.golden import write_golden
from asc_search.deploy.model_card import model_card
from asc_search.deploy.models import (
    WAVEFORM,
    Measured,
    latencies,
    refuse_other_networks,
    torch_run,
    write_executorch,
    write_onnx,
    write_torch,
)
from asc_search.deploy.session import EXACT, extra, open_session
from asc_search.errors import ExportError, Problem
from asc_search.files import write_folder_atomically, write_json
from asc_search.space.space import Space
from asc_search.study.finished import chosen_finalist, reopened
from asc_search.study.int8 import FLOAT
from asc_search.study.retrain import MODEL, Finalist, Trained, measure_on_test
from asc_search.study.run_folder import RunFolder
from asc_search.train.candidate import Material
from asc_search.train.clip_scores import AUDIBLE_DB
from asc_search.train.model_file import Model, load_model

FORMATS = ("onnx", "executorch", "torch")
ANY_LOSS = 100.0  # points of accuracy
EXACT_NOTE = "for x86 CPUs without VNNI set onnxruntime's `{}` to {}, as `asc-search predict` does".format(*EXACT)
WHAT = {
    names.MODEL: "network, features in, logits out",
    names.WAVEFORM_MODEL: "front end and network, one window of samples in, logits out",
    names.INT8: f"the network in int8 (QDQ, per channel), calibrated on training clips; {EXACT_NOTE}",
    names.WAVEFORM_INT8: f"front end (float) and the network in int8; {EXACT_NOTE}",
    names.PROGRAM: "the network in int8 for ExecuTorch (XNNPACK), calibrated on training clips; features of one window in",
    names.TORCH_MODEL: "weights and specification for asc-search (`load_model`); no code in it",
    names.FRONTEND: "how samples become features",
    names.LABELS: "the scenes in the order of the logits",
    names.GOLDEN_WAV: "a generated clip for checking a port",
    names.GOLDEN_FEATURES: "its features",
    names.GOLDEN_NOTE: "its scores",
}

_TWIN = (
    "of the float network that the int8 finalist was quantised from, which takes more bytes than the finalist's budget"
)
FLOAT_TWIN = {
    names.MODEL: f"{WHAT[names.MODEL]}; {_TWIN}",
    names.WAVEFORM_MODEL: f"{WHAT[names.WAVEFORM_MODEL]}; {_TWIN}",
}


@dataclass(frozen=True)
class Deployed:
    """What was written: the models by file name, the PyTorch network beside them (and the int8 one that int8 models were made
    of, unless onnxruntime quantised), median milliseconds a window.

    ``front_end_difference`` is that of the waveform graphs' features from PyTorch's on the test split, in log units.
    """

    folder: Path
    finalist: str
    models: dict[str, Measured]
    torch_accuracy: float
    int8_accuracy: float | None
    latency_ms: dict[str, float]
    front_end_difference: float | None


@dataclass(frozen=True)
class _Source:
    """What an artefact is made of."""

    run: RunFolder
    space: Space
    opened: OpenedSource
    finalist: Finalist
    trained: Trained
    model: Model  # float
    stored: Model  # the same, or of an int8 finalist that

    @property
    def is_int8(self) -> bool:
        """Whether the finalist is int8 itself, beside which lies the float network it was quantised from."""
        return self.stored is not self.model

    @property
    def int8(self) -> Model:
        """The finalist in int8: as it was stored, else quantised now."""
        if self.is_int8:
            return self.stored
        return post_training(self.model, Material(self.run.root, self.opened.clips.split("train"), {}))


def deploy_run(
    run: RunFolder,
    format_: str,
    out: Path,
    *,
    trial: int | None = None,
    int8: bool = True,
    int8_tolerance: float | None = None,
) -> Deployed:
    """Write the artefact of a finished run to the folder ``out``: the finalist of ``trial``, or the best on validation.

    Every model is run on the test split once it is written. It must agree with the PyTorch network it was made of on 99 % of
    the clips and be within half a point of its accuracy, and int8 may lose ``int8_tolerance`` points to the float network;
    else nothing is left. By default that is half a point for a network that is quantised here, and no limit for a finalist
    that is int8 itself: what it loses was measured, and allowed, in the run.

    Raises:
        ExportError: unknown format, ``out`` is in use, or a model is not the network; says the figures.
        RunFolderError: the run is unfinished, in use, its data has changed, or it has no such finalist.
        MissingExtraError: onnx or onnxruntime is not installed, or for ExecuTorch or an int8 finalist the extra ``int8``.
    """
    _check_wishes(format_, out)
    with run.locked():
        space, opened = reopened(run)
        finalist, trained = chosen_finalist(run, space, trial)
        stored = load_model(trained.folder / MODEL)
        model = load_model(trained.folder / FLOAT) if stored.candidate.weight_type == "int8" else stored
        source = _Source(run, space, opened, finalist, trained, model, stored)
        _check_front_end(source.model.candidate.frontend)
        done: list[Deployed] = []
        write_folder_atomically(
            out, lambda folder: done.append(_write(source, folder, out, format_, int8, int8_tolerance))
        )
    return done[0]


def _write(
    source: _Source, folder: Path, out: Path, format_: str, int8: bool, int8_tolerance: float | None
) -> Deployed:
    """Fill ``folder``, which becomes ``out``."""
    model, root, clips = source.model, source.run.root, source.opened.clips
    frontend, test = model.candidate.frontend, clips.split("test")
    network, difference = torch_run(model.whole), None
    reference = open_test(root, test, frontend, network)
    int8_reference = None
    if format_ == "onnx":
        quantised = None
        if int8 and source.is_int8:
            int8_reference = open_test(root, test, frontend, torch_run(source.stored.whole))
            quantised = source.stored, int8_reference
        elif int8:
            quantised = calibration_features(root, clips.split("train"), frontend)
        models, difference = write_onnx(folder, model, reference, quantised)
    elif format_ == "executorch":
        int8_model = source.int8
        int8_reference = open_test(root, test, frontend, torch_run(int8_model.whole))
        models = write_executorch(folder, int8_model, reference, int8_reference)
    else:
        reference = open_test(root, test, frontend, torch_run(source.stored.whole))
        models = write_torch(folder, source.trained.folder / MODEL, reference)
    usual = ANY_LOSS if source.is_int8 else TOLERANCE
    refuse_other_networks(models, usual if int8_tolerance is None else int8_tolerance)
    write_json(folder / names.FRONTEND, frontend_note(frontend))
    labels = "".join(f"{name}\n" for name in model.classes)
    (folder / names.LABELS).write_text(labels, encoding="utf-8")
    heard = {name: open_session(folder / name) for name in models if name in WAVEFORM.values()}
    if names.PROGRAM in models:
        heard[names.PROGRAM] = open_artefact(folder).run
    write_golden(folder, frontend, model.classes, torch_run(front_end(frontend)), network, heard)
    (folder / names.CARD).write_text(_card(source, folder), encoding="utf-8")
    open_artefact(folder)  # as a person will
    taken = latencies(folder, model, models)
    accuracies = reference.accuracy, None if int8_reference is None else int8_reference.accuracy
    done = Deployed(out, source.finalist.name, models, *accuracies, taken, difference)
    write_json(folder / names.MANIFEST, _manifest(done, source, folder, reference))
    return done


def _check_wishes(format_: str, out: Path) -> None:
    problems = []
    if format_ not in FORMATS:
        problems.append(Problem("--format", f"{format_!r} is not known; one of {', '.join(FORMATS)}"))
    if out.exists() and not out.is_dir():
        problems.append(Problem(f"--out {out}", "is a file; name a folder"))
    elif out.is_dir() and any(out.iterdir()):
        problems.append(Problem(f"--out {out}", "is not empty; name another folder, or delete this one"))
    if problems:
        raise ExportError("Nothing was exported:", problems)
    if format_ == "onnx":
        extra("onnx")
        extra("onnxruntime")
    if format_ == "executorch":
        check_int8()


def _check_front_end(frontend: FrontEnd) -> None:
    if frontend.channels != 1 or frontend.needs_statistics:
        found = f"{frontend.channels} channels, standardise: {frontend.standardise}"
        what = f"{found}; what can be exported has one channel and no statistics of the training part"
        raise ExportError("Nothing was exported:", [Problem("front end", what)])


def frontend_note(frontend: FrontEnd) -> dict[str, Any]:
    """What ``frontend.json`` holds: the front end, and in words what a port must know."""
    return {
        "frontend": frontend.to_json(),
        "input": {
            "samples": frontend.samples,
            "features": list(frontend.shape),
            "layout": "batch, channel, freq, time",
        },
        "resampling": "soxr HQ, mean of the channels",
        "frames": "periodic Hann window in the middle of n_fft samples; centre: every hop's sample, ends reflected",
        "features": "log(mel filters @ |rfft|^2 + log_floor)" if frontend.kind == "logmel" else "samples times scale",
        "windows": "end to end; a shorter file is repeated to fill one",
        "clip_score": f"mean of softmax over the windows within {AUDIBLE_DB:g} dB of the loudest",
    }


def _card(source: _Source, folder: Path) -> str:
    clips, trained = source.opened.clips, source.trained
    splits = {name: clips.split(name) for name in ("train", "validation", "test")}
    seen = splits["train"].seen_devices
    metrics = {
        "validation": trained.validation,
        "test": measure_on_test(trained, splits["test"], source.run.root, seen),
    }
    counts = {name: len(part) for name, part in splits.items()}
    said = {**WHAT, **FLOAT_TWIN} if source.is_int8 else WHAT
    files = {name: what for name, what in said.items() if (folder / name).exists()}
    return model_card(source.space, source.finalist, trained, metrics, source.opened.synthetic, counts, files)


def _manifest(done: Deployed, source: _Source, folder: Path, reference: Reference) -> dict[str, Any]:
    files: Mapping[str, Path] = {path.name: path for path in sorted(folder.iterdir())}
    taken = {name: round(value, 3) for name, value in done.latency_ms.items()}
    models = {name: {**one.to_json(), "latency_ms": taken.get(name)} for name, one in done.models.items()}
    return {
        "asc_search": __version__,
        "run": source.run.root.resolve().name,
        "finalist": done.finalist,
        "window_s": source.model.candidate.frontend.seconds,
        "test_clips": len(reference.clips),
        "pytorch": {
            "accuracy": round(done.torch_accuracy, 5),
            **({} if done.int8_accuracy is None else {"int8_accuracy": round(done.int8_accuracy, 5)}),
            "latency_ms": taken["pytorch"],
        },
        "front_end_difference": done.front_end_difference,
        "models": models,
        "sha256": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()},
    }
