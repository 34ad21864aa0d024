"""What the two-convolution stems share: the inner width, a quarter of the output's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from asc_search.nets.spec import LayerSpec, Scalar


def plan(name: str) -> Callable[[int, int, tuple[int, int], Mapping[str, Scalar]], LayerSpec]:
    """Planner of the stem family ``name``: ``inner`` is out / 4."""

    def planned(inp: int, out: int, stride: tuple[int, int], options: Mapping[str, Scalar]) -> LayerSpec:
        return LayerSpec(name, out, stride, {"inner": max(1, out // 4)})

    return planned


def shrink(layer: LayerSpec, keep: Callable[[int], int]) -> LayerSpec:
    """The stem with both widths mapped through ``keep``."""
    return replace(layer, out=keep(layer.out), options={"inner": keep(int(layer.options["inner"]))})
