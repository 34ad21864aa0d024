"""`asc-search bench train`: clips a second from audio files to weight updates, against the plain PyTorch way."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.logmel import LogMel
from asc_search.audio.torchaudio_shim import torchaudio
from asc_search.bench.bars import Bar, at_least, report
from asc_search.bench.plain import PlainProcess
from asc_search.bench.timing import noise_clips, seconds
from asc_search.bench.together import measure_together
from asc_search.data.clips import Clips
from asc_search.nets.network import price
from asc_search.nets.systems import system
from asc_search.progress import bar
from asc_search.space.candidate import Training
from asc_search.train.batches import batch_count, epoch_batches
from asc_search.train.features import frontend_windows
from asc_search.train.fit import Recipe, device, fit, start
from asc_search.train.inputs import open_inputs
from asc_search.train.losses import Batch, cross_entropy
from asc_search.train.responses import ALL_GENERATED

DESIGN = "dcase2024-baseline"
CLIPS = 1024
RECIPE = Training(batch=256, roll_s=0.1, freq_mask=48, mixstyle_p=0.4)  # the baseline's own
EPOCHS = 30  # of the training that decoding is spread over: the default of a full one
REPEATS = 5


def bench_train() -> dict[str, Any]:
    """Measure, in turn within one run, the plain pipeline and ours on the same clips, network, batch and augmentations."""
    goal = {"cpu": ("speedup_cpu", 3), "cuda": ("speedup_cuda", 20)}[device().type]
    heard = _front_ends()  # first: a training keeps freed memory, which would help torchaudio more
    with tempfile.TemporaryDirectory() as name, bar() as progress:
        task = progress.add_task("training both ways", total=REPEATS)
        folder = Path(name)
        clips = noise_clips(folder, CLIPS)
        cuts = frontend_windows(folder / "plain", clips, FrontEnd())
        ratios, shares, speeds = [], [], []
        with PlainProcess(cuts, system(DESIGN)(), FrontEnd(), RECIPE, device(), EPOCHS) as plain:
            plain.epoch_s()  # starts threads, fills the page cache
            for repeat in range(REPEATS):
                slow = plain.epoch_s()
                made, epoch, step = _ours(folder / f"run{repeat}", clips)
                ours = EPOCHS * CLIPS / (made + EPOCHS * epoch)
                ratios.append(ours / (CLIPS / slow))
                shares.append(step / epoch)
                speeds.append((CLIPS / slow, ours, CLIPS / epoch, made))
                progress.advance(task)
    together = measure_together(DESIGN, RECIPE)
    middle = [median(column) for column in zip(*speeds, strict=True)]
    ran = {
        "network": DESIGN,
        "batch": RECIPE.batch,
        "device": device().type,
        "threads": torch.get_num_threads(),
        "plain_clips_per_s": round(middle[0]),
        "clips_per_s": round(middle[1]),
        "clips_per_s_once_decoded": round(middle[2]),
        "decoding_and_features_s": round(middle[3], 2),
        "clips_each_epoch": CLIPS,
        "epochs": EPOCHS,
        "front_end_difference": heard[1],
        "trainings_at_once": together.count,
        "clips_per_s_at_once": round(together.clips_per_s),
        "clips_per_s_one_at_a_time": round(together.alone_clips_per_s),
        "bound_by": _bound(CLIPS / middle[2] / (CLIPS / RECIPE.batch), median(shares)),
    }
    bars: list[Bar] = [
        at_least(goal[0], round(median(ratios), 2), goal[1]),
        at_least("step_share", round(median(shares), 3), 0.85),
        at_least("frontend_speedup", round(heard[0], 2), 2),
        at_least("parallel_speedup", round(together.clips_per_s / together.alone_clips_per_s, 2), 1),
    ]
    return report("train", ran, bars)


def _ours(folder: Path, clips: Clips) -> tuple[float, float, float]:
    """Seconds for decoding and features, for an epoch, and for the network steps of an epoch alone."""
    begin = time.perf_counter()
    inputs = open_inputs(folder, clips, FrontEnd(), RECIPE, ALL_GENERATED, device())
    made = time.perf_counter() - begin
    recipe = Recipe(RECIPE, 3, batch_count(inputs.windows, RECIPE))
    state = start(system(DESIGN)(), recipe, 0)

    def batches(epoch: int):  # type: ignore[no-untyped-def]
        return epoch_batches(inputs, None, RECIPE, 0, epoch, 3, device())

    fit(state, batches, cross_entropy, recipe, 1)  # first steps choose algorithms
    epoch = seconds(lambda: fit(state, batches, cross_entropy, recipe, 2))
    ready = list(batches(2))
    step = seconds(lambda: fit(state, lambda _: ready, cross_entropy, recipe, 3))
    return made, epoch, step


def _front_ends() -> tuple[float, float]:
    """Speed of our log-mel over torchaudio's, in turn, and the largest difference of their outputs."""
    spec = FrontEnd()
    samples = 0.1 * torch.randn(64, spec.samples, device=device(), generator=None)
    ours = LogMel(spec).to(device())
    mel = torchaudio().transforms.MelSpectrogram(
        spec.rate_hz, spec.n_fft, spec.window, spec.hop, n_mels=spec.mels, power=2.0
    )
    theirs = mel.to(device())

    def plain() -> torch.Tensor:
        return torch.log(theirs(samples) + spec.log_floor)

    with torch.inference_mode():
        difference = float((plain().unsqueeze(1) - ours(samples)).abs().max())
        ratios = [seconds(plain) / seconds(lambda: ours(samples)) for _ in range(REPEATS)]
    return median(ratios), round(difference, 5)


def _bound(step_s: float, step_share: float) -> dict[str, Any]:
    """What a step's time goes into, as far as simple floors tell: seconds, and the share of the measured step."""
    cost = price(system(DESIGN)())
    flops = 2 * 3 * cost.conv_linear_macs * RECIPE.batch  # forward, and twice as much backward
    moved = 3 * 4 * RECIPE.batch * sum(row.out[0] * row.out[1] * row.out[2] for row in cost.layers) * 2
    floors = {
        "arithmetic": flops / _matmul_flops(),
        "memory_traffic": moved / _copy_bytes(),
        "python": _dispatch_s(),
    }
    told = {key: {"floor_s": round(value, 4), "share": round(value / step_s, 3)} for key, value in floors.items()}
    return {"step_s": round(step_s, 4), **told, "data": {"share": round(1 - step_share, 3)}}


def _dispatch_s() -> float:
    """Seconds of a step with hardly any numbers in it: Python, and starting the operations."""
    spec = system(DESIGN)().with_input((1, 16, 8))
    recipe = Recipe(RECIPE, REPEATS + 2, 1)
    batch = Batch(torch.randn(2, *spec.input, device=device()), torch.tensor([0, 1], device=device()), None, None)
    state = fit(start(spec, recipe, 0), lambda _: [batch], cross_entropy, recipe, 1)

    def step() -> None:
        fit(state, lambda _: [batch], cross_entropy, recipe, state.epoch + 1)

    return median(seconds(step) for _ in range(REPEATS))


def _matmul_flops() -> float:
    """Floating-point operations a second of a large product."""
    a = torch.randn(1024, 1024, device=device())
    a @ a
    return 2 * 1024**3 / median(seconds(lambda: a @ a) for _ in range(REPEATS))


def _copy_bytes() -> float:
    """Bytes read and written a second by a copy."""
    a = torch.zeros(2**26, device=device())
    b = torch.empty_like(a)
    return 2 * 4 * 2**26 / median(seconds(lambda: b.copy_(a)) for _ in range(REPEATS))
