"""The average of the weights, against torch's own."""

from __future__ import annotations

import torch

from asc_search.train.ema import Average


def test_the_average_is_torchs_with_a_decay_that_grows() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3))
    average = Average(network, 0.3)
    oracle = torch.optim.swa_utils.AveragedModel(
        network,
        avg_fn=lambda mean, new, n: mean + (1 - min(0.3, (1 + n.item() - 1) / (10 + n.item() - 1))) * (new - mean),
        use_buffers=True,
    )
    oracle.update_parameters(network)  # torch's first update copies
    for _ in range(6):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        network(torch.randn(4, 1, 8, 8))
        average.update()
        oracle.update_parameters(network)
    trained = {name: value.clone() for name, value in network.state_dict().items()}
    average.swap()
    for name, value in oracle.module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(network.state_dict()[name], value)
    assert network.state_dict()["1.num_batches_tracked"] == 6
    average.swap()
    assert all(torch.equal(value, trained[name]) for name, value in network.state_dict().items())
