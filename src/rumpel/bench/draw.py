# SPDX-License-Identifier: GPL-2.0-only
"""Elements of the pictures (SVG)."""

from __future__ import annotations

from html import escape

INK, FAINT = "#222222", "#dddddd"


def text(x: float, y: float, words: str, style: str = "") -> str:
    """Words that begin there, or as the style says."""
    return f'<text x="{x:.1f}" y="{y:.1f}" style="{style}">{escape(words)}</text>'


def line(x: float, y: float, to_x: float, to_y: float, color: str = FAINT, width: int = 1) -> str:
    """A straight line."""
    return (
        f'<line x1="{x:.1f}" x2="{to_x:.1f}" y1="{y:.1f}" y2="{to_y:.1f}" '
        f'stroke="{color}" stroke-width="{width}"/>'
    )
