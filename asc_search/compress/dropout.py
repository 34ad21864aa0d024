"""Dropout, which a network in use does not have."""

from __future__ import annotations

from torch import fx

from asc_search.compress.graph_edit import ATEN
from asc_search.nets.graph_file import PER_TENSOR, ROUND

DROPOUTS = (
    ATEN.dropout.default,
    ATEN.dropout_.default,
    ATEN.feature_dropout.default,
    ATEN.feature_dropout_.default,
)


def remove_dropout(graph: fx.GraphModule) -> None:
    """Take the dropouts out of an int8 reference ``graph``, in place, and with them the second rounding of what they passed on.

    It costs a little accuracy, and onnxruntime leaves out the first of two roundings in a row, so that its sums are others.
    """
    for node in [one for one in graph.graph.nodes if one.target in DROPOUTS]:
        source, again = node.args[0], [one for one in node.users if one.target is ROUND]
        node.replace_all_uses_with(source)
        graph.graph.erase_node(node)  # it draws numbers, so that it would not count as dead
        if source.target is PER_TENSOR:
            for reader in [reader for one in again for reader in one.users]:
                reader.replace_all_uses_with(source)
    graph.graph.eliminate_dead_code()
    graph.recompile()
