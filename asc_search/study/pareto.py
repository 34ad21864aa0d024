"""Non-domination and hypervolume, for any number of objectives, all minimised."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

Point = tuple[float, ...]


def dominates(a: Point, b: Point) -> bool:
    """Whether ``a`` is nowhere worse and somewhere better than ``b``."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


def fronts(points: Sequence[Point]) -> list[list[int]]:
    """Indices by non-dominated front, best first (Deb et al. 2002, NSGA-II, section III.A)."""
    left, result = list(range(len(points))), []
    while left:
        front = [i for i in left if not any(dominates(points[j], points[i]) for j in left)]
        result.append(front)
        left = [i for i in left if i not in set(front)]
    return result


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Volume dominated by ``points`` and bounded by ``reference``: a sweep in two dimensions, else the recursion of
    While et al. 2012 (WFG).
    """
    inside = sorted({point for point in points if all(x < r for x, r in zip(point, reference, strict=True))})
    if len(reference) == 2:
        total, height = 0.0, reference[1]
        for x, y in inside:
            if y < height:
                total += (reference[0] - x) * (height - y)
                height = y
        return total
    inside = [point for point in inside if not any(dominates(other, point) for other in inside)]
    total = 0.0
    for index, point in enumerate(inside):
        box = 1.0
        for x, r in zip(point, reference, strict=True):
            box *= r - x
        limited = [tuple(map(max, zip(other, point, strict=True))) for other in inside[index + 1 :]]
        total += box - hypervolume(limited, reference)
    return total


def ranking(points: Sequence[Point], reference: Point) -> list[int]:
    """Indices from best to worst: front by front; in each the best in the first coordinate (the error) leads, then
    whatever adds most to the hypervolume of those of its front before it.

    Volume alone would favour the cheap end: at the budget's limit an accurate network dominates next to nothing.
    """
    order: list[int] = []
    for front in fronts(points):
        first, *left = sorted(front, key=lambda i: (points[i], i))
        order.append(first)
        chosen, before = [points[first]], hypervolume([points[first]], reference)
        queue = [(-math.inf, i) for i in left]
        while queue:
            # A gain only shrinks as others are chosen, so one that still leads when brought up to date is the largest.
            _, i = heapq.heappop(queue)
            gain = hypervolume([*chosen, points[i]], reference) - before
            if queue and (-gain, i) > queue[0]:
                heapq.heappush(queue, (-gain, i))
                continue
            order.append(i)
            chosen.append(points[i])
            before += gain
    return order
