"""Tagger: a MobileNetV3-Large of any width that tags audio, as published for AudioSet by EfficientAT.

Layout: Howard et al., "Searching for MobileNetV3" (2019), table 1; squeeze-excitation with a plain sigmoid, BatchNorm
eps 0.001. Module names are those of EfficientAT's weight files, so that a file loads as it is.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import nn

from asc_search.errors import WeightsError

MAX_LISTED = 5

# Per block: kernel, stride, squeeze-excitation, hard-swish (else ReLU).
LAYOUT = (
    (3, 1, False, False),
    (3, 2, False, False),
    (3, 1, False, False),
    (5, 2, True, False),
    (5, 1, True, False),
    (5, 1, True, False),
    (3, 2, False, True),
    (3, 1, False, True),
    (3, 1, False, True),
    (3, 1, False, True),
    (3, 1, True, True),
    (3, 1, True, True),
    (5, 2, True, True),
    (5, 1, True, True),
    (5, 1, True, True),
)


@dataclass(frozen=True)
class BlockWidths:
    """Channels of one block: after the expansion, in the squeeze (0: the block has none), and out."""

    expanded: int
    squeezed: int
    out: int


@dataclass(frozen=True)
class TaggerWidths:
    """Every width of a tagger: stem, the 15 blocks, last convolution (the embedding), hidden layer, labels."""

    stem: int
    blocks: tuple[BlockWidths, ...]
    embedding: int
    hidden: int
    labels: int


class ChannelGate(nn.Module):
    """Squeeze-excitation: scales each channel by a sigmoid computed from all channels' means."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        layers = {"fc1": nn.Linear(channels, squeezed), "fc2": nn.Linear(squeezed, channels)}
        self.conc_se_layers = nn.ModuleList([nn.ModuleDict(layers)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layers = self.conc_se_layers[0]
        scale = torch.sigmoid(layers["fc2"](torch.relu(layers["fc1"](x.mean((2, 3))))))
        return x * scale[:, :, None, None]


class TaggerBlock(nn.Module):
    """Inverted residual: 1x1 expansion (if it widens), depthwise, gate, linear 1x1; identity shortcut where it fits."""

    def __init__(self, inp: int, widths: BlockWidths, kernel: int, stride: int, act: Callable[[], nn.Module]) -> None:
        super().__init__()
        expanded = widths.expanded
        layers: list[nn.Module] = [] if expanded == inp else [_conv(inp, expanded, 1, act=act)]
        layers.append(_conv(expanded, expanded, kernel, stride, groups=expanded, act=act))
        if widths.squeezed:
            layers.append(ChannelGate(expanded, widths.squeezed))
        self.block = nn.Sequential(*layers, _conv(expanded, widths.out, 1))
        self.shortcut = stride == 1 and inp == widths.out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.block(x) if self.shortcut else self.block(x)


class Tagger(nn.Module):
    """Log-mel (batch, 1, mels, frames) -> logits (batch, labels); its input is ``TaggerFrontEnd``'s output."""

    def __init__(self, widths: TaggerWidths) -> None:
        super().__init__()
        self.widths = widths
        layers: list[nn.Module] = [_conv(1, widths.stem, 3, 2, act=nn.Hardswish)]
        channels = widths.stem
        for block, (kernel, stride, _, hard) in zip(widths.blocks, LAYOUT, strict=True):
            layers.append(TaggerBlock(channels, block, kernel, stride, nn.Hardswish if hard else nn.ReLU))
            channels = block.out
        self.features = nn.Sequential(*layers, _conv(channels, widths.embedding, 1, act=nn.Hardswish))
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(widths.embedding, widths.hidden),
            nn.Hardswish(),
            nn.Dropout(0.2),
            nn.Linear(widths.hidden, widths.labels),
        )

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Global mean of the last features, before the classifier: (batch, 1, mels, frames) -> (batch, D)."""
        return self.classifier[:2](self.features(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier[2:](self.embed(x))


def load_tagger(path: Path, sha256: str | None = None) -> Tagger:
    """The tagger stored in ``path`` (.safetensors, else a torch file with a plain state_dict), in eval mode on the CPU.

    ``sha256`` (hex) is what the file must hash to, if given; it is checked before anything is read from the file.

    Raises:
        WeightsError: no such file, another checksum, not a plain state_dict (no pickled code is ever run), or not this
            architecture.
    """
    content = _read(path, sha256)
    state = _state(path, content)
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    problems: list[str] = []
    widths = _widths(shapes, problems)
    if problems:
        raise _wrong(path, problems)
    with torch.device("meta"):
        tagger = Tagger(widths)
    expected = {key: tuple(value.shape) for key, value in tagger.state_dict().items()}
    # BatchNorm's batch counter plays no part in inference; some exports leave it out.
    counters = {key: torch.tensor(0) for key in expected if key.endswith("num_batches_tracked")}
    problems += [f"{key} is missing" for key in expected.keys() - shapes.keys() - counters.keys()]
    problems += [f"{key} is unknown" for key in shapes.keys() - expected.keys()]
    problems += [
        f"{key} is {shapes[key]}, expected {expected[key]}"
        for key in expected.keys() & shapes.keys()
        if shapes[key] != expected[key]
    ]
    problems += [
        f"{key} holds {value.dtype}, expected floating point"
        for key, value in state.items()
        if key not in counters and not value.is_floating_point()
    ]
    if problems:
        raise _wrong(path, sorted(problems))
    tagger = tagger.to_empty(device="cpu")
    tagger.load_state_dict({**counters, **state})
    return tagger.eval()


def _conv(
    inp: int, out: int, kernel: int, stride: int = 1, groups: int = 1, act: Callable[[], nn.Module] | None = None
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inp, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=0.001, momentum=0.01),
    ]
    return nn.Sequential(*layers, *([act()] if act else []))


def _read(path: Path, sha256: str | None) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such weights file; check the path or fetch the file first") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights file: {error.strerror}") from None
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256.strip().lower():
        raise WeightsError(f"{path}: its SHA-256 is {digest}, expected {sha256}; fetch the file again")
    return content


def _state(path: Path, content: bytes) -> dict[str, torch.Tensor]:
    advice = "save it with torch.save(model.state_dict(), path) or as .safetensors"
    try:
        if path.suffix == ".safetensors":
            return safetensors.load(content)
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a safetensors file: {error}; {advice}") from None
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path}: refused: damaged, or pickled with more than tensors, which could run code; {advice}"
        ) from None
    except Exception as error:  # torch.load on damaged files raises anything from EOFError to ValueError
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise WeightsError(f"{path}: not a readable weights file ({reason}); {advice}") from None
    plain = isinstance(state, Mapping) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    )
    if not plain:
        raise WeightsError(f"{path}: not a plain state_dict (names to tensors); {advice}")
    return dict(state)


def _wrong(path: Path, problems: list[str]) -> WeightsError:
    more = f"; and {len(problems) - MAX_LISTED} more" if len(problems) > MAX_LISTED else ""
    return WeightsError(
        f"{path}: not a MobileNetV3-Large tagger as EfficientAT names and shapes it: "
        f"{'; '.join(problems[:MAX_LISTED])}{more}. Use one of its mnXX_as files without attention head"
    )


def _widths(shapes: Mapping[str, tuple[int, ...]], problems: list[str]) -> TaggerWidths:
    """The widths a file's shapes give; what is missing goes to ``problems``."""

    def out(key: str) -> int:
        shape = shapes.get(f"{key}.weight", ())
        if 0 in (shape or (0,)):
            problems.append(f"{key}.weight is missing or empty")
            return 1
        return shape[0]

    stem, blocks = out("features.0.0"), []
    for index, (_, _, gated, _) in enumerate(LAYOUT, start=1):
        name = f"features.{index}.block"
        # Only the depthwise convolution has a kernel above 1: first means that the block does not expand.
        depthwise = 0 if shapes.get(f"{name}.0.0.weight", ())[-1:] > (1,) else 1
        squeezed = out(f"{name}.{depthwise + 1}.conc_se_layers.0.fc1") if gated else 0
        project = depthwise + 1 + gated
        blocks.append(BlockWidths(out(f"{name}.{depthwise}.0"), squeezed, out(f"{name}.{project}.0")))
    return TaggerWidths(stem, tuple(blocks), out("features.16.0"), out("classifier.2"), out("classifier.5"))
