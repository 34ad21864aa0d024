"""Pruning gives exactly the widths the price assumed, and removes exactly the channels of least weight."""

from __future__ import annotations

import torch

from asc_search.compress.prune import prune_to
from asc_search.compress.weights import as_stored, stored_state
from asc_search.nets.network import build, price
from asc_search.nets.plan import mobile
from asc_search.nets.systems.mobile import sscp_mobile, sscp_s1


def test_sscp_64_at_one_half_is_system_1() -> None:
    source = sscp_mobile(64)
    pruned = prune_to(build(source), source, sscp_s1())
    parameters = sum(parameter.numel() for parameter in pruned.parameters())
    assert (parameters, price(sscp_s1()).macs) == (63_748, 29_982_132)


def test_stored_weights_have_the_type_that_is_counted() -> None:
    network = build(mobile("cp", (1, 32, 17), 4, 8, 1.5, 2.0))
    stored = stored_state(network, "fp16")
    names = [name for name, _ in network.named_parameters()]
    assert (
        sum(stored[name].numel() * stored[name].element_size() for name in names)
        == 2 * price(mobile("cp", (1, 32, 17), 4, 8, 1.5, 2.0)).params
    )
    twin = as_stored(network, "fp16")
    for name, parameter in network.named_parameters():
        assert torch.equal(twin.get_parameter(name), parameter.half().float())
