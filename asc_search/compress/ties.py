"""Means that do not lie between two levels.

XNNPACK wants the mean of a map at the map's own scale. That of n whole levels then lies exactly between two of them once in n
times, and what it is rounded to there is chance: halves go to even in one kernel and up in another, or the order of a float sum
decides. Where a mean gates a map (squeeze-excitation, ECA) the whole map is another one, and a deep network amplifies it.
"""

from __future__ import annotations

from torch import fx

from asc_search.compress.graph_edit import ATEN
from asc_search.nets.graph_file import PER_TENSOR, ROUND, described, rebuilt

MEANS = (ATEN.adaptive_avg_pool2d.default, ATEN.mean.dim)
HAIR = 1 / 4001  # of the scale: at most a sixteenth of a level, and hundreds of times what float sums are off by


def break_ties(graph: fx.GraphModule) -> None:
    """Divide the means of an int8 ``graph`` by a hair less than their scale, in place: halves then go away from zero."""
    for node in _rounded_means(graph):
        if node.args[1] == node.args[0].args[0].args[1]:
            node.update_arg(1, node.args[1] * (1 - HAIR))
    graph.recompile()


def with_ties(graph: fx.GraphModule) -> fx.GraphModule:
    """A copy of an int8 reference ``graph`` with one scale for a mean and what it is of, as XNNPACK wants it."""
    twin = rebuilt(*described(graph))
    for node in _rounded_means(twin):
        node.update_arg(1, next(iter(node.users)).args[1])
    twin.recompile()
    return twin


def _rounded_means(graph: fx.GraphModule) -> list[fx.Node]:
    """Where a mean of int8 numbers is made one."""
    return [
        node
        for node in graph.graph.nodes
        if node.target is ROUND and node.args[0].target in MEANS and node.args[0].args[0].target is PER_TENSOR
    ]
