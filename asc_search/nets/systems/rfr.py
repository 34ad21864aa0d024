"""Receptive-field-regularised designs: SERFR-CNN of vivo (DCASE 2023) and the CP-ResNet of CP-JKU (DCASE 2022)."""

from __future__ import annotations

from functools import partial

from asc_search.errors import NetworkError
from asc_search.nets.blocks import Place, family
from asc_search.nets.plan import End, Stage, assemble
from asc_search.nets.spec import NetSpec

# Output over inner width of a unit, and the stem's stride in frequency.
READINGS = {"L": (1, 1), "A": (2, 1), "B": (1, 2), "A+B": (2, 2)}


def serfr(width: int = 32, reading: str = "A", units: int = 3, features: int = 256) -> NetSpec:
    """SERFR-CNN of vivo, DCASE 2023, on 256 mel bins x 28 frames, ``width`` channels throughout; at 32 and at 24:

    ``L`` as the report draws it: 60,438 parameters, 46,156,022 MACs; 37,315 / 27,054,955.
    ``A``, half the width inside a unit: 38,646 / 26,780,630; 25,003 / 16,156,243.
    ``B``, stem stride 2 in frequency: 60,438 / 22,847,734; 37,315 / 13,398,763.
    ``A+B``: 38,646 / 13,272,022; 25,003 / 8,012,371.

    The report prints no complexity. L at 32 is over the challenge's 30 million MACs, yet the system was accepted: A and B
    are our readings that fit. Ours are also the constant width, SE reduction 8, BatchNorm and ReLU after every
    convolution, and that the stage's input is added after the transition.

    Raises:
        NetworkError: unknown reading.
    """
    if reading not in READINGS:
        raise NetworkError(f"unknown reading {reading!r} of SERFR-CNN; known: {', '.join(READINGS)}")
    bottleneck, stride = READINGS[reading]
    options = {"units": units, "bottleneck": bottleneck}
    stages = [Stage("serfr", 1, width, (2, 2), options={**options, "kernel": kernel}) for kernel in (3, 1, 1)]
    stem = End("rfr_stem", {"kernel": 5, "pool": "avg", "pool_freq": 3, "pool_time": 2})
    return assemble((1, 256, 28), 10, stem, width, stages, (stride, 1), End("linear_head", {"features": features}))


def cp_resnet_2022(
    base: int = 32, rho: int = 8, cut: int = 36, groups: int = 2, second: int = 1, third: int = 1
) -> NetSpec:
    """CP-ResNet of CP-JKU, DCASE 2022, on 256 mel bins x 44 frames: 127,684 parameters, 28,840,396 MACs.

    Widths base * (1, 2, 4), the last less ``cut``; two blocks in the first stage, ``second`` and ``third`` in the others;
    ``groups`` in all three convolutions of the second stage's blocks. The challenge paper gives 121 K and 28 million MACs
    for the team's best system; the published command for a "similar" one is this, so the two are close, not the same.
    """
    stem = family("rfr_stem").layer(1, base, (2, 2), kernel=5, padding=1)
    layers, channels = [stem], base
    for stage, (depth, out, split) in enumerate(((2, base, 1), (second, 2 * base, groups), (third, 4 * base - cut, 1))):
        stride = (2, 1) if stage == 0 else (1, 1)
        for block in range(depth):
            place = Place(stage, block, block == depth - 1)
            layers.append(family("rfr").layer(channels, out, stride, place, rho=rho, groups=split))
            channels = out
    return NetSpec((1, 256, 44), 10, (*layers, family("conv_head").layer(channels, 10)))


SYSTEMS = {
    "serfr-32-a": serfr,
    "serfr-32-b": partial(serfr, reading="B"),
    "serfr-24-a": partial(serfr, width=24),
    "serfr-24-b": partial(serfr, width=24, reading="B"),
    "cp-resnet-2022": cp_resnet_2022,
}
