"""Plans: from a stem, stages of blocks and a head to a NetSpec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from asc_search.nets.blocks import Place, family
from asc_search.nets.blocks.common import round_width
from asc_search.nets.cost import Shape
from asc_search.nets.spec import NetSpec, Scalar


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


@dataclass(frozen=True)
class End:
    """A stem or a head: its family and drawn options."""

    family: str
    options: Mapping[str, Scalar] = field(default_factory=dict)


CONV_HEAD = End("conv_head")


def assemble(
    shape: Shape,
    classes: int,
    stem: End,
    base: int,
    stages: Sequence[Stage],
    stem_stride: tuple[int, int] = (2, 2),
    head: End = CONV_HEAD,
) -> NetSpec:
    """A stem of width ``base``, the stages, and the head, as one spec.

    Raises:
        NetworkError: unknown family.
    """
    layers = [family(stem.family).layer(shape[0], base, stem_stride, **stem.options)]
    channels = base
    for number, stage in enumerate(stages):
        block = family(stage.family)
        strided = 0 if stage.stride_at == "first" else stage.depth - 1
        for index in range(stage.depth):
            stride = stage.stride if index == strided else (1, 1)
            place = Place(number, index, index == stage.depth - 1)
            layers.append(block.layer(channels, stage.out, stride, place, **stage.options))
            channels = stage.out
    return NetSpec(shape, classes, (*layers, family(head.family).layer(channels, classes, **head.options)))


def stage_width(base: int, multiplier: float, stage: int) -> int:
    """Output width of stage 0, 1, 2, ...: base * multiplier^stage, rounded to a multiple of 8."""
    width = base
    for _ in range(stage):  # a product rounds alike for one number and for an array, a power may not
        width = width * multiplier
    return round_width(width)


def mobile(
    block: str,
    shape: Shape,
    classes: int,
    base: int,
    multiplier: float,
    expansion: float,
    stem_stride: tuple[int, int] = (2, 2),
    **options: Scalar,
) -> NetSpec:
    """The (3, 2, 1)-block plan of the 2024 baseline and SSCP-Mobile, of ``cp`` or ``sscp`` blocks; ``options`` are theirs."""
    both = {"expansion": expansion, **options}
    stem = f"{block}_stem"
    stem_options = {key: value for key, value in options.items() if key in family(stem).options}
    stages = [
        Stage(block, 3, stage_width(base, multiplier, 0), (1, 2), "last", both),
        Stage(block, 2, stage_width(base, multiplier, 1), (2, 1), "first", both),
        Stage(block, 1, stage_width(base, multiplier, 2), (1, 1), "first", both),
    ]
    return assemble(shape, classes, End(stem, stem_options), base, stages, stem_stride)
