"""Whole jobs on a device that is not the CPU: nothing of a training may be left on the other one."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from separate_device import NAME
from support import ENVIRONMENT, GPUS, TINY_SPACE
from tagger_files import random_state

CUDA = torch.version.cuda is not None and Path("/dev/nvidiactl").exists()  # whatever the tests themselves may see
Found = dict[str, dict[str, list[float]] | str]  # space -> network -> numbers, or how it failed
SHORT = (
    TINY_SPACE.replace("trials: 4", "trials: 1")
    .replace("rungs: [1, 2], startup: 2", "rungs: [1], startup: 1")
    .replace(
        "epochs: 2, seeds: 2, finalists: 3, references: [], undistilled: true", "epochs: 2, seeds: 1, references: []"
    )
)
BARE = SHORT.replace(", dense_twins: true, tta: 2", "")
TRAINING = "training: {batch: 16, freq_mask: 4}"
POOL = SHORT[SHORT.index("distillation:") : SHORT.index(TRAINING)]
KEPT = """distillation:
  weight: 0.2
  features: 1
  teachers: [one]
  pool:
    one: {kind: network, family: cp, base: 16, multiplier: 1.5, expansion: 2, epochs: 1, lr: 0.005}
"""
WAVES = """training: {batch: 16, optimizer: radam, ema_decay: 0.9, grad_clip: 1.0, label_smoothing: 0.1, response_p: 0.5,
  response_path: exact, stretch: 0.1, gain_db: 3, shift_s: 0.05, roll_s: 0.1, mixup_alpha: 0.3, jitter_fmin_hz: 20,
  freq_stripes: 1, time_stripes: 1, time_mask: 3}"""
PEERS = """distillation:
  mutual: 0.5
  mutual_until: 0.5
  mixed: 0.5
  peers: [wide]
  peer_pool:
    wide: {family: cp, base: 24, multiplier: 1.5, expansion: 2}
"""
GROUPS = """data:
  source: demo
  validation_fraction: 0.34
  groups: {inside: [airport, bus, metro, metro_station, shopping_mall], outside: [park, public_square, street_pedestrian,
    street_traffic, tram]}
"""
TAGGER = """data: {source: demo, validation_fraction: 0.34}
network: {pretrained: mn}
pruning: {target: budget, schedule: agp, steps: 1, importance: taylor}
distillation: {teachers: [mn], features: 1, pool: {mn: {kind: tagger, weights: tagger.pt, epochs: 1}}}
training: {batch: 16, freq_mask: 4}
budget: {weight_bytes: 40_000}
search: {trials: 1, rungs: [1], startup: 1, enqueue: []}
retrain: {epochs: 1, seeds: 1, finalists: 1, references: []}
"""
SPACES = {
    "features": SHORT.replace(POOL, KEPT).replace(TRAINING, "training: {batch: 16, response_p: 0.5, mixstyle_p: 0.5}"),
    "waveforms": BARE.replace(TRAINING, WAVES).replace("frontend: {", "frontend: {standardise: global, "),
    "peers and groups": GROUPS + BARE[BARE.index("frontend:") :].replace(POOL, PEERS),
    "a tagger": TAGGER,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, demo_folder: Path) -> Path:
    """The spaces, and what they name."""
    folder = tmp_path_factory.mktemp("devices")
    torch.save(random_state(0.1), folder / "tagger.pt")
    for name, text in SPACES.items():
        (folder / f"{name}.yaml").write_text(text.replace("source: demo", f"source: 'folder:{demo_folder}'"))
    return folder


def measured_on(folder: Path, *devices: str) -> list[Found]:
    """What a process a device, all at once, found."""
    job = [sys.executable, str(Path(__file__).parent / "device_job.py")]
    spaces = [f"{name}.yaml" for name in SPACES]
    seen = {key: value for key, value in ENVIRONMENT.items() if key != "CUDA_VISIBLE_DEVICES"} | GPUS
    with ThreadPoolExecutor() as pool:
        run = partial(subprocess.run, capture_output=True, text=True, env=seen, cwd=folder, timeout=280)
        ended = list(pool.map(run, [[*job, device, *spaces] for device in devices]))
    for done in ended:
        assert done.returncode == 0, done.stderr[-6000:]
    return [json.loads(done.stdout.splitlines()[-1]) for done in ended]


@pytest.fixture(scope="module")
def on_both(folder: Path) -> list[Found]:
    return measured_on(folder, NAME, "cpu")


@pytest.fixture(scope="module")
def on_cuda(folder: Path) -> Found:
    return measured_on(folder, "cuda")[0]


@pytest.mark.parametrize("space", SPACES)
def test_a_job_beside_the_cpu_measures_what_the_cpu_does(on_both: list[Found], space: str) -> None:
    beside, cpu = (found[space] for found in on_both)
    assert isinstance(beside, dict), beside
    assert isinstance(cpu, dict), cpu
    assert beside.keys() == cpu.keys()
    for name, values in beside.items():
        off = 0.02 if space == "waveforms" else 1e-3  # beside the CPU front ends take a batch at once
        np.testing.assert_allclose(values, cpu[name], rtol=0, atol=off, err_msg=name)


@pytest.mark.skipif(not CUDA, reason="no CUDA device, or a CPU build of PyTorch")
@pytest.mark.parametrize("space", SPACES)
def test_a_job_runs_on_cuda(on_cuda: Found, space: str) -> None:
    assert isinstance(on_cuda[space], dict), on_cuda[space]
