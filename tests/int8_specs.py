"""Small networks with what an int8 graph has to rewrite."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from asc_search.nets.blocks.attachment import GlobalResponseNorm
from asc_search.nets.network import build
from asc_search.nets.plan import mobile
from asc_search.nets.spec import LayerSpec, NetSpec

SHAPE = (1, 16, 12)
STEM, FIRST, _, STRIDED, *_, HEAD = mobile("cp", SHAPE, 5, 8, 1.0, 2.0).layers


def around(*blocks: LayerSpec) -> NetSpec:
    """A small network of ``blocks`` between stem and head."""
    return replace(mobile("cp", SHAPE, 5, 8, 1.0, 2.0), layers=(STEM, *blocks, HEAD))


def with_block(family: str, **options: object) -> NetSpec:
    return around(LayerSpec(family, STEM.out, (1, 1), options))


def gated(kind: str, **options: object) -> NetSpec:
    return around(replace(FIRST, options={**FIRST.options, "attachment": kind, **options}))


SPECS = {
    "average pool with padding": around(STRIDED),
    "se": gated("se", squeeze=2),
    "eca": gated("eca"),
    "grn": gated("grn"),
    "sub-spectral norm": with_block("bc_res", transition=False, dilation=1, attachment="none"),
    "splits, resnorm over frequency": with_block(
        "bc_res2", transition=False, spare_norm=False, resnorm="batch", attachment="none"
    ),
    "norm of a sum": with_block("dssdb", attachment="none"),
    "norm of a sum, half the frequencies": with_block("dssdb_seg", attachment="none"),
}


def trained_a_little(spec: NetSpec) -> nn.Module:
    """A network whose norms have statistics, scales and shifts unlike those they start with."""
    torch.manual_seed(0)
    network = build(spec)
    for _ in range(3):
        network(torch.randn(8, *spec.input) * 2 - 1)
    for one in network.modules():
        if isinstance(one, nn.BatchNorm2d):
            nn.init.uniform_(one.weight, 0.5, 1.5)
            nn.init.uniform_(one.bias, -0.5, 0.5)
        if isinstance(one, GlobalResponseNorm):
            nn.init.constant_(one.gamma, 0.4)
            nn.init.constant_(one.beta, 0.1)
    return network.eval()
