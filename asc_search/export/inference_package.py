"""The inference package of 2025: a small importable package that answers without asc_search and holds no training code.

Its modules have the functions that the organisers' scripts call (their README and ``test_complexity.py``,
``evaluate_submission.py``): ``predict``, ``load_model``, ``load_inputs``, ``get_model_for_device``. The network is written
out as plain torch (``module_source``), weights are a state_dict that loads with ``weights_only``.
"""

from __future__ import annotations

import ast
import inspect
import shutil
import tempfile
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile
import torch

from asc_search.audio import frontend_spec, frontends, logmel, standardise
from asc_search.compress.weights import STORED
from asc_search.data import int16
from asc_search.data.clips import Clips
from asc_search.errors import ExportError, Problem
from asc_search.export import inference
from asc_search.export.inference_texts import MODULE, README, SETUP
from asc_search.export.module_source import module_source
from asc_search.export.submission import Complexity
from asc_search.train import clip_scores
from asc_search.train.model_file import Model

REQUIREMENTS = "numpy\npandas\nscikit-learn\nsoundfile\nsoxr\ntorch\ntorchinfo\n"
COPIED = {"inference.py": inference, "clip_scores.py": clip_scores, "int16.py": int16}
DUMMY_HZ = 44_100


def team_module(label: str) -> str:
    """The package's name: the label without its index; a hyphen, which no module has, becomes an underscore.

    Raises:
        ExportError: it begins with a digit, so that Python cannot import it.
    """
    name = label.rpartition("_")[0].replace("-", "_")
    if not name.isidentifier():
        raise ExportError(
            "The inference package cannot be named:", [Problem(f"label {label}", f"{name!r} is no name of a module")]
        )
    return name


def write_package(folder: Path, label: str, model: Model, complexity: Complexity, test: Clips, said: str) -> None:
    """Write the package of system ``label`` into ``folder``, which may hold others of the same team.

    ``test`` are the development test clips, whose list goes with it; ``said`` describes the system in a sentence.

    Raises:
        ExportError: ``folder`` holds something else, or the label names no module.
    """
    team = team_module(label)
    if folder.exists() and any(folder.iterdir()) and not (folder / team / "inference.py").is_file():
        what = f"is not empty and holds no package {team}; name another folder with --package"
        raise ExportError("The inference package was not written:", [Problem(str(folder), what)])
    with tempfile.TemporaryDirectory(dir=_existing(folder)) as name:
        aside = Path(name) / "package"
        _fill(aside, team, label, model, complexity, test, said)
        shutil.copytree(aside, folder, dirs_exist_ok=True)


def _existing(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder.parent


def _fill(root: Path, team: str, label: str, model: Model, complexity: Complexity, test: Clips, said: str) -> None:
    package, system = root / team, label.replace("-", "_")
    for name in ("models", "resources", "ckpts"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").touch()
    spec = model.candidate.frontend
    index = label.rpartition("_")[2]
    said = said.replace("\\", "/").replace('"', "'")  # it stands in a docstring
    network = model.whole.cpu().eval()
    texts = {
        f"{team}/__init__.py": f'"""Inference package of {team}."""\n',
        f"{team}/{system}.py": MODULE.format(
            label=label,
            said=said,
            network=f"network_{index}",
            checkpoint=f"{system}.ckpt",
            team=team,
            classes=list(model.classes),
            frontend=", ".join(f"{field.name}={getattr(spec, field.name)!r}" for field in fields(spec)),
        ),
        f"{team}/models/network_{index}.py": f'"""The network of {label}."""\n\n{module_source(network, spec.shape)}',
        f"{team}/models/frontend.py": frontend_source(),
        **{f"{team}/{name}": _standing_alone(module) for name, module in COPIED.items()},
        f"{team}/resources/test.csv": "filename\tscene_label\n"
        + "".join(f"{file}\t{test.classes[one]}\n" for file, one in zip(test.files, test.labels, strict=True)),
        "README.md": README.format(team=team, label=label, said=said, index=index, **vars(complexity)),
        "requirements.txt": REQUIREMENTS,
        "setup.py": SETUP.format(team=team),
    }
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8")
    noise = 0.1 * np.random.default_rng(0).standard_normal(DUMMY_HZ)
    soundfile.write(package / "resources" / "dummy.wav", noise, DUMMY_HZ, subtype="PCM_24")
    kind = STORED[model.candidate.weight_type]
    parameters = {name for name, _ in network.named_parameters()}
    state = {
        name: value.to(kind) if name in parameters else value.clone() for name, value in network.state_dict().items()
    }
    torch.save(state, package / "ckpts" / f"{system}.ckpt")


def frontend_source() -> str:
    """One module with all front ends, from the sources of ours; ``FrontEnd`` describes one, ``front_end`` makes it."""
    parts = [
        inspect.getsource(frontend_spec.FrontEnd),
        f"MIN_DEVIATION = {standardise.MIN_DEVIATION}  # of silence, whose rounding errors would otherwise become noise",
        inspect.getsource(standardise.standardised),
        _body(logmel),
        inspect.getsource(frontends.RawWave),
        inspect.getsource(frontends.front_end),
    ]
    head = '"""Front ends: from a waveform to the input of the network."""\n\n' + (
        "from __future__ import annotations\n\nimport math\nfrom collections.abc import Callable\n"
        "from dataclasses import asdict, dataclass\nfrom typing import Any\n\nimport torch\nfrom torch import nn\n"
        "from torch.nn import functional as F\n"
    )
    return head + "\n\n" + "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


def _body(module: ModuleType) -> str:
    """The source of a module after its imports."""
    source = inspect.getsource(module)
    last = max(node.end_lineno or 0 for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom))
    return "\n".join(source.split("\n")[last:])


def _standing_alone(module: ModuleType) -> str:
    """The source of a module that imports, of asc_search, only what is copied beside it."""
    source = inspect.getsource(module)
    for name, other in COPIED.items():
        source = source.replace(f"from {other.__name__} import", f"from .{name.removesuffix('.py')} import")
    return source
