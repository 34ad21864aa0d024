"""BC-Res2Net of GZHU, DCASE 2023 Task 1, in its three sizes: C = 24, deep, and wide (C = 80)."""

from __future__ import annotations

from functools import partial

from asc_search.errors import NetworkError
from asc_search.nets.spec import LayerSpec, NetSpec


def bc_res2net(base: int = 24, resnorm: str = "batch", deep: bool = False, spare_norms: bool = True) -> NetSpec:
    """BC-Res2Net with C = ``base`` (a multiple of 8), in the version that can be quantised.

    At 24: 76,906 parameters, 23,971,450 MACs, which are the report's 76,906 and 23.97M. 1,104 of the parameters belong to
    BatchNorms that the published blocks declare and never call; ``spare_norms=False`` leaves them out (75,802, same MACs).
    At 80 (the report's wide version, a training partner only): 763,746 and 222,100,906.

    ``resnorm="statistic"`` is ResNorm as in the report: 75,882 and 23,970,426. The published code's such version has 71,382
    parameters, since each of its transition blocks shares one (3,1) convolution among the four splits.

    ``deep`` repeats every stage, the second time with a transition block that keeps the width: 141,306 and 40,077,354, over
    the budget (a training partner too). The published deep file does not run, for its forward puts a norm of 256 bands on
    maps of 128; it registers 132,306 parameters, 9,000 fewer: as many as one (3,1) convolution shared among the four splits
    of each of its eight transition blocks would save.
    """
    if base < 8 or base % 8:
        raise NetworkError(f"BC-Res2Net: base {base} is no multiple of 8, as its widths of 1.5 and 2.5 times it need")
    layers = [LayerSpec("bc_stem", 2 * base, (2, 1), {"input_norm": True, "resnorm": resnorm})]
    stages = [(base, 1, (1, 1)), (3 * base // 2, 1, (2, 2)), (2 * base, 3, (2, 2)), (5 * base // 2, 3, (1, 1))]
    for out, normals, stride in stages:
        for repeat in range(2 if deep else 1):
            for index in range(1 + normals):
                options = {
                    "transition": index == 0,
                    "resnorm": resnorm if index == normals else "none",
                    "spare_norm": spare_norms,
                    "attachment": "none",
                }
                layers.append(LayerSpec("bc_res2", out, stride if repeat == 0 and index == 0 else (1, 1), options))
    head = LayerSpec("bc_head", 10, (1, 1), {"per_group": base // 8, "features": 4 * base})
    return NetSpec((1, 256, 32), 10, (*layers, head))


SYSTEMS = {
    "bcres2-24": bc_res2net,
    "bcres2-80": partial(bc_res2net, base=80),
    "bcres2-24-deep": partial(bc_res2net, deep=True),
}
