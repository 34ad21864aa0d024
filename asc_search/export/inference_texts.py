"""Texts of an inference package: the module of one system, setup.py, README."""

from __future__ import annotations

MODULE = '''"""System {label}.

{said}.

Inference only, with the functions that the official scripts of DCASE 2025 Task 1 call.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from . import inference
from .models.frontend import FrontEnd, front_end
from .models.{network} import network

CLASSES = {classes}
FRONT_END = FrontEnd({frontend})
CHECKPOINT = Path(__file__).parent / "ckpts" / "{checkpoint}"


def load_model(model_file_path: str | None = None) -> nn.Module:
    """The trained network as ``.model`` with the front end before it; weights of ``model_file_path``, else the packaged."""
    trained = inference.load_weights(network(), model_file_path or CHECKPOINT)
    return inference.SceneClassifier(trained, front_end(FRONT_END), FRONT_END, CLASSES).eval()


def load_inputs(file_paths: Sequence[str], device_ids: Sequence[str], model: nn.Module) -> list[Tensor]:
    """What the network hears of each file, in order: [1, channel, mels, frames]; longer files have several windows."""
    return list(inference.inputs(file_paths, model))


def get_model_for_device(model: nn.Module, device_id: str) -> nn.Module:
    """The network for a device, with its weights as they are stored; every device, ``unknown`` too, has the same."""
    return model.model


def predict(
    file_paths: Sequence[str],
    device_ids: Sequence[str],
    model_file_path: str | None = None,
    use_cuda: bool = True,
) -> tuple[list[Tensor], list[str]]:
    """Logits [classes] of each file, in order, and the names of the classes."""
    if len(file_paths) != len(device_ids):
        raise ValueError(f"{{len(file_paths)}} files and {{len(device_ids)}} devices: give one device to each file")
    device = torch.device("cuda" if use_cuda and torch.cuda.is_available() else "cpu")
    model = load_model(model_file_path).to(device)
    return list(inference.logits(file_paths, model, device)), list(CLASSES)
'''

SETUP = """from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="{team}",
    version="0.1.0",
    description="Inference package of {team} for DCASE 2025 Task 1",
    packages=find_packages(),
    install_requires=Path(__file__).with_name("requirements.txt").read_text().splitlines(),
    include_package_data=True,
    package_data={{"{team}": ["resources/*.wav", "resources/*.csv", "ckpts/*.ckpt"]}},
    python_requires=">=3.11",
)
"""

README = """# {team}

Inference package for DCASE 2025 Task 1. System {label}: {said}.

{params:,} parameters, {weight_bytes:,} bytes ({weight_type}), {macs:,} MACs for one second of audio, the same on every
device.

```sh
pip install .
```

With `complexity.py`, `test_complexity.py` and `evaluate_submission.py` of the organisers
(<https://github.com/CPJKU/dcase2025_task1_inference>) in an empty folder:

```sh
python test_complexity.py --submission_name {team} --submission_index {index}
python evaluate_submission.py --submission_name {team} --submission_index {index} --dev_set_dir DIR --eval_set_dir DIR
```
"""
