"""Layer families, one a file; importing this package registers them all."""

from asc_search.nets.blocks import bc_res, bc_res2, cp, dssdb, heads, mn, res1d, res2d, rfr, sscp
from asc_search.nets.blocks.registry import Family, Option, Place, families, family, register

for _module in (cp, sscp, rfr, bc_res, bc_res2, dssdb, res1d, res2d, mn, heads):
    register(*_module.FAMILIES)

__all__ = ["Family", "Option", "Place", "families", "family", "register"]
