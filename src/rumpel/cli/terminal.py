# SPDX-License-Identifier: GPL-2.0-only
"""Text of strangers on a terminal."""

from __future__ import annotations

__all__ = ["escaped", "masked"]


def masked(text: str) -> str:
    """Text without what would steer a terminal, each such character a question mark.

    Example:
        >>> masked("a\\x1b[2Jb\\tc")
        'a?[2Jb\\tc'
    """
    return "".join(c if c.isprintable() or c == "\t" else "?" for c in text)


def escaped(text: str) -> str:
    """Text without what would steer a terminal, such characters as Python writes them.

    Lines stay lines, as messages may have several.

    Example:
        >>> print(escaped("a\\x1b[2Jb"))
        a\\x1b[2Jb
    """
    return "".join(c if c.isprintable() or c in "\t\n" else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
