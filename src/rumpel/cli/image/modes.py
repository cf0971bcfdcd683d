# SPDX-License-Identifier: GPL-2.0-only
"""Modes as chmod(1) takes them."""

from __future__ import annotations

import re

import click

__all__ = ["change"]

_CLAUSE = re.compile(r"([ugoa]*)([-+=])([rwxXst]*)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}


def change(text: str, mode: int, is_directory: bool) -> int:
    """The mode that comes of a mode.

    Args:
        text: octal, or clauses such as ``u+x,go-w``.
        mode: as it is.
        is_directory: of which X means x.

    Raises:
        click.BadParameter: if it is no mode.

    Example:
        >>> oct(change("u+x,go=r", 0o600, False))
        '0o744'
    """
    if re.fullmatch("[0-7]{1,4}", text):
        return int(text, 8)
    mode &= 0o7777
    for clause in text.split(","):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise click.BadParameter(f"{text!r} is no mode")
        who, sign, letters = match.groups()
        mode = _apply(who, sign, letters, mode, is_directory)
    return mode


def _apply(who: str, sign: str, letters: str, mode: int, is_directory: bool) -> int:
    groups = "ugo" if not who or "a" in who else who
    bits = mask = 0
    for group in groups:
        shift = _SHIFTS[group]
        mask |= 7 << shift
        for letter in letters:
            if letter in "rwx":
                bits |= {"r": 4, "w": 2, "x": 1}[letter] << shift
            elif letter == "X" and (is_directory or mode & 0o111):
                bits |= 1 << shift
    if "s" in letters:
        bits |= (0o4000 if "u" in groups else 0) | (0o2000 if "g" in groups else 0)
    if "t" in letters:
        bits |= 0o1000
    if sign == "=":
        mask |= (0o4000 if "u" in groups else 0) | (0o2000 if "g" in groups else 0)
        return mode & ~mask | bits
    return mode | bits if sign == "+" else mode & ~bits
