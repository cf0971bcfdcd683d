# SPDX-License-Identifier: GPL-2.0-only
"""What a command can be told on its line.

Declarations with the names that click has for them, but without it: to import click takes longer
than to boot. :func:`parse` reads a line that is right; of what is not, and for help,
``rumpel.cli`` makes click's own of them.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Type = Callable[[str], Any]
    """Makes a value of a word, or raises ValueError."""

__all__ = [
    "Argument",
    "Choice",
    "ExistingFile",
    "FloatRange",
    "IntRange",
    "Misused",
    "NamedFile",
    "Option",
    "parse",
]


class Misused(Exception):
    """Options that make no sense here, or not together: that is said with the way to the help."""


class Choice:
    """One of some words."""

    def __init__(self, choices: Sequence[str]) -> None:
        self.choices = tuple(choices)

    def __call__(self, word: str) -> str:
        """It itself."""
        if word not in self.choices:
            raise ValueError(word)
        return word


class IntRange:
    """A whole number, both ends included; None: there is no end."""

    def __init__(self, min: int | None = None, max: int | None = None) -> None:
        self.min, self.max = min, max

    def __call__(self, word: str) -> int:
        """The number."""
        number = int(word)
        if (self.min is not None and number < self.min) or (
            self.max is not None and number > self.max
        ):
            raise ValueError(word)
        return number


class FloatRange:
    """A finite number from one on, or above it."""

    def __init__(self, min: float, *, min_open: bool = False) -> None:
        self.min, self.min_open = min, min_open

    def __call__(self, word: str) -> float:
        """The number."""
        from math import isfinite

        number = float(word)
        if not isfinite(number) or number < self.min or (self.min_open and number == self.min):
            raise ValueError(word)
        return number


class ExistingFile:
    """The path of a file that is there, and no directory."""

    def __call__(self, word: str) -> str:
        """It itself."""
        from pathlib import Path

        path = Path(word)
        if not path.exists() or path.is_dir() or not os.access(path, os.R_OK):
            raise ValueError(word)
        return word


class NamedFile:
    """The path of a file that can be written, or made where it is not there yet."""

    def __call__(self, word: str) -> str:
        """It itself."""
        reason = self.reason(word)
        if reason:
            raise ValueError(f"{word}: {reason}")
        return word

    @staticmethod
    def reason(word: str) -> str | None:
        """Why it cannot be written; None if it can."""
        if os.path.isdir(word):  # noqa: PTH112
            return os.strerror(errno.EISDIR)
        # Not the real path of what is there: that of /dev/stderr may be none.
        there, how = word, os.W_OK
        if not os.path.exists(word):  # noqa: PTH110
            there, how = os.path.dirname(os.path.realpath(word)), os.W_OK | os.X_OK  # noqa: PTH120
        if os.access(there, how, effective_ids=True):
            return NamedFile._refusal(word)
        return os.strerror(errno.EACCES if os.path.exists(there) else errno.ENOENT)  # noqa: PTH110

    @staticmethod
    def _refusal(word: str) -> str | None:
        """What an open of a file says that one has the right to write to: it is executed, ..."""
        # A FIFO would be waited for.
        if not os.path.isfile(word):  # noqa: PTH113
            return None
        try:
            os.close(os.open(word, os.O_WRONLY | os.O_CLOEXEC))
        except OSError as error:
            return error.strerror
        return None


class Argument:
    """A word without a name.

    Args:
        name: of its value.
        type: what it is made: str, int, float, or one of those above.
        nargs: 1, or -1 for any number of them, of which the value is a tuple.
        required: must it be there? By default, unless any number will do.
        metavar: what the help calls it.
    """

    def __init__(
        self,
        name: str,
        *,
        type: Type = str,
        nargs: int = 1,
        required: bool | None = None,
        metavar: str | None = None,
    ) -> None:
        self.name = name
        self.type = type
        self.nargs = nargs
        self.required = nargs == 1 if required is None else required
        self.metavar = metavar

    @property
    def missing(self) -> Any:
        """Its value if there is none."""
        return () if self.nargs < 0 else None


class Option:
    """A value with a name, or a flag.

    Args:
        declarations: ``--name`` and ``-n``, and the value's own name if that is another.
        type: what it is made: str, int, float, or one of those above.
        default: its value if there is none.
        is_flag: it has no word; the value is a bool.
        off: of a flag that is there by default, the name that says no.
        multiple: it may be there several times; the value is a tuple.
        metavar: what the help calls its word.
        show_default: does the help say the default?
        hidden: does the help leave it out?
        help: what it is for.
    """

    def __init__(
        self,
        *declarations: str,
        type: Type = str,
        default: Any = None,
        is_flag: bool = False,
        off: str | None = None,
        multiple: bool = False,
        metavar: str | None = None,
        show_default: bool = True,
        hidden: bool = False,
        help: str = "",
    ) -> None:
        self.flags = [word for word in declarations if word.startswith("-")]
        own = [word for word in declarations if not word.startswith("-")]
        self.name = own[0] if own else max(self.flags, key=len).lstrip("-").replace("-", "_")
        self.type = type
        self.is_flag = is_flag
        self.off = off
        self.multiple = multiple
        self.missing = () if multiple else bool(default) if is_flag else default
        self.metavar = metavar
        self.show_default = show_default
        self.hidden = hidden
        self.help = help


def parse(
    params: Sequence[Option | Argument], words: Sequence[str], *, interspersed: bool = True
) -> dict[str, Any] | None:
    """Read a command line.

    Args:
        params: what there is.
        words: the line, as the shell took it apart.
        interspersed: may options come behind arguments? If not, they are arguments there.

    Returns:
        The values by name; None if something is wrong, or help was asked for.

    Example:
        >>> parse([Option("--count", "-c", type=int, default=4), Argument("host")], ["-c3", "a"])
        {'count': 3, 'host': 'a'}
    """
    options = {flag: p for p in params if isinstance(p, Option) for flag in p.flags}
    options |= {p.off: p for p in params if isinstance(p, Option) and p.off}
    arguments = [p for p in params if isinstance(p, Argument)]
    values: dict[str, Any] = {p.name: p.missing for p in params}
    left, plain = list(words), []
    try:
        while left:
            word = left.pop(0)
            if word == "--":
                plain += left
                break
            if not word.startswith("-") or word == "-":
                plain.append(word)
                if interspersed:
                    continue
                plain += left
                break
            name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
            if name not in options and not name.startswith("--"):
                name, value = word[:2], word[2:]
                equals = value
            option = options[name]
            if option.is_flag:
                if equals:
                    if name.startswith("--") or value.startswith("-"):
                        return None
                    left.insert(0, f"-{value}")  # as in -la
                values[option.name] = name != option.off
                continue
            made = option.type(value if equals else left.pop(0))
            values[option.name] = (*values[option.name], made) if option.multiple else made
        for behind, argument in zip(range(len(arguments) - 1, -1, -1), arguments, strict=True):
            if argument.nargs < 0:
                own = max(len(plain) - behind, 0)
                values[argument.name] = tuple(argument.type(word) for word in plain[:own])
                plain = plain[own:]
            elif plain:
                values[argument.name] = argument.type(plain.pop(0))
            if argument.required and values[argument.name] == argument.missing:
                return None
    except (KeyError, IndexError, ValueError):
        return None
    return None if plain else values
