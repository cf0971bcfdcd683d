# SPDX-License-Identifier: GPL-2.0-only
"""Results as a picture: how many times the peer each figure is, and what its target is."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from rumpel.bench import curves
from rumpel.bench.draw import FAINT, INK, line, text
from rumpel.bench.result import Result

LABELS, PLOT, VALUES = 150, 480, 110
ROW, TOP, BOTTOM = 22, 46, 24
MET, MISSED = "#2e8b57", "#d9822b"
STYLE = f"font: 12px sans-serif; fill: {INK}"


def svg(results: Sequence[Result], title: str) -> str:
    """Draw bars on a logarithmic scale, from "as fast as the peer" to the ratio.

    Args:
        results: from above to below.
        title: what they are of.
    """
    ratios = [max(r.ratio, 1 / 64) for r in results]
    ends = [*ratios, *(r.figure.least_ratio for r in results), 1.0]
    low, high = math.floor(math.log2(min(ends))), math.ceil(math.log2(max(ends)))
    high = max(high, low + 1)
    bottom = TOP + ROW * len(results)

    def x(ratio: float) -> float:
        return LABELS + PLOT * (math.log2(ratio) - low) / (high - low)

    parts = [text(LABELS, 16, title, "font-weight: bold")]
    for exponent in range(low, high + 1):
        at = x(2.0**exponent)
        parts.append(line(at, TOP - 6, at, bottom, INK if exponent == 0 else FAINT))
        parts.append(text(at, TOP - 12, f"{2.0**exponent:g}", "text-anchor: middle"))
    for row, (result, ratio) in enumerate(zip(results, ratios, strict=True)):
        y = TOP + ROW * row
        left, right = sorted((x(1), x(ratio)))
        parts.append(
            f'<rect x="{left:.1f}" y="{y + 4}" width="{max(right - left, 1):.1f}" '
            f'height="{ROW - 8}" fill="{MET if result.met else MISSED}"/>'
        )
        at = x(result.figure.least_ratio)
        parts.append(line(at, y + 1, at, y + ROW - 1, INK, 3))
        parts.append(text(LABELS - 8, y + 15, result.figure.name, "text-anchor: end"))
        value = f"{result.ratio:.2g}, of {result.figure.least_ratio:.2g}"
        parts.append(text(LABELS + PLOT + 10, y + 15, value))
    legend = "times the peer's speed (the other way round for times); black: the target"
    parts.append(text(LABELS, bottom + 18, legend))
    drawn, more = curves.svg(results, bottom + BOTTOM)
    parts += drawn
    width, height = LABELS + PLOT + VALUES, bottom + BOTTOM + more
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" style="{STYLE}">',
            f'<rect width="{width}" height="{height}" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )


def machine() -> str:
    """The CPU's name and the host's kernel, for a title."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    cpu = names[0] if names else os.uname().machine
    return f"{cpu}, {os.cpu_count()} CPUs, Linux {os.uname().release}"
