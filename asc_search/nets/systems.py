"""Published designs by name, and the mobile plan that most of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from asc_search.errors import NetworkError
from asc_search.nets.blocks import family
from asc_search.nets.blocks.common import round_width
from asc_search.nets.cost import Shape
from asc_search.nets.spec import LayerSpec, NetSpec, Scalar


@dataclass(frozen=True)
class Stage:
    """A run of ``depth`` blocks of one family with output width ``out``.

    ``stride`` (freq, time) is that of one block, the first or the last of the stage (``stride_at``).
    """

    family: str
    depth: int
    out: int
    stride: tuple[int, int] = (1, 1)
    stride_at: str = "first"
    options: Mapping[str, Scalar] = field(default_factory=dict)


def assemble(
    shape: Shape, classes: int, stem: str, base: int, stages: list[Stage], stem_stride: tuple[int, int] = (2, 2)
) -> NetSpec:
    """A stem of width ``base``, the stages, and the 1x1 head, as one spec.

    Raises:
        NetworkError: unknown family.
    """
    layers = [family(stem).plan(shape[0], base, stem_stride, {})]
    channels = base
    for stage in stages:
        block = family(stage.family)
        strided = 0 if stage.stride_at == "first" else stage.depth - 1
        for index in range(stage.depth):
            stride = stage.stride if index == strided else (1, 1)
            layers.append(block.plan(channels, stage.out, stride, {**block.defaults, **stage.options}))
            channels = stage.out
    return NetSpec(shape, classes, (*layers, family("conv_head").plan(channels, classes, (1, 1), {})))


def stage_width(base: int, multiplier: float, stage: int) -> int:
    """Output width of stage 0, 1, 2, ...: base * multiplier^stage, rounded to a multiple of 8."""
    return round_width(base * multiplier**stage)


def mobile(
    block: str,
    shape: Shape,
    classes: int,
    base: int,
    multiplier: float,
    expansion: float,
    stem_stride: tuple[int, int] = (2, 2),
    grn: bool = False,
) -> NetSpec:
    """The (3, 2, 1)-block plan of the 2024 baseline and SSCP-Mobile, of ``cp`` or ``sscp`` blocks."""
    options = {"expansion": expansion, **({"grn": True} if grn else {})}
    stages = [
        Stage(block, 3, stage_width(base, multiplier, 0), (1, 2), "last", options),
        Stage(block, 2, stage_width(base, multiplier, 1), (2, 1), "first", options),
        Stage(block, 1, stage_width(base, multiplier, 2), (1, 1), "first", options),
    ]
    return assemble(shape, classes, f"{block}_stem", base, stages, stem_stride)


def dcase2024_baseline(base: int = 32, multiplier: float = 1.8, expansion: float = 2.1) -> NetSpec:
    """The official DCASE 2024 and 2025 baseline: 61,148 parameters, 29,419,156 MACs."""
    return mobile("cp", (1, 256, 65), 10, base, multiplier, expansion)


def sscp_mobile(base: int = 32, multiplier: float = 1.8, expansion: float = 2.2) -> NetSpec:
    """SSCP-Mobile before pruning; at base 32: 62,564 parameters, 29,654,916 MACs."""
    return mobile("sscp", (1, 256, 65), 10, base, multiplier, expansion)


def _sscp_pruned(inner: int, base: int, second: int, third: int, wide: int, narrow: int) -> NetSpec:
    plan = [
        ((1, 1), base, wide),
        ((1, 1), base, wide),
        ((1, 2), base, wide),
        ((2, 1), second, wide),
        ((1, 1), second, narrow),
        ((1, 1), third, narrow),
    ]
    blocks = [LayerSpec("sscp", out, stride, {"hidden": hidden}) for stride, out, hidden in plan]
    stem = LayerSpec("sscp_stem", base, (2, 2), {"inner": inner})
    return NetSpec((1, 256, 65), 10, (stem, *blocks, LayerSpec("conv_head", 10)))


def sscp_s1() -> NetSpec:
    """SJTU-THU 2024 system 1, pruned from base 64 at ratio 1/2: 63,748 parameters, 29,982,132 MACs."""
    return _sscp_pruned(inner=8, base=32, second=56, third=104, wide=72, narrow=124)


def sscp_s3() -> NetSpec:
    """SJTU-THU 2024 system 3, pruned 96 to 64 to 32: 63,215 parameters, 29,221,122 MACs."""
    return _sscp_pruned(inner=8, base=32, second=58, third=101, wide=68, narrow=125)


SYSTEMS: dict[str, Callable[..., NetSpec]] = {
    "dcase2024-baseline": dcase2024_baseline,
    "sscp-mobile": sscp_mobile,
    "sscp-s1": sscp_s1,
    "sscp-s3": sscp_s3,
}


def system(name: str) -> Callable[..., NetSpec]:
    """The design called ``name``; its keyword arguments are what can be varied.

    Raises:
        NetworkError: unknown name; the message lists those there are.
    """
    if name not in SYSTEMS:
        raise NetworkError(f"unknown design {name!r}; known: {', '.join(SYSTEMS)}")
    return SYSTEMS[name]
