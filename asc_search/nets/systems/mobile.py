"""The inverted-residual designs: the DCASE 2024 baseline, CP-Mobile 2023, SSCP-Mobile and its pruned systems."""

from __future__ import annotations

from asc_search.nets.plan import End, Stage, assemble, mobile, stage_width
from asc_search.nets.spec import LayerSpec, NetSpec


def dcase2024_baseline(base: int = 32, multiplier: float = 1.8, expansion: float = 2.1) -> NetSpec:
    """The official DCASE 2024 and 2025 baseline: 61,148 parameters, 29,419,156 MACs."""
    return mobile("cp", (1, 256, 65), 10, base, multiplier, expansion)


def cp_mobile_2023(base: int = 32, multiplier: float = 2.3, expansion: float = 3.0) -> NetSpec:
    """CP-Mobile of CP-JKU 2023, with GRN and its own strides: 126,952 parameters, 28,893,268 MACs."""
    options = {"expansion": expansion, "attachment": "grn"}
    first, second, third = (stage_width(base, multiplier, index) for index in range(3))
    stages = [
        Stage("cp", 1, first, options=options),
        Stage("cp", 2, first, (2, 2), "first", options),
        Stage("cp", 2, second, (2, 1), "first", options),
        Stage("cp", 1, third, options=options),
    ]
    return assemble((1, 256, 64), 10, End("cp_stem"), base, stages)


def sscp_mobile(base: int = 32, multiplier: float = 1.8, expansion: float = 2.2, fusion: str = "parallel") -> NetSpec:
    """SSCP-Mobile before pruning; at base 32: 62,564 parameters, 29,654,916 MACs.

    ``fusion="serial"`` is the other reading of the report's "fusion": 65,036 / 33,866,628, over the budget.
    """
    return mobile("sscp", (1, 256, 65), 10, base, multiplier, expansion, fusion=fusion)


def _sscp_pruned(inner: int, base: int, second: int, third: int, wide: int, narrow: int) -> NetSpec:
    plan = [
        ((1, 1), base, wide, True),
        ((1, 1), base, wide, True),
        ((1, 2), base, wide, True),
        ((2, 1), second, wide, False),
        ((1, 1), second, narrow, True),
        ((1, 1), third, narrow, False),
    ]
    fixed = {"attachment": "none", "fusion": "parallel"}
    blocks = [
        LayerSpec("sscp", out, stride, {"hidden": hidden, "shortcut": shortcut, **fixed})
        for stride, out, hidden, shortcut in plan
    ]
    stem = LayerSpec("sscp_stem", base, (2, 2), {"inner": inner, "fusion": "parallel"})
    return NetSpec((1, 256, 65), 10, (stem, *blocks, LayerSpec("conv_head", 10)))


def sscp_s1() -> NetSpec:
    """SJTU-THU 2024 system 1, pruned from base 64 at ratio 1/2: 63,748 parameters, 29,982,132 MACs."""
    return _sscp_pruned(inner=8, base=32, second=56, third=104, wide=72, narrow=124)


def sscp_s3() -> NetSpec:
    """SJTU-THU 2024 system 3, pruned 96 to 64 to 32: 63,215 parameters, 29,221,122 MACs."""
    return _sscp_pruned(inner=8, base=32, second=58, third=101, wide=68, narrow=125)


SYSTEMS = {
    "dcase2024-baseline": dcase2024_baseline,
    "cp-mobile-2023": cp_mobile_2023,
    "sscp-mobile": sscp_mobile,
    "sscp-s1": sscp_s1,
    "sscp-s3": sscp_s3,
}
