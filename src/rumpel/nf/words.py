# SPDX-License-Identifier: GPL-2.0-only
"""A chain's text in words, as the shell would have them."""

from __future__ import annotations

from rumpel.nf.stage import StageError

__all__ = ["Operator", "words"]

_OPERATORS = "|<>"
_ESCAPED = '"\\$`'
"""What a backslash takes the meaning from within double quotes."""


class Operator(str):
    """A word that is none: ``|``, or a program's direction. Quoted, these are words."""

    __slots__ = ()


def words(text: str) -> list[str]:
    """Take a text apart. Quotes and backslashes are as in the shell, and so is a comment.

    Raises:
        StageError: if a quotation has no end.

    Example:
        >>> words("ping 10.0.0.2 |< grep '|' # what comes back")
        ['ping', '10.0.0.2', '|', '<', 'grep', '|']
    """
    found: list[str] = []
    word: str | None = None
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char.isspace() or char in _OPERATORS or (char == "#" and word is None):
            if word is not None:
                found.append(word)
                word = None
            if char == "#":
                end = text.find("\n", at)
                at = len(text) if end < 0 else end
            elif char == "<" and text[at : at + 1] == ">":
                found.append(Operator("<>"))
                at += 1
            elif char in _OPERATORS:
                found.append(Operator(char))
            continue
        if char == "\\" and text[at : at + 1] == "\n":
            at += 1
            continue
        word = word or ""
        if char == "\\":
            if at == len(text):
                raise StageError("not a chain: there is nothing behind the last \\")
            word += text[at]
            at += 1
        elif char in "'\"":
            quoted, at = _quoted(text, at, char)
            word += quoted
        else:
            word += char
    if word is not None:
        found.append(word)
    return found


def _quoted(text: str, at: int, quote: str) -> tuple[str, int]:
    """What is within quotes, and where it goes on."""
    quoted = ""
    while at < len(text) and text[at] != quote:
        if quote == '"' and text[at] == "\\" and text[at + 1 : at + 2] in (*_ESCAPED, "\n"):
            at += 1
            quoted += "" if text[at] == "\n" else text[at]
        else:
            quoted += text[at]
        at += 1
    if at == len(text):
        raise StageError("not a chain: No closing quotation")
    return quoted, at + 1
