"""What pruning leaves of the widths of many points at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from asc_search.nets.blocks.common import whole
from asc_search.nets.ledger import Ledger
from asc_search.oracle.to_budget import tapered
from asc_search.space.columns import Columns
from asc_search.space.pruning import stated_widths


@dataclass(frozen=True)
class Kept:
    """The channels that pruning leaves of each width in n points, as ``Pruning.kept`` has them, or at a ``step`` (n,) of
    ``taper`` (n,) of ``to_budget`` where that is ``to_budget`` (n,). ``stated`` (n,) are indices into ``tables``. ``grain``
    (n,) is that of the networks.
    """

    ratio: np.ndarray
    round_to: np.ndarray
    stated: np.ndarray
    tables: tuple[dict[int, int], ...]
    to_budget: np.ndarray
    step: np.ndarray
    taper: np.ndarray
    grain: np.ndarray

    def rows(self, chosen: np.ndarray) -> Kept:
        """Those of the points ``chosen``."""
        parts = (self.ratio, self.round_to, self.stated)
        own = (part[chosen] for part in parts)
        later = (part[chosen] for part in (self.to_budget, self.step, self.taper, self.grain))
        return Kept(*own, self.tables, *later)

    @property
    def removes(self) -> np.ndarray:
        """Where anything is pruned, (n,)."""
        said = np.array([bool(table) for table in self.tables])[self.stated]
        return np.where(self.to_budget, self.step > 0, (self.ratio > 0) | said)

    def of(self, width: Any, ledger: Ledger) -> np.ndarray:
        """Channels left of ``width``; 1 where none is, which ``ledger`` is told."""
        left, round_to = whole(width * (1 - self.ratio)), np.lcm(self.round_to, self.grain)
        least = np.minimum(width, round_to)
        if (round_to > 1).any():
            rounded = np.maximum(left - left % round_to, least)
            left = np.where((self.ratio > 0) & (round_to > 1), rounded, left)
        for code, table in enumerate(self.tables):
            for original, last in table.items():
                left = np.where((self.stated == code) & (width == original), last, left)
        if self.to_budget.any():
            cut = tapered(width, self.step, self.taper)
            cut = np.where(self.step > 0, cut - cut % round_to, cut)
            left = np.where(self.to_budget, np.maximum(cut, least), left)
        ledger.require(left >= 1, "nothing is left")
        return np.maximum(left, 1)  # a 0 would mean "no such layer" for the whole array


def kept_of(columns: Columns) -> Kept:
    """What the points' pruning leaves, one channel at a time; to the budget, before that is looked for, everything."""
    widths = columns["pruning.widths"]
    ratio = columns["pruning.ratio"].numbers().astype(float)
    to_budget = columns["pruning.target"].among(("budget",))
    tables = tuple(stated_widths(text) for text in widths.table)
    round_to = columns["pruning.round_to"].numbers().astype(np.int64)
    none, ones = np.zeros(len(ratio), np.int64), np.ones(len(ratio), np.int64)
    taper = columns["pruning.taper"].numbers(0).astype(float)
    return Kept(ratio, round_to, widths.values, tables, to_budget, none, taper, ones)
