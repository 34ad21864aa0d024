"""BatchNorms that were trained with fake quantisation, multiplied into their convolutions.

torchao does it by matching patterns, dozens of which it exports anew each time; the graph says directly what belongs together.
"""

from __future__ import annotations

import torch
from torch import fx

from asc_search.compress.graph_edit import ATEN, fetched, tensor_of
from asc_search.errors import NetworkError


@torch.no_grad()
def fold_norms(prepared: fx.GraphModule) -> None:
    """Replace conv(x, fq(w * s)) / s [+ b], then BatchNorm, by conv(x, fq(w * s), (b - mean) * s + shift), in place.

    s is the BatchNorm's scale over its running deviation: in evaluation mode the values stay.

    Raises:
        NetworkError: a BatchNorm follows something else.
    """
    graph = prepared.graph
    for norm in [node for node in graph.nodes if node.target is ATEN.batch_norm.default]:
        before, bias = norm.args[0], None
        if before.target is ATEN.add.Tensor:
            before, added = before.args
            bias = tensor_of(prepared, added.args[0])
        conv = before.args[0]
        fake = conv.args[1] if conv.target in (ATEN.conv2d.default, ATEN.conv1d.default) else None
        if before.target is not ATEN.div.Tensor or fake is None or fake.op != "call_module":
            raise NetworkError(f"{norm.name} follows {before.name}, no convolution")
        gamma, beta, mean, variance = (tensor_of(prepared, one) for one in norm.args[1:5])
        scale = gamma / torch.sqrt(variance + norm.args[7])
        kernel = tensor_of(prepared, fake.args[0].args[0])
        shift = beta + scale * ((0 if bias is None else bias) - mean)
        fake.args = (
            fetched(prepared, fake, f"{norm.name}_weight", kernel * scale.reshape(-1, *[1] * (kernel.dim() - 1))),
        )
        conv.args = (*conv.args[:2], fetched(prepared, conv, f"{norm.name}_bias", shift), *conv.args[3:])
        norm.replace_all_uses_with(conv)
        graph.erase_node(norm)
    for node in reversed(list(graph.nodes)):  # what counted batches, too, which no dead code is to PyTorch
        if not node.users and node.op in ("call_function", "get_attr"):
            graph.erase_node(node)
    prepared.recompile()
