"""The ledger on arrays: many networks of one kind, priced at once by the formulas that price one."""

from __future__ import annotations

from typing import Any

import numpy as np

from asc_search.nets.ledger import Ledger, Map, Pair


class ArrayLedger(Ledger):
    """A ledger for many networks of one kind: sizes are arrays, and what is refused is noted in ``valid`` (n,)."""

    def __init__(self, count: int) -> None:
        super().__init__((1, 1, 1))
        self.valid = np.ones(count, bool)

    def require(self, holds: Any, what: str, *values: Any) -> None:
        self.valid &= holds

    def _note(self, name: str, reads: Any, made: Map, costs: tuple = (0, 0, 0), view: bool = False) -> Map:
        self.require((made.channels >= 1) & (made.freq >= 1) & (made.time >= 1), "")
        params, macs, conv_linear_macs = costs
        self.params = self.params + params
        self.macs = self.macs + macs
        self.conv_linear_macs = self.conv_linear_macs + conv_linear_macs
        return made

    def _window(self, made: Map, x: Map, extent: Pair, stride: Pair) -> Map:
        return made
