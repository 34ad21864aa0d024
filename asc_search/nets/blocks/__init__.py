"""Layer families, one a file; importing this package registers them all."""

from asc_search.nets.blocks import cp, heads, sscp
from asc_search.nets.blocks.registry import Family, Option, families, family, register

register(*cp.FAMILIES, *sscp.FAMILIES, *heads.FAMILIES)

__all__ = ["Family", "Option", "families", "family", "register"]
