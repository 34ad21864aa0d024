"""The ledger's receptive field against gradients: what one output value hears of the input, to the very bin."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import nn

from asc_search.errors import NetworkError
from asc_search.nets.ledger import Ledger, Map, Pair
from asc_search.nets.network import build, price
from asc_search.nets.spec import NetSpec
from asc_search.nets.systems import system
from asc_search.nets.systems.dsmn import dsmn_2
from asc_search.nets.systems.mn import mn
from asc_search.nets.systems.mobile import sscp_mobile
from asc_search.nets.systems.seoul import seoul_mel

PAIRS = [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2)]
KERNELS = [(1, 1), (3, 1), (1, 3), (3, 3), (5, 3), (2, 4)]


def heard(net: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, int, int]) -> Pair:
    """How many bins and frames of the input move the middle value of the output."""
    x = torch.ones(1, *shape, dtype=torch.float64, requires_grad=True)
    y = net(x)
    y[0, :, y.shape[2] // 2, y.shape[3] // 2].sum().backward()
    extents = []
    for axes in ((0, 1, 3), (0, 1, 2)):
        touched = (x.grad != 0).sum(axes).nonzero()
        extents.append(int(touched.max() - touched.min() + 1))
    return (extents[0], extents[1])


def positive(net: nn.Module) -> nn.Module:
    """The network with weights above zero, so that no path cancels another; means for maxima, no gates."""
    for module in net.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
            if name == "attachment":
                setattr(module, name, nn.Identity())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
    return net.double().eval()


@pytest.mark.parametrize("seed", range(40))
def test_receptive_field_is_what_the_gradient_reaches(seed: int) -> None:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    ledger = Ledger((1, 401, 401))
    x, layers = ledger.input, []
    for index in range(rng.randint(1, 5)):
        kernel, stride = rng.choice(KERNELS), rng.choice(PAIRS) if index < 3 else (1, 1)
        if rng.random() < 0.3:
            padding = (kernel[0] // 2, kernel[1] // 2)
            layers.append(nn.AvgPool2d(kernel, stride, padding))
            x = ledger.pool(f"pool{index}", x, kernel, stride, padding)
            continue
        dilation = rng.choice([(1, 1), (2, 1), (1, 2), (2, 3)])
        padding = (dilation[0] * (kernel[0] // 2), dilation[1] * (kernel[1] // 2))
        layers.append(nn.Conv2d(x.channels, 2, kernel, stride, padding, dilation, bias=False))
        x = ledger.conv(f"conv{index}", x, 2, kernel, stride, dilation=dilation, norm=False)
    net = positive(nn.Sequential(*layers))
    assert net(torch.zeros(1, *ledger.input.shape, dtype=torch.float64)).shape[1:] == x.shape
    assert heard(net, ledger.input.shape) == x.reach
    assert ledger.cost(x).receptive_field == x.reach


def test_receptive_field_by_hand() -> None:
    ledger = Ledger((1, 100, 100))
    x = ledger.conv("a", ledger.input, 4, (3, 3), (2, 1))  # r = 3, 3; j = 2, 1
    x = ledger.conv("b", x, 4, (3, 5), dilation=(2, 1))  # r = 3 + 4*2, 3 + 4; j = 2, 1
    x = ledger.pool("c", x, (2, 3))  # r = 11 + 2, 7 + 2; j = 4, 3
    x = ledger.conv("d", x, 4, (3, 3))  # r = 13 + 2*4, 9 + 2*3
    assert x.reach == (21, 15)
    assert x.jump == (4, 3)


def test_sums_and_concatenations_hear_what_their_widest_part_does() -> None:
    for join in ("add", "concat"):
        ledger = Ledger((2, 60, 60))
        tall = ledger.conv("tall", ledger.input, 2, (7, 1))
        wide = ledger.conv("wide", ledger.input, 2, (1, 5))
        made = ledger.add("join", tall, wide) if join == "add" else ledger.concat("join", [tall, wide])
        assert made.reach == (7, 5)


def test_means_hear_all_of_their_axes_and_gates_do_not_count() -> None:
    ledger = Ledger((2, 40, 30))
    x = ledger.conv("conv", ledger.input, 4, (3, 3))
    assert ledger.mean("bins", x, time=False).reach == (40, 3)
    assert ledger.mean("frames", x, freq=False).reach == (3, 30)
    mean = ledger.mean("all", x)
    assert mean.reach == (40, 30)
    assert ledger.scale("gate", x, mean).reach == (3, 3)


SEEN: list[tuple[str, NetSpec]] = [
    *(
        (name, system(name)().with_input((channels, *size)))
        for name, channels, size in [
            ("dcase2024-baseline", 1, (301, 201)),
            ("cp-mobile-2023", 1, (301, 201)),
            ("sscp-s1", 1, (301, 201)),
            ("cp-resnet-2022", 1, (301, 301)),
            ("serfr-32-a", 1, (301, 201)),
        ]
    ),
    ("sscp-mobile serial", sscp_mobile(fusion="serial").with_input((1, 301, 201))),
    ("dsmn-2 narrow", dsmn_2(4, (4, 4, 6, 6, 6)).with_input((2, 501, 501))),
    ("mn at 0.1", mn(0.1).with_input((1, 701, 701))),
    ("seoul-mel narrow", seoul_mel(4).with_input((2, 301, 301))),
]


@pytest.mark.parametrize("spec", [spec for _, spec in SEEN], ids=[name for name, _ in SEEN])
def test_receptive_field_of_designs_is_what_the_gradient_reaches(spec: NetSpec) -> None:
    torch.manual_seed(0)
    net = positive(build(spec))
    assert heard(lambda x: net.trunk(x)[-1], spec.input) == price(spec).receptive_field


def test_splits_of_a_map_count_as_wide_as_the_widest() -> None:
    """Without a 1x1 between them the splits of BC-Res2 blocks grow apart; the ledger takes all for the last, the widest."""
    torch.manual_seed(0)
    spec = system("bcres2-24")().with_input((1, 256, 401))
    net = positive(build(spec))
    assert heard(lambda x: net.trunk(x)[-1], spec.input) == (256, 216)
    assert price(spec).receptive_field == (256, 312)


def test_receptive_field_ends_where_the_input_does() -> None:
    baseline = system("dcase2024-baseline")()
    free = price(baseline.with_input((1, 900, 900))).receptive_field
    assert price(baseline).receptive_field == (min(free[0], 256), min(free[1], 65))


def test_what_is_wrong_is_said_with_the_layer() -> None:
    ledger = Ledger((1, 4, 4))
    ledger.enter(3, "some")
    ledger.require(True, "unused")
    with pytest.raises(NetworkError, match=r"^layer 3 \(some\): width 5 is odd$"):
        ledger.require(False, "width {} is odd", 5)
    with pytest.raises(NetworkError, match=r"^layer 3 \(some\): conv would give 2 channels on a map of 0x4 .*; use a"):
        ledger.conv("conv", ledger.input, 2, (7, 3), padding=(0, 1))


def test_views_and_norms_weigh_what_they_should() -> None:
    ledger = Ledger((8, 6, 5))
    x = ledger.input
    assert ledger.split(x, 2).shape == (2, 6, 5)
    assert ledger.cut(x, 3).shape == (8, 3, 5)
    assert (ledger.params, ledger.macs) == (0, 0)
    x = ledger.norm("norm", x, 6)
    assert (ledger.params, ledger.macs, ledger.conv_linear_macs) == (12, 12, 0)
    ledger.uncalled("spare", x, 100)
    x = ledger.scalars("scalars", x, 2)
    assert (ledger.params, ledger.macs) == (114, 12)
    x = ledger.conv("conv", x, 4, (3, 3), groups=2, bias=True)
    assert (ledger.params, ledger.macs) == (114 + 144 + 4 + 8, 12 + 148 * 30 + 8)
    ledger.linear("linear", ledger.mean("mean", x), 7)
    assert (ledger.params, ledger.macs) == (270 + 35, 4460 + 35)
    assert isinstance(x, Map)
    cost = ledger.cost(x)
    assert (cost.kernels, cost.channels, cost.others) == (144 + 28, 4 + 7, 12 + 100 + 2)
    assert [row.name for row in cost.layers] == ["norm", "spare", "scalars", "conv", "mean", "linear"]
