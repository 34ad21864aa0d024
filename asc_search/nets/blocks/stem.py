"""What stems share: pruning of the only width, and an inner width of a quarter of the output's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from asc_search.nets.blocks.common import at_least
from asc_search.nets.blocks.registry import Place
from asc_search.nets.spec import LayerSpec, Scalar


def plan(inp: int, out: int, options: Mapping[str, Scalar], place: Place) -> dict[str, Scalar]:
    """Explicit options: ``inner`` is out / 4."""
    return {"inner": at_least(1, out // 4)}


def shrink(layer: LayerSpec, keep: Callable[[int], int]) -> LayerSpec:
    """The stem with both widths mapped through ``keep``."""
    options = {**layer.options, "inner": keep(layer.options["inner"])}
    return replace(layer, out=keep(layer.out), options=options)


def shrink_width(layer: LayerSpec, keep: Callable[[int], int]) -> LayerSpec:
    """A stem that has no inner width, its output's mapped through ``keep``."""
    return replace(layer, out=keep(layer.out))
