"""The plain PyTorch way of training on audio files, to compare with: read, resample and filter every clip every epoch."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import soundfile
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from asc_search.audio.augment import freq_mixstyle, mask_freq
from asc_search.audio.frontend_spec import FrontEnd
from asc_search.audio.torchaudio_shim import torchaudio
from asc_search.audio.waveform import roll_samples
from asc_search.bench.timing import seconds
from asc_search.data.clips import Clips
from asc_search.errors import AscSearchError
from asc_search.nets.network import build
from asc_search.nets.spec import NetSpec
from asc_search.space.candidate import Training
from asc_search.train.clip_scores import OVERLAP
from asc_search.train.schedules import schedule_of
from asc_search.train.windows import Cuts

WORKERS = 2


class Files(Dataset):
    """Waveform (samples,) and label of each clip, read from its file: one of its audible windows of ``seconds``."""

    def __init__(self, clips: Clips, seconds: float, cuts: Cuts) -> None:
        self._clips, self._seconds = clips, seconds
        starts_s, audible = cuts.index * seconds / OVERLAP, cuts.audible
        self._starts_s = [starts_s[audible & (cuts.clip_of == row)] for row in range(len(clips))]

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with soundfile.SoundFile(self._clips.root / self._clips.files[index]) as file:
            length = round(self._seconds * file.samplerate)
            starts = self._starts_s[index]
            file.seek(round(float(starts[torch.randint(len(starts), ())]) * file.samplerate))
            samples = file.read(length, dtype="float32", always_2d=True).mean(1)
        return torch.from_numpy(np.resize(samples, length)), self._clips.labels[index]


class PlainPipeline:
    """``epoch()`` trains one epoch: DataLoader workers, torchaudio on the batch, contiguous layout, float32, AdamW.

    The learning rate follows the recipe's schedule over ``epochs`` epochs.
    """

    def __init__(
        self, cuts: Cuts, spec: NetSpec, frontend: FrontEnd, recipe: Training, device: torch.device, epochs: int
    ) -> None:
        clips = cuts.clips
        audio = torchaudio()
        rate_hz = soundfile.info(clips.root / clips.files[0]).samplerate
        mel = audio.transforms.MelSpectrogram(
            frontend.rate_hz, frontend.n_fft, frontend.window, frontend.hop, n_mels=frontend.mels, power=2.0
        )
        self._front = nn.Sequential(audio.transforms.Resample(rate_hz, frontend.rate_hz), mel).to(device)
        self.network = build(spec).to(device).to(memory_format=torch.contiguous_format)
        self._optimizer = torch.optim.AdamW(self.network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
        self._loader = DataLoader(
            Files(clips, frontend.seconds, cuts),
            recipe.batch,
            sampler=torch.utils.data.RandomSampler(range(len(clips)), num_samples=len(clips) * recipe.crops_per_clip),
            num_workers=WORKERS,
            persistent_workers=True,
            drop_last=True,
        )
        schedule, steps = schedule_of(recipe), epochs * len(self._loader)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: schedule(min(1.0, (step + 0.5) / steps))
        )
        self._frontend, self._recipe, self._device = frontend, recipe, device
        self._generator = torch.Generator().manual_seed(0)

    def epoch(self) -> None:
        recipe, generator, frontend = self._recipe, self._generator, self._frontend
        self.network.train()
        for samples, labels in self._loader:
            samples = roll_samples(samples.to(self._device), round(recipe.roll_s * frontend.rate_hz), generator)
            with torch.no_grad():
                x = torch.log(self._front(samples) + frontend.log_floor).unsqueeze(1)
            x = mask_freq(x, recipe.freq_mask, frontend.fill, generator)
            x = freq_mixstyle(x, recipe.mixstyle_p, recipe.mixstyle_alpha, generator)
            loss = nn.functional.cross_entropy(self.network(x), labels.to(self._device))
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe.grad_clip)
            self._optimizer.step()
            self._schedule.step()


class PlainProcess:
    """A ``PlainPipeline`` in a process of its own: what ours asks of the C library is not to help it. A context manager."""

    def __init__(self, *pipeline: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, torch.get_num_threads(), pipeline))

    def __enter__(self) -> PlainProcess:
        self._process.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.join()

    def epoch_s(self) -> float:
        """Train one epoch; seconds that it took.

        Raises:
            AscSearchError: the process died.
        """
        try:
            self._here.send(None)
            while not self._here.poll(1):
                if not self._process.is_alive():
                    raise EOFError
            return self._here.recv()
        except (EOFError, OSError):
            raise AscSearchError("the plain pipeline's process died, perhaps for want of memory") from None


def _serve(asked: Connection, threads: int, pipeline: tuple) -> None:
    torch.set_num_threads(threads)
    plain = PlainPipeline(*pipeline)
    while True:
        asked.recv()
        asked.send(seconds(plain.epoch))
