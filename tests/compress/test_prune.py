"""Pruning gives exactly the widths the price assumed, and removes exactly the channels of least weight."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from asc_search.compress.prune import prune_to
from asc_search.compress.weights import as_stored, stored_state
from asc_search.nets.network import build, price, shrink
from asc_search.nets.plan import mobile
from asc_search.nets.systems.mobile import sscp_mobile, sscp_s1


def test_sscp_64_at_one_half_is_system_1() -> None:
    source = sscp_mobile(64)
    pruned = prune_to(build(source), source, sscp_s1(), 0.5)
    parameters = sum(parameter.numel() for parameter in pruned.parameters())
    assert (parameters, price(sscp_s1()).macs) == (63_748, 29_982_132)


@pytest.mark.parametrize("block", ["cp", "sscp"])
@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_removing_silenced_channels_changes_nothing(block: str, ratio: float) -> None:
    """Silence the last channels first, at both ends: they are the least, so removing them must keep the output."""
    torch.manual_seed(0)
    source = mobile(block, (1, 64, 33), 10, 16, 1.5, 2.0)
    target = shrink(source, lambda width: max(1, int(width * (1 - ratio))))
    network = build(source)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    with torch.no_grad():
        for (name, parameter), small in zip(network.named_parameters(), build(target).parameters(), strict=True):
            if not name.startswith(f"{len(network) - 1}."):
                parameter[len(small) :] = 0
            if parameter.dim() == 4:
                parameter[:, small.shape[1] :] = 0
    x = torch.randn(4, 1, 64, 33)
    before = network.eval()(x)
    after = prune_to(network, source, target, ratio).eval()(x)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


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
