# SPDX-License-Identifier: GPL-2.0-only
"""Figures that are there for several lengths of a chain, as curves: ours and the host's."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from rumpel.bench.draw import line, text
from rumpel.bench.result import Result

WIDTH, HEIGHT = 260, 200
LEFT, TOP, BOTTOM, GAP = 60, 40, 40, 80
COLORS = ("#2e8b57", "#d9822b", "#4169e1")
_SERIES = re.compile(r"(nf-(?:goodput|latency))(-fused)?-(\d+)")
_TITLES = {"nf-goodput": "goodput of TCP", "nf-latency": "round trip of a ping"}

Curves = dict[str, dict[int, float]]


def panels(results: Sequence[Result]) -> dict[str, tuple[str, Curves]]:
    """Sort results by what they measure: a unit, and for each way a value by the length.

    Example:
        >>> panels([])
        {}
    """
    found: dict[str, tuple[str, Curves]] = {}
    for result in results:
        match = _SERIES.fullmatch(result.figure.name)
        if match:
            _, curves = found.setdefault(match[1], (result.figure.unit, {}))
            length = int(match[3])
            way = "fused" if match[2] else "pipes"
            curves.setdefault(way, {})[length] = result.value
            curves.setdefault("host namespaces", {})[length] = result.peer_value
    return found


def svg(results: Sequence[Result], top: float) -> tuple[list[str], float]:
    """Draw them side by side.

    Args:
        results: of which those are taken that belong to a curve.
        top: where the picture begins.

    Returns:
        Elements, and the height that they need: none, if there are no such results.
    """
    parts: list[str] = []
    for number, (name, (unit, curves)) in enumerate(panels(results).items()):
        left = LEFT + number * (WIDTH + GAP)
        parts += _panel(left, top + TOP, f"{_TITLES[name]}, {unit}", curves)
    return parts, TOP + HEIGHT + BOTTOM if parts else 0


def _panel(left: float, top: float, title: str, curves: Curves) -> list[str]:
    """One diagram. Both axes are logarithmic, as the lengths are doubled."""
    lengths = sorted({length for curve in curves.values() for length in curve})
    values = [value for curve in curves.values() for value in curve.values() if value > 0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    first, last = math.log2(lengths[0]), math.log2(max(lengths[-1], 2 * lengths[0]))

    def x(length: int) -> float:
        return left + WIDTH * (math.log2(length) - first) / (last - first)

    def y(value: float) -> float:
        return top + HEIGHT * (high - math.log10(value)) / (high - low)

    parts = [text(left, top - 18, title, "font-weight: bold")]
    for exponent in range(low, high + 1):
        parts.append(line(left, y(10.0**exponent), left + WIDTH, y(10.0**exponent)))
        style = "text-anchor: end"
        parts.append(text(left - 6, y(10.0**exponent) + 4, f"{10.0**exponent:g}", style))
    for length in lengths:
        parts.append(line(x(length), top, x(length), top + HEIGHT))
        parts.append(text(x(length), top + HEIGHT + 16, str(length), "text-anchor: middle"))
    parts.append(text(left, top + HEIGHT + 32, "stages"))
    for number, ((way, curve), color) in enumerate(zip(curves.items(), COLORS, strict=False)):
        points = [(x(length), y(value)) for length, value in sorted(curve.items()) if value > 0]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{color}"/>' for a, b in points]
        style = f"text-anchor: end; fill: {color}"
        parts.append(text(left + WIDTH, top + HEIGHT + 32 - 14 * number, way, style))
    return parts
