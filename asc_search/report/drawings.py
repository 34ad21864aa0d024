"""Small pictures for the dashboard as SVG: a confusion matrix, and a candidate's accuracy beside all others."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from asc_search.report.theme import BLUE, GREY

Curve = Sequence[tuple[int, float]]  # epochs, accuracy
FONT = 'font-family="system-ui, sans-serif" font-size="11" fill="#3c4048"'
CELL, LABELS = 28, 130


def confusion_svg(classes: Sequence[str], counts: np.ndarray) -> str:
    """Clips by true class (row) and predicted class (column), shaded by the share of the row."""
    side, share = CELL * len(classes), counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    parts = []
    for i, name in enumerate(classes):
        middle, label = LABELS + CELL * i + CELL / 2, _escaped(name)
        parts.append(f'<text x="{LABELS - 6}" y="{middle - LABELS + 14:.0f}" text-anchor="end">{label}</text>')
        parts.append(
            f'<text transform="translate({middle + 4:.0f} {side + 18}) rotate(90)" text-anchor="start">{label}</text>'
        )
        for j in range(len(classes)):
            if counts[i, j]:
                x, y = LABELS + CELL * j, 10 + CELL * i
                parts.append(
                    f'<rect x="{x}" y="{y}" width="{CELL - 1}" height="{CELL - 1}" fill="{BLUE}" '
                    f'fill-opacity="{0.75 * share[i, j]:.3f}"/>'
                    f'<text x="{x + CELL / 2}" y="{y + CELL / 2 + 4}" text-anchor="middle">{int(counts[i, j])}</text>'
                )
    return _svg(LABELS + side + 12, side + LABELS + 22, parts)


def curve_svg(own: Curve, others: Sequence[Curve]) -> str:
    """Accuracy over epochs, ``own`` among ``others``; accuracies in [0, 1]."""
    width, height, left, bottom = 520, 300, 46, 36
    last = max((epochs for curve in [own, *others] for epochs, _ in curve), default=1)
    top = max((accuracy for curve in [own, *others] for _, accuracy in curve), default=1.0) or 1.0

    def at(epochs: int, accuracy: float) -> tuple[float, float]:
        return left + (width - left - 16) * epochs / last, height - bottom - (height - bottom - 14) * accuracy / top

    def line(curve: Curve, color: str, thick: float) -> str:
        points = [at(*one) for one in curve]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{1.5 + thick}" fill="{color}"/>' for x, y in points)
        return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{thick}"/>{dots}'

    parts = [f'<path d="M{left} 8V{height - bottom}H{width - 10}" fill="none" stroke="{GREY}"/>']
    parts += [f'<g opacity="0.35">{line(curve, GREY, 1)}</g>' for curve in others]
    parts.append(line(own, BLUE, 2.5))
    for epochs, accuracy in own:
        x, y = at(epochs, accuracy)
        parts.append(f'<text x="{x:.1f}" y="{y - 9:.1f}" text-anchor="middle">{100 * accuracy:.1f}</text>')
    for epochs in sorted({epochs for curve in [own, *others] for epochs, _ in curve}):
        parts.append(
            f'<text x="{at(epochs, 0)[0]:.1f}" y="{height - bottom + 16}" text-anchor="middle">{epochs}</text>'
        )
    parts.append(f'<text x="{(left + width) / 2}" y="{height - 5}" text-anchor="middle">epochs</text>')
    parts.append(f'<text transform="translate(14 {height / 2}) rotate(-90)" text-anchor="middle">validation %</text>')
    parts.append(f'<text x="{left - 6}" y="18" text-anchor="end">{100 * top:.0f}</text>')
    return _svg(width, height, parts)


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/><g {FONT}>{"".join(parts)}</g></svg>'
    )


def _escaped(value: str) -> str:
    """A label, cut to fit, without what XML cannot hold."""
    cut = value if len(value) <= 20 else value[:18] + "..."
    return html.escape("".join(letter for letter in cut if letter.isprintable()))
