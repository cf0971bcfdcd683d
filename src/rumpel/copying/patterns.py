# SPDX-License-Identifier: GPL-2.0-only
"""What :mod:`fnmatch` has, without ``re``, which takes long to import and which a sandbox lacks."""

from __future__ import annotations

__all__ = ["matches"]


def matches(name: str, pattern: str) -> bool:
    """Does a pattern of the shell fit all of a name? As :func:`fnmatch.fnmatchcase` says.

    Example:
        >>> matches("main.c", "*.[ch]"), matches("main.o", "*.[!o]")
        (True, False)
    """
    at = here = 0
    star = behind = -1
    while here < len(name) or at < len(pattern):
        if at < len(pattern) and pattern[at] == "*":
            # Try without it; what follows may have to begin further on.
            star, behind = at + 1, here
            at += 1
            continue
        end = _one(pattern, at, name[here]) if here < len(name) and at < len(pattern) else 0
        if end:
            at, here = end, here + 1
        elif 0 <= behind < len(name):
            behind += 1
            at, here = star, behind
        else:
            return False
    return True


def _one(pattern: str, at: int, character: str) -> int:
    """Where a pattern goes on if what it has here matches a character; 0 if it does not."""
    wanted = pattern[at]
    if wanted == "[":
        # What stands first is no end: [] ] and [!] ] are sets.
        first = at + 2 if pattern.startswith("!", at + 1) else at + 1
        end = pattern.find("]", first + 1)
        if end > 0:
            is_in = _is_in(character, pattern[first:end])
            return end + 1 if is_in == (first == at + 1) else 0
    return at + 1 if wanted in ("?", character) else 0


def _is_in(character: str, members: str) -> bool:
    """Is it one of them, or in one of the ranges that a hyphen between two makes?"""
    at = 0
    while at < len(members):
        low = high = members[at]
        if members[at + 1 : at + 2] == "-" and at + 2 < len(members):
            high = members[at + 2]
            at += 2
        if low <= character <= high:
            return True
        at += 1
    return False
