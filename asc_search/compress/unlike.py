"""Narrow maps whose channels are of unlike spread, in parts that have a range of their own.

An int8 map has one range for all its channels, and a depthwise convolution gives each its own weight: a channel of a twentieth
of the others' spread keeps a dozen of 256 levels. Before a rectifier the channels can be scaled alike and back behind it (Nagel
et al. 2019, section 4.1); through a hard swish they cannot. The stem of MobileNetV3 ends in one.
"""

from __future__ import annotations

from itertools import accumulate, groupby, pairwise

import torch
from torch import fx
from torch.nn import functional

from asc_search.compress.graph_edit import ATEN, by_channel, called, held, tensor_of

HARD_SWISHES = (ATEN.hardswish.default, ATEN.hardswish_.default)
UNLIKE = 1 / 6  # of the widest channel's spread: less than that keeps some 30 levels
DEAD = 1e-3  # of it: carries nothing
MOST = 4  # parts; each is a kernel's call
QUANTILES = (torch.arange(201) + 0.5) / 201


def parted(graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """A hard swish of a BatchNorm of a convolution, in runs of channels that are alike, joined where all are read at once.

    Depthwise convolutions read the runs; nothing is multiplied or stored that was not before. None where all are alike,
    where none of its readers is depthwise, or where there would be more than ``MOST`` runs.
    """
    norm = node.args[0]
    conv = norm.args[0] if norm.target is ATEN.batch_norm.default else None
    if conv is None or conv.target is not ATEN.conv2d.default or any(len(one.users) > 1 for one in (conv, norm)):
        return None
    readers = [one for one in node.users if one.target is ATEN.conv2d.default and by_channel(one)]
    spans = runs(*(tensor_of(graph, one).detach() for one in norm.args[1:3]))
    if not readers or len(conv.args) > 6 or not 1 < len(spans) <= MOST:
        return None
    normed = [_normed(graph, norm, _part(graph, conv, conv.args[0], span), span) for span in spans]
    for reader in readers:
        _read_parts(graph, reader, [_swished(graph, node, one) for one in normed], spans)
    # What is joined shares one range: other readers' parts are swished apart.
    return called(graph, node, ATEN.cat.default, [_swished(graph, node, one) for one in normed], 1)


def runs(scale: torch.Tensor, shift: torch.Tensor) -> list[slice]:
    """Runs of channels alike, of a BatchNorm's ``scale`` and ``shift`` (channels,) with a hard swish behind it.

    What a BatchNorm gives has about the deviation ``scale`` around ``shift``. A dead channel goes with those before it.
    """
    told = shift[:, None] + scale[:, None] * torch.special.ndtri(QUANTILES)
    spread = functional.hardswish(told).std(dim=1)
    spread = spread / spread.max()
    small = (spread < UNLIKE).tolist()
    for at, one in enumerate((spread < DEAD).tolist()):
        small[at] = small[at - 1] if one and at else small[at] and not one
    ends = accumulate(len(list(run)) for _, run in groupby(small))
    return [slice(start, end) for start, end in pairwise([0, *ends])]


def _swished(graph: fx.GraphModule, node: fx.Node, x: fx.Node) -> fx.Node:
    return called(graph, node, ATEN.hardswish.default, x)


def _read_parts(graph: fx.GraphModule, reader: fx.Node, parts: list[fx.Node], spans: list[slice]) -> None:
    """A depthwise convolution of the parts, with its BatchNorm if it has one."""
    only = next(iter(reader.users)) if len(reader.users) == 1 else None
    norm = only if only is not None and only.target is ATEN.batch_norm.default else None
    last = reader if norm is None else norm
    with graph.graph.inserting_before(last):
        made = [_part(graph, reader, part, span) for part, span in zip(parts, spans, strict=True)]
        if norm is not None:
            made = [_normed(graph, norm, one, span) for one, span in zip(made, spans, strict=True)]
        last.replace_all_uses_with(called(graph, last, ATEN.cat.default, made, 1))


def _part(graph: fx.GraphModule, conv: fx.Node, x: fx.Node, span: slice) -> fx.Node:
    """The output channels ``span`` of ``conv``, of ``x``; a depthwise one has these input channels, too."""
    kernel, bias = conv.args[1], conv.args[2] if len(conv.args) > 2 else None
    weight = _slice(graph, kernel, span)
    known = None if bias is None else _slice(graph, bias, span)
    groups = (span.stop - span.start,) if len(conv.args) > 6 else ()
    return called(graph, conv, conv.target, x, weight, known, *conv.args[3:6], *groups)


def _normed(graph: fx.GraphModule, norm: fx.Node, x: fx.Node, span: slice) -> fx.Node:
    trained = [_slice(graph, one, span) for one in norm.args[1:3]]
    counted = [_slice(graph, one, span, trained=False) for one in norm.args[3:5]]
    return called(graph, norm, norm.target, x, *trained, *counted, *norm.args[5:])


def _slice(graph: fx.GraphModule, tensor: fx.Node, span: slice, trained: bool = True) -> fx.Node:
    value = tensor_of(graph, tensor).detach()[span].clone()
    return held(graph, f"{tensor.name}_{span.start}", value, tensor, trained)
