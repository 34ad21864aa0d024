"""A deployable artefact: the files of its folder, and the folder read back. Imports no PyTorch unless it must run one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.deploy.session import Run, open_session
from asc_search.errors import ArtefactError
from asc_search.files import read_json

MODEL, WAVEFORM_MODEL = "model.onnx", "model_waveform.onnx"
INT8, WAVEFORM_INT8 = "model_int8.onnx", "model_waveform_int8.onnx"
TORCH_MODEL, PROGRAM = "model.safetensors", "model_int8.pte"
FRONTEND, LABELS, CARD, MANIFEST = "frontend.json", "labels.txt", "model_card.md", "artefacts.json"
GOLDEN_WAV, GOLDEN_NOTE, GOLDEN_FEATURES = "golden.wav", "golden.json", "golden_features.npy"


@dataclass(frozen=True)
class Artefact:
    """What classifies waveforms: ``run`` maps (batch, frontend.samples) float32 to logits (batch, classes)."""

    root: Path
    frontend: FrontEnd
    classes: tuple[str, ...]
    run: Run


def open_artefact(root: Path, int8: bool = False) -> Artefact:
    """The artefact in the folder ``root``: its ONNX graph, or where it has none its ExecuTorch program (always int8) or PyTorch
    weights.

    Raises:
        ArtefactError: ``root`` is not an artefact, lacks the model asked for, or its files disagree.
        MissingExtraError: onnxruntime, or for a program ExecuTorch, is not installed.
    """
    note, labels = read_json(root / FRONTEND), root / LABELS
    if not isinstance(note, dict) or not isinstance(note.get("frontend"), dict) or not labels.is_file():
        raise ArtefactError(
            f"{root}: not an artefact (no {FRONTEND} or {LABELS}); give the folder `asc-search export --format` wrote"
        )
    try:
        frontend = FrontEnd.from_json(note["frontend"])
    except TypeError as error:
        raise ArtefactError(f"{root / FRONTEND}: not a front end of this version of asc-search ({error})") from None
    classes = tuple(labels.read_text(encoding="utf-8").splitlines())
    name = WAVEFORM_INT8 if int8 else WAVEFORM_MODEL
    if (root / name).is_file():
        run = open_session(root / name)
    elif (root / PROGRAM).is_file():
        name, run = PROGRAM, _program_run(root / PROGRAM, frontend)
    elif int8:
        raise ArtefactError(f"{root}: has no {name}; export with --format onnx --int8, or predict without --int8")
    elif (root / TORCH_MODEL).is_file():
        run = _torch_run(root / TORCH_MODEL)
    else:
        raise ArtefactError(f"{root}: has neither {name} nor {TORCH_MODEL}; export it again")
    try:
        logits = run(np.zeros((1, frontend.samples), np.float32))
    except Exception as error:  # whatever a foreign graph raises
        raise ArtefactError(f"{root}: {name} does not take windows of {frontend.samples} samples ({error})") from None
    if logits.shape != (1, len(classes)):
        raise ArtefactError(f"{root}: {name} gives {logits.shape[-1]} scores, {LABELS} has {len(classes)} labels")
    return Artefact(root, frontend, classes, run)


def _program_run(path: Path, frontend: FrontEnd) -> Run:
    """PyTorch's front end and an ExecuTorch program as one function."""
    import torch

    from asc_search.audio.frontends import front_end
    from asc_search.deploy.executorch import open_program

    front, program = front_end(frontend), open_program(path)

    @torch.inference_mode()
    def run(waves: np.ndarray) -> np.ndarray:
        return program(front(torch.from_numpy(waves)).numpy())

    return run


def _torch_run(path: Path) -> Run:
    """Front end and network of a safetensors model as one function."""
    import torch

    from asc_search.audio.frontends import front_end
    from asc_search.train.model_file import load_model

    model = load_model(path)
    front = front_end(model.candidate.frontend)

    @torch.inference_mode()
    def run(waves: np.ndarray) -> np.ndarray:
        return model.whole(front(torch.from_numpy(waves))).numpy()

    return run
