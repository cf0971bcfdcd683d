# SPDX-License-Identifier: GPL-2.0-only
"""The text that LVM keeps its metadata in.

Source: lvm.conf(5), and what vgcfgbackup(8) writes.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["Section", "parse"]

_TOKEN = re.compile(
    r"""[ \t\r\n]+ | \#[^\n]*
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<float>-?\d+\.\d+)(?![A-Za-z0-9_.+/-])
    | (?P<int>-?\d+)(?![A-Za-z0-9_.+/-])
    | (?P<name>[A-Za-z0-9_.+/-]+)
    | (?P<mark>[{}\[\]=,])
    """,
    re.VERBOSE | re.DOTALL,
)
_MOST_DEPTH = 16
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

Section = dict[str, Any]
"""Names, and what they stand for: int, float, str, a list of these, or a section."""


def parse(text: str) -> Section:
    """Take the text apart.

    Raises:
        ValueError: if it is none.

    Example:
        >>> parse('vg { id = "x" # comment\\n sizes = [1, 2] }')
        {'vg': {'id': 'x', 'sizes': [1, 2]}}
    """
    found: Section = {}
    above: list[Section] = []
    here, tokens = found, _tokens(text)
    at = 0
    while at < len(tokens):
        name = tokens[at]
        follows = tokens[at + 1] if at + 1 < len(tokens) else None
        if name == ("}",) and above:
            here = above.pop()
            at += 1
        elif isinstance(name, tuple):
            raise ValueError(f"unexpected {name[0]}")
        elif follows == ("{",):
            if len(above) == _MOST_DEPTH:
                raise ValueError("sections in sections without end")
            above.append(here)
            here[str(name)] = here = {}
            at += 2
        elif follows == ("=",):
            here[str(name)], at = _value(tokens, at + 2)
        else:
            raise ValueError(f"what is {str(name)[:40]!r}?")
    if above:
        raise ValueError("a section has no end")
    return found


def _value(tokens: list[Any], at: int) -> tuple[Any, int]:
    """A value, and where it ends."""
    if at >= len(tokens):
        raise ValueError("a value is missing")
    if tokens[at] != ("[",):
        if isinstance(tokens[at], tuple):
            raise ValueError("a value is missing")
        return tokens[at], at + 1
    values = []
    at += 1
    while at < len(tokens) and tokens[at] != ("]",):
        if tokens[at] != (",",):
            if isinstance(tokens[at], tuple):
                raise ValueError("a list has no end")
            values.append(tokens[at])
        at += 1
    if at == len(tokens):
        raise ValueError("a list has no end")
    return values, at + 1


def _tokens(text: str) -> list[Any]:
    """Values as they are, and marks as tuples."""
    tokens: list[Any] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"what is {text[at : at + 20]!r}?")
        at = match.end()
        kind, found = match.lastgroup, match[0]
        if kind == "string":
            tokens.append(_ESCAPED.sub(r"\1", found[1:-1]))
        elif kind == "int" or kind == "float":
            tokens.append(_number(kind, found))
        elif kind == "name":
            tokens.append(found)
        elif kind == "mark":
            tokens.append((found,))
    return tokens


def _number(kind: str, text: str) -> int | float:
    if len(text) > 40:
        raise ValueError("a number without end")
    return int(text) if kind == "int" else float(text)
