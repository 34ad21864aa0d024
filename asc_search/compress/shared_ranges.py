"""Tensors that share one range in training with fake quantisation: the widest of them alone says what it is.

What a concatenation joins, and what a pool or a flattening passes on, have one range. torchao lets one moving average see each of
these tensors in turn, and it settles between them: below what the widest of them needs.
"""

from __future__ import annotations

import copy

from torch import fx, nn

from asc_search.compress.graph_edit import ATEN


def watch_widest(prepared: fx.GraphModule) -> None:
    """Let the range of each group be observed where all its values come together, in place.

    That is behind its last concatenation, or at its first tensor where nothing is joined. What is joined is quantised there and
    not before, which gives the same values and keeps the observer from seeing what its own range has cut off.
    """
    order = {node: at for at, node in enumerate(prepared.graph.nodes)}
    groups: dict[nn.Module, list[fx.Node]] = {}
    for node in order:
        if node.op == "call_module":
            groups.setdefault(prepared.get_submodule(node.target), []).append(node)
    for module, nodes in groups.items():
        if len(nodes) < 2:
            continue
        joined = [node for node in nodes if node.args[0].target is ATEN.cat.default]
        widest = joined[-1] if joined else nodes[0]
        passing = {node for node in nodes if order[node] <= order[widest]}
        for node in nodes:
            if node is not widest:
                _follow(prepared, node, module, passing)
    prepared.graph.eliminate_dead_code()
    prepared.delete_all_unused_submodules()
    prepared.recompile()


def _follow(prepared: fx.GraphModule, node: fx.Node, module: nn.Module, passing: set[fx.Node]) -> None:
    """Quantise what ``node`` does by the range of the group; pass on as it is what flows into one of ``passing``."""
    name = f"{node.target}_followed"
    prepared.add_submodule(name, _shadow(module, quantises=True))
    into = [user for user in node.users if passing & set(user.users)]
    if into:
        prepared.add_submodule(f"{name}_on", _shadow(module, quantises=False))
        with prepared.graph.inserting_after(node):
            passed = prepared.graph.call_module(f"{name}_on", node.args)
            passed.meta = dict(node.meta)
        for user in into:
            user.replace_input_with(node, passed)
    node.target = name


def _shadow(module: nn.Module, quantises: bool) -> nn.Module:
    """A fake quantisation by the range that ``module`` observes, without observing."""
    shadow = copy.deepcopy(module)
    shadow.activation_post_process = module.activation_post_process
    shadow.disable_observer()
    if not quantises:
        shadow.disable_fake_quant()
    return shadow
