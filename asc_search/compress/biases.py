"""Biases as integer kernels have them: whole multiples of the step of the input times that of the channel's weights.

torchao's reference keeps them in float. Rounded, it computes what the programs made of it compute, but for the order of float
sums; else one value in a thousand of every map is a level off, and a clip whose classes are close is told differently.
"""

from __future__ import annotations

import torch
from torch import fx

from asc_search.compress.graph_edit import ATEN, fetched, tensor_of
from asc_search.nets.graph_file import PER_CHANNEL, PER_TENSOR

BIASED = (ATEN.conv2d.default, ATEN.linear.default)


def round_biases(graph: fx.GraphModule) -> None:
    """Round the biases of what an int8 reference ``graph`` computes of quantised inputs and weights, in place."""
    for node in [one for one in graph.graph.nodes if one.target in BIASED and len(one.args) > 2]:
        x, weight, bias = node.args[:3]
        if bias is None or x.target is not PER_TENSOR or weight.target is not PER_CHANNEL:
            continue
        step = x.args[1] * tensor_of(graph, weight.args[1]).double()
        rounded = torch.round(tensor_of(graph, bias).detach().double() / step) * step
        node.update_arg(2, fetched(graph, node, f"{node.name}_whole_bias", rounded.float()))
    graph.graph.eliminate_dead_code()
    graph.recompile()
