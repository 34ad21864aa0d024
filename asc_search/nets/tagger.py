"""Tagger: a MobileNetV3-Large of any width that tags audio, read from the weight files EfficientAT publishes.

The network is a spec of the ``mn`` family; only the names and shapes of the files are told here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from asc_search.errors import WeightsError
from asc_search.nets.network import Network, build
from asc_search.nets.spec import LayerSpec, NetSpec
from asc_search.nets.systems.mn import mn
from asc_search.nets.weights import listed, mismatches, read_state

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Tagger:
    """A pretrained tagger: its spec (for 1 s), and the network of it; both take ``TaggerFrontEnd``'s output."""

    spec: NetSpec
    network: Network

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Global mean of the last features, before the classifier: (batch, 1, mels, frames) -> (batch, D)."""
        return self.network[-1].embed(*self.network.trunk(x))


@lru_cache(maxsize=8)
def tagger_spec(path: Path) -> NetSpec:
    """The spec of the tagger stored in ``path``, as :func:`load_tagger` has it; read once."""
    return load_tagger(path).spec


def load_tagger(path: Path, sha256: str | None = None) -> Tagger:
    """The tagger stored in ``path`` (.safetensors, else a torch file with a plain state_dict), in eval mode on the CPU.

    ``sha256`` (hex) is what the file must hash to, if given; it is checked before anything is read from the file.

    Raises:
        WeightsError: no such file, another checksum, not a plain state_dict (no pickled code is ever run), or not this
            architecture.
    """
    state = read_state(path, sha256)
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    problems: list[str] = []
    spec = _spec(shapes, problems)
    if problems:
        raise _wrong(path, problems)
    with torch.device("meta"):
        network = build(spec)
    ours, names = network.state_dict(), _names(spec, network)
    expected = {key: _published_shape(key, ours[name]) for key, name in names.items()}
    # BatchNorm's batch counter plays no part in inference; some exports leave it out.
    counters = {key: torch.tensor(0) for key in names if key.endswith("num_batches_tracked")}
    if problems := mismatches(state, expected, counters):
        raise _wrong(path, problems)
    network = network.to_empty(device="cpu")
    network.load_state_dict(
        {names[key]: value.reshape(ours[names[key]].shape) for key, value in (counters | state).items()}
    )
    return Tagger(spec, network.eval())


def _wrong(path: Path, problems: list[str]) -> WeightsError:
    return WeightsError(
        f"{path}: not a MobileNetV3-Large tagger as EfficientAT names and shapes it: "
        f"{listed(problems)}. Use one of its mnXX_as files without attention head"
    )


def _spec(shapes: Shapes, problems: list[str]) -> NetSpec:
    """The published layout with the widths a file's shapes give; what is missing goes to ``problems``."""

    def out(key: str) -> int:
        shape = shapes.get(f"{key}.weight", ())
        if 0 in (shape or (0,)):
            problems.append(f"{key}.weight is missing or empty")
            return 1
        return shape[0]

    stem, *blocks, head = mn().layers
    channels = out("features.0.0")
    layers = [replace(stem, out=channels)]
    for index, block in enumerate(blocks, start=1):
        name = f"features.{index}.block"
        # Only the depthwise convolution has a kernel above 1: first means that the block does not expand.
        expand = not shapes.get(f"{name}.0.0.weight", ())[-1:] > (1,)
        parts = _parts(replace(block, options={**block.options, "expand": expand}), name)
        options = {**block.options, "expand": expand, "hidden": out(f"{parts['expand']}.0") if expand else channels}
        if "squeeze" in options:
            options["squeeze"] = out(parts["attachment.narrow"])
        width = out(f"{parts['project']}.0")
        layers.append(replace(block, out=width, options={**options, "shortcut": width == channels}))
        channels = width
    options = {**head.options, "features": out("features.16.0"), "hidden": out("classifier.2")}
    labels = out("classifier.5")
    return replace(mn(), classes=labels, layers=(*layers, replace(head, out=labels, options=options)))


def _parts(block: LayerSpec, name: str) -> dict[str, str]:
    """What the files call the parts of one block: our name -> theirs."""
    parts = ["expand"] if block.options["expand"] else []
    parts += ["depthwise", "attachment", "project"] if "squeeze" in block.options else ["depthwise", "project"]
    called = {part: f"{name}.{index}" for index, part in enumerate(parts)}
    if "attachment" in called:
        gate = f"{called.pop('attachment')}.conc_se_layers.0"
        called |= {"attachment.narrow": f"{gate}.fc1", "attachment.wide": f"{gate}.fc2"}
    return called


def _modules(spec: NetSpec) -> Iterator[tuple[str, str]]:
    """Every module with weights: (our name, theirs)."""
    yield "0", "features.0"
    for index, block in enumerate(spec.layers[1:-1], start=1):
        for part, called in _parts(block, f"features.{index}.block").items():
            yield f"{index}.{part}", called
    head = len(spec.layers) - 1
    yield f"{head}.features", f"features.{head}"
    yield f"{head}.classifier.0", "classifier.2"
    yield f"{head}.classifier.3", "classifier.5"


def _names(spec: NetSpec, network: Network) -> dict[str, str]:
    """Every tensor: name in the files -> name in ``network``."""
    return {
        f"{called}.{key}": f"{ours}.{key}"
        for ours, called in _modules(spec)
        for key in network.get_submodule(ours).state_dict()
    }


def _published_shape(key: str, value: torch.Tensor) -> tuple[int, ...]:
    """The shape in the files, where the gates are linear layers instead of 1x1 convolutions."""
    return tuple(value.shape[:2] if ".conc_se_layers." in key else value.shape)
