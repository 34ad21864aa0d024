"""Files of taggers as EfficientAT names and shapes them, of any width, with random values."""

from __future__ import annotations

import torch

State = dict[str, torch.Tensor]

# Howard et al. 2019, table 1: kernel, stride, expansion, output, squeeze-excitation, hard-swish (else ReLU).
TABLE = (
    (3, 1, 16, 16, False, False),
    (3, 2, 64, 24, False, False),
    (3, 1, 72, 24, False, False),
    (5, 2, 72, 40, True, False),
    (5, 1, 120, 40, True, False),
    (5, 1, 120, 40, True, False),
    (3, 2, 240, 80, False, True),
    (3, 1, 200, 80, False, True),
    (3, 1, 184, 80, False, True),
    (3, 1, 184, 80, False, True),
    (3, 1, 480, 112, True, True),
    (3, 1, 672, 112, True, True),
    (5, 2, 672, 160, True, True),
    (5, 1, 960, 160, True, True),
    (5, 1, 960, 160, True, True),
)


def eight(value: float) -> int:
    """The multiple of 8 nearest to ``value`` (ties up) that is at least 90 % of it."""
    return next(w for w in range(max(8, int(value / 8 + 0.5) * 8), 10**6, 8) if w >= 0.9 * value)


def random_state(scale: float, labels: int = 7) -> State:
    """A file's content as EfficientAT names and shapes it, with random values that keep signals in range."""
    generator = torch.Generator().manual_seed(0)
    state: State = {}

    def conv(name: str, inp: int, out: int, kernel: int = 1) -> None:
        state[f"{name}.0.weight"] = torch.randn(out, inp, kernel, kernel, generator=generator) / (inp**0.5 * kernel)
        state[f"{name}.1.weight"] = 0.5 + torch.rand(out, generator=generator)
        state[f"{name}.1.bias"] = 0.5 * torch.randn(out, generator=generator)
        state[f"{name}.1.running_mean"] = 0.1 * torch.randn(out, generator=generator)
        state[f"{name}.1.running_var"] = 0.01 + torch.rand(out, generator=generator)
        state[f"{name}.1.num_batches_tracked"] = torch.tensor(3)

    def linear(name: str, inp: int, out: int) -> None:
        state[f"{name}.weight"] = torch.randn(out, inp, generator=generator) / inp**0.5
        state[f"{name}.bias"] = 0.5 * torch.randn(out, generator=generator)

    channels = eight(16 * scale)
    conv("features.0", 1, channels, 3)
    for index, (kernel, _, expanded, out, gated, _) in enumerate(TABLE, start=1):
        wide, name, part = eight(expanded * scale), f"features.{index}.block", 0
        if wide != channels:
            conv(f"{name}.0", channels, wide)
            part = 1
        conv(f"{name}.{part}", 1, wide, kernel)
        if gated:
            part += 1
            linear(f"{name}.{part}.conc_se_layers.0.fc1", wide, eight(wide / 4))
            linear(f"{name}.{part}.conc_se_layers.0.fc2", eight(wide / 4), wide)
        channels = eight(out * scale)
        conv(f"{name}.{part + 1}", wide, channels)
    conv("features.16", channels, 6 * channels)
    linear("classifier.2", 6 * channels, eight(1280 * scale))
    linear("classifier.5", eight(1280 * scale), labels)
    return state
