"""Peak memory of activations: the order of operations that keeps the fewest values alive.

Source: Liberis and Lane, "Neural networks on microcontrollers: saving memory at inference via operator reordering"
(2019): while an operation runs, its inputs, its output and every tensor still to be read are alive.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

INPUT = 0  # number of the network's input tensor


@dataclass(frozen=True)
class Step:
    """One operation: the tensors it reads, the one (its own) it writes, and how many values that has."""

    reads: tuple[int, ...]
    writes: int
    size: int


def peak_elements(input_size: int, steps: Sequence[Step]) -> int:
    """Least possible peak of live values over all orders that respect what each step reads.

    Searches the sets of steps done, cheapest peak first; networks are nearly chains, so there are few such sets.
    """
    sizes = {INPUT: input_size}
    readers: dict[int, int] = {}
    writer: dict[int, int] = {}
    for index, step in enumerate(steps):
        sizes[step.writes] = step.size
        writer[step.writes] = index
        for tensor in step.reads:
            readers[tensor] = readers.get(tensor, 0) | 1 << index
    needs = [sum(1 << writer[tensor] for tensor in set(step.reads) if tensor in writer) for step in steps]
    everything = (1 << len(steps)) - 1
    start = frozenset((INPUT,))
    queue: list[tuple[int, int, int, frozenset[int]]] = [(input_size, 0, 0, start)]
    best: dict[int, int] = {}
    while queue:
        peak, _, done, alive = heapq.heappop(queue)
        if done == everything:
            return peak
        if best.get(done, peak + 1) <= peak:
            continue
        best[done] = peak
        for index, step in enumerate(steps):
            bit = 1 << index
            if done & bit or needs[index] & ~done:
                continue
            now, running = done | bit, alive | {step.writes}
            needed = max(peak, sum(sizes[tensor] for tensor in running))
            left = frozenset(t for t in running if readers.get(t, 0) & ~now or (t == step.writes and t not in readers))
            # Ties go to the set with most steps done, so that a chain is walked straight through.
            heapq.heappush(queue, (needed, -now.bit_count(), now, left))
    return input_size
