"""The training recipes of published systems, written as YAML, load and make batches of the shape their networks take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import points

from asc_search.audio.filterbank_jitter import JitteredLogMel
from asc_search.audio.frontends import FRONTENDS
from asc_search.data.audio_io import write_wav
from asc_search.data.clips import Clips
from asc_search.space.candidate import Candidate
from asc_search.space.load import loads
from asc_search.space.space import Space
from asc_search.study.subsets import responses_of
from asc_search.train.batches import epoch_batches
from asc_search.train.inputs import Inputs, open_inputs

NETWORK = """
network: {stem: cp, base: 8, stages: [{family: cp, depth: 1}]}
"""
# What the reports of DCASE 2023 Task 1 and their code have.
GZHU = """
frontend: {rate_hz: 32000, window: 2048, hop: 1024, n_fft: 2048, mels: 256, mel_scale: slaney, mel_norm: slaney,
           log: log10, log_floor: 1.0e-10}
training:
  batch: 4
  response_p: 0.5
  response_scaling: range       # min-max rescaled to the range of the original
  roll_s: 1                     # over the whole clip
  roll_p: 0.7
  freq_mask: 0
  stripes_p: 0.7                # two stripes each way is the default
  time_mask: 7
  freq_width: 39
  mixstyle_p: 0.6
  mixstyle_alpha: 0.3
"""
SCUT = """
frontend: {rate_hz: 44100, window: 4096, hop: 1024, n_fft: 4096, mels: 256, mel_norm: slaney, log: log10,
           log_floor: 1.0e-10, deltas: true, standardise: sample}
training:
  batch: 4
  correction_p: 0.9230769       # 12 of 13
  correction_per_batch: true
  roll_s: 0
  freq_mask: 0
  mixstyle_p: 0
  time_mask: 1
  freq_width: 1
  mixup_alpha: 0.2
  mixup_one_lambda: true
  mixup_full_until: 0.6         # half of each batch afterwards
"""
CPJKU = """
data: {source: demo, response_devices: [a]}
frontend: {pre_emphasis: 0.97, mel_scale: kaldi, fmax_hz: 15500}   # room for 500 Hz to either side
training:
  batch: 4
  response_p: 0.6
  roll_s: 0.125                 # 4000 samples
  freq_mask: 48
  mixstyle_p: 0.4
  mixstyle_alpha: 0.3
  jitter_fmin_hz: 1
  jitter_fmax_hz: 1000
"""
RECIPES = {"gzhu": (GZHU, "bcres2"), "scut": (SCUT, "dsmn"), "cpjku": (CPJKU, "cp-mobile-2023")}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """Eight seconds of one class, in pairs of device a and another."""
    folder, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    names = tuple(f"park-rowanby-0-{index // 2}-{'ab'[index % 2]}.wav" for index in range(8))
    for name in names:
        write_wav(folder / name, (0.1 * rng.standard_normal(32_000)).astype(np.float32), 32_000)
    return Clips(folder, ("park",), names, (0,) * 8, ("a", "b") * 4, ("rowanby-0",) * 8, ("train",) * 8)


def opened(name: str, clips: Clips, folder: Path) -> tuple[Space, Candidate, Inputs]:
    space = loads(RECIPES[name][0] + NETWORK)
    ((candidate, _),) = points(space, 0, 1)
    inputs = open_inputs(
        folder, clips, candidate.frontend, candidate.training, responses_of(space), torch.device("cpu")
    )
    return space, candidate, inputs


@pytest.mark.parametrize("name", RECIPES)
def test_a_published_recipe_makes_batches_for_its_network(name: str, clips: Clips, tmp_path: Path) -> None:
    _, candidate, inputs = opened(name, clips, tmp_path)
    assert candidate.frontend == replace(FRONTENDS[RECIPES[name][1]], seconds=1.0)
    batches = list(epoch_batches(inputs, None, candidate.training, 0, 0, 1, torch.device("cpu")))
    assert [tuple(batch.x.shape) for batch in batches] == [(4, *candidate.frontend.shape)] * 2
    assert all(torch.isfinite(batch.x).all() for batch in batches)


def test_each_takes_the_way_it_asks_for(clips: Clips, tmp_path: Path) -> None:
    _, _, gzhu = opened("gzhu", clips, tmp_path)
    assert gzhu.waves is not None and gzhu.waves.augment.roll_p == 0.7 and gzhu.waves.eligible.all()
    assert gzhu.augment.roll_frames == 0, "the waveform is rolled, and once"
    _, _, scut = opened("scut", clips, tmp_path)
    assert scut.waves is None and scut.corrections is not None and scut.corrections.bank.shape == (4, 256)
    _, _, cpjku = opened("cpjku", clips, tmp_path)
    assert cpjku.waves is not None and isinstance(cpjku.waves.front, JitteredLogMel)
    assert cpjku.waves.eligible.tolist() == [True, False] * 4, "device a alone"


def test_their_strengths_can_be_searched() -> None:
    text = (
        NETWORK
        + """
frontend: {fmax_hz: 15000, standardise: {choice: [none, sample, frequency, global]}}
training:
  correction_p: {float: [0, 1]}
  correction_per_batch: {choice: [true, false]}
  jitter_fmin_hz: {choice: [0, 10]}
  jitter_fmax_hz: {int: [0, 2000], step: 500}
  freq_stripes: {int: [0, 3]}
  freq_width: {int: [0, 40]}
  time_stripes: {int: [0, 3]}
  stripes_p: {float: [0, 1]}
  fill_mean: {choice: [true, false]}
  shift_s: {float: [0, 0.2]}
  shift_p: {float: [0, 1]}
  stretch_p: {float: [0, 1]}
  roll_p: {float: [0, 1]}
  gain_p: {float: [0, 1]}
  mixup_one_lambda: {choice: [true, false]}
  response_path: {choice: [auto, exact]}
"""
    )
    space = loads(text)
    assert len(space.varying) == 17
    drawn = [candidate for candidate, _ in points(space, 0, 60)]
    assert {one.frontend.standardise for one in drawn} == {"none", "sample", "frequency", "global"}
    for key in (parameter.name.rpartition(".")[2] for parameter in space.varying[1:]):
        assert len({getattr(one.training, key) for one in drawn}) > 1, key
    for one in drawn[:5]:
        assert Candidate.from_json(one.to_json()) == one
