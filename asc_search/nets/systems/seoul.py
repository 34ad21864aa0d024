"""The networks of the University of Seoul, DCASE 2019 Task 1a: residual CNNs on 10 s of stereo at 48 kHz.

Both are far over today's budgets: for teachers as they are, for students at smaller ``base`` and on shorter inputs
(``NetSpec.with_input``).
"""

from __future__ import annotations

from asc_search.nets.plan import End, Stage, assemble
from asc_search.nets.spec import NetSpec


def seoul_raw(
    base: int = 64, blocks: int = 7, kernel: int = 12, shortcut_kernel: int = 3, embedding: int = 64
) -> NetSpec:
    """The raw waveform network (Table 2): 630,154 parameters, 3,021,997,322 MACs on 479,999 samples.

    Two blocks widen from ``base`` to 2 * base, the others stay there; each divides the length by 3, the stem by ``kernel``.
    Read from the code: the shortcut's kernel 3 (with ``shortcut_kernel=1``: 613,770 / 2,803,549,450). Our reading: the
    global pooling is the mean, the output has a bias, ``embedding`` is linear.
    """
    widths = [base, *[2 * base] * (blocks - 1)]
    stages = [Stage("res1d", 1, width, (1, 3), options={"shortcut_kernel": shortcut_kernel}) for width in widths]
    head = End("linear_head", {"hidden": embedding, "act": "none"})
    return assemble((2, 1, 479_999), 10, End("res1d_stem", {"kernel": kernel}), base, stages, (1, kernel), head)


def seoul_mel(base: int = 30, shortcut_kernel: int = 1) -> NetSpec:
    """The mel energy network (Table 3): 1,083,160 parameters, 3,136,859,950 MACs on 2 x 256 x 248.

    Widths base * (1, 2, 4, 8). Our reading: strides in the convolutions, stereo, the shortcut's kernel 1 (with
    ``shortcut_kernel=3``: 1,385,560 / 3,688,437,550).
    """
    options = {"shortcut_kernel": shortcut_kernel}
    strides = [(1, 1), (2, 2), (2, 2), (3, 3)]
    stages = [Stage("res2d", 1, base * 2**index, stride, options=options) for index, stride in enumerate(strides)]
    return assemble((2, 256, 248), 10, End("res2d_stem"), base, stages, (1, 1), End("linear_head"))


SYSTEMS = {"seoul-raw": seoul_raw, "seoul-mel": seoul_mel}
