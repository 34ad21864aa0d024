"""PaSST, a transformer on spectrogram patches that tags audio (Koutini et al. 2022, arXiv 2110.05069), read from the
weight files its authors publish.

The network is the package ``hear21passt``'s; the layout of the files is told here. Nothing is ever downloaded.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from asc_search.errors import MissingExtraError, WeightsError
from asc_search.nets.weights import listed, mismatches, read_state

PACKAGE = "hear21passt"
PATCH, STRIDE = 16, 10  # in mels and in frames of 10 ms
BANDS, TIMES = 12, 99  # patches of 128 mels, and of 10 s
HEAD_WIDTH = 64  # of attention, as in all vision transformers that PaSST began as
SHORTEST_S, LONGEST_S = PATCH / 100, 10.0
MOST_PAIRS = 2**23  # of tokens that attend to each other at once: 400 MB for 12 heads
_DOWNLOADS = "timm.models._hub"

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Passt:
    """A pretrained PaSST: its network takes ``TaggerFrontEnd``'s output of 0.16 to 10 s."""

    network: nn.Module

    def hear(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and embedding, the mean of both class tokens: (batch, 1, 128, frames) -> (batch, labels), (batch, D).

        Raises:
            WeightsError: the input is shorter or longer than PaSST hears.
        """
        times = (x.shape[-1] - PATCH) // STRIDE + 1
        if not 1 <= times <= TIMES:
            raise WeightsError(f"PaSST hears {SHORTEST_S:g} to {LONGEST_S:g} s, not {x.shape[-1] / 100:g} s")
        self.network.patch_embed.img_size = tuple(x.shape[-2:])  # any other is warned of, though the positions are cut
        tokens = 2 + BANDS * times
        parts = [self.network(part) for part in x.split(max(1, MOST_PAIRS // tokens**2))]
        logits, embedding = zip(*parts, strict=True)
        return torch.cat(logits), torch.cat(embedding)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """:meth:`hear`'s embedding: (batch, 1, 128, frames) -> (batch, D)."""
        return self.hear(x)[1]


class PasstClassifier(nn.Sequential):
    """A PaSST and a linear layer on its embedding, for the classes of a task: (batch, 1, 128, frames) -> (batch, classes)."""

    def __init__(self, passt: Passt, classes: int) -> None:
        super().__init__(_Embedding(passt.network), nn.Linear(passt.network.num_features, classes))

    def trunk(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the linear layer reads of ``x``, as of a ``Network``."""
        return (self[0](x),)

    @staticmethod
    def pooled(maps: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The embedding, (batch, D), of what :meth:`trunk` gives."""
        return maps[0]


class _Embedding(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Passt(self.network).embed(x)


def load_passt(path: Path, sha256: str | None = None) -> Passt:
    """The PaSST stored in ``path`` (.safetensors, else a torch file with a plain state_dict), in eval mode on the CPU.

    Any depth (PaSST-S, PaSST-L) and number of labels, of the layout for 128 mels, 10 s and patches every 10 x 10.
    ``sha256`` (hex) is what the file must hash to, if given; it is checked before anything is read from the file.

    Raises:
        MissingExtraError: the package is not installed.
        WeightsError: no such file, another checksum, not a plain state_dict (no pickled code is ever run), or another
            layout.
    """
    state = read_state(path, sha256)
    width, depth, labels = _size({key: tuple(value.shape) for key, value in state.items()})
    if problems := mismatches(state, _shapes(width, depth, labels)):
        raise WeightsError(
            f"{path}: not a PaSST of 128 mels, 10 s and patches every 10 x 10, as its authors name and shape it: "
            f"{listed(problems)}. Use the state_dict of passt_s_swa_p16_128_ap476, passt_s_kd_p16_128_ap486 or "
            "passt_l_kd_p16_128_ap47"
        )
    with torch.random.fork_rng(devices=[]):  # its first weights are random, and are not kept
        network = _package().PaSST(
            img_size=(128, STRIDE * TIMES),
            patch_size=PATCH,
            stride=STRIDE,
            num_classes=labels,
            embed_dim=width,
            depth=depth,
            num_heads=width // HEAD_WIDTH,
            distilled=True,
        )
    network.load_state_dict(state)
    return Passt(network.eval())


def check_passt() -> None:
    """Raise MissingExtraError unless the package is installed; without importing it."""
    if PACKAGE not in sys.modules and importlib.util.find_spec(PACKAGE) is None:
        raise _missing("it is not installed")


def _missing(reason: str) -> MissingExtraError:
    return MissingExtraError(
        f"a teacher of kind passt needs {PACKAGE}, which cannot be imported ({reason}); install it with: "
        "pip install 'asc-search[teachers]'"
    )


def _package() -> ModuleType:
    """The package's module of the network, made silent.

    Of timm it uses but the function that downloads weights. Importing timm takes seconds and needs a torchvision built for
    the very torch installed, so a function that refuses stands in for it.
    """
    stand_in = ModuleType(_DOWNLOADS)
    stand_in.download_cached_file = _refused
    known = sys.modules.get(_DOWNLOADS)
    sys.modules[_DOWNLOADS] = stand_in
    try:
        module = importlib.import_module(f"{PACKAGE}.models.passt")
    except ImportError as error:
        raise _missing(str(error)) from None
    finally:
        sys.modules.pop(_DOWNLOADS)
        if known is not None:
            sys.modules[_DOWNLOADS] = known
    module.first_RUN = False  # else its first pass prints every shape
    return module


def _refused(url: str, *_: object, **__: object) -> None:
    raise WeightsError(f"{url} is not downloaded; name the file, or its URL and SHA-256, in distillation.pool")


def _size(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int, int]:
    """Width, number of blocks and of labels as far as a file's ``shapes`` tell; a multiple of the heads' width."""
    width = (shapes.get("norm.weight") or (0,))[-1] // HEAD_WIDTH * HEAD_WIDTH
    depth = len({key.split(".")[1] for key in shapes if key.startswith("blocks.")})
    labels = (shapes.get("head.1.bias") or (0,))[0]
    return max(width, HEAD_WIDTH), max(depth, 1), max(labels, 1)


def _shapes(width: int, depth: int, labels: int) -> Shapes:
    """Every tensor of a published file."""
    found: Shapes = {
        "cls_token": (1, 1, width),
        "dist_token": (1, 1, width),
        "new_pos_embed": (1, 2, width),
        "freq_new_pos_embed": (1, width, BANDS, 1),
        "time_new_pos_embed": (1, width, 1, TIMES),
        "patch_embed.proj.weight": (width, 1, PATCH, PATCH),
        "patch_embed.proj.bias": (width,),
    }

    def norm(name: str) -> Shapes:
        return {f"{name}.weight": (width,), f"{name}.bias": (width,)}

    def linear(name: str, inputs: int, outputs: int) -> Shapes:
        return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}

    for index in range(depth):
        block = f"blocks.{index}"
        found |= norm(f"{block}.norm1") | norm(f"{block}.norm2")
        found |= linear(f"{block}.attn.qkv", width, 3 * width) | linear(f"{block}.attn.proj", width, width)
        found |= linear(f"{block}.mlp.fc1", width, 4 * width) | linear(f"{block}.mlp.fc2", 4 * width, width)
    return found | norm("norm") | norm("head.0") | linear("head.1", width, labels) | linear("head_dist", width, labels)
