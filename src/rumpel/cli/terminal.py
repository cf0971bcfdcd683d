# SPDX-License-Identifier: GPL-2.0-only
"""Standard output, and text of strangers on a terminal."""

from __future__ import annotations

import os
import sys

__all__ = ["OUTPUT", "end", "escaped", "flush", "masked", "write"]

OUTPUT = "standard output"
"""The ``filename`` of errors that are about it."""


def write(data: bytes) -> None:
    """Write to standard output.

    Raises:
        OSError: that names it.
    """
    try:
        sys.stdout.buffer.write(data)
    except OSError as error:
        error.filename = OUTPUT
        raise


def flush() -> None:
    """Have all written that was printed.

    Raises:
        OSError: that names standard output.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        error.filename = OUTPUT
        raise


def end(code: int) -> int:
    """Write what is left of standard output and standard error; the exit status then.

    What cannot be written is lost; if nobody has been told of an error yet, that is one.
    """
    for fd, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:  # it was closed when Python started
                stream.flush()
        except (OSError, ValueError) as error:
            if not code and fd == 1 and isinstance(error, OSError):
                code = 1
                sys.stderr.write(f"rumpel: {OUTPUT}: {error.strerror}\n")
            # It shall not fail once more when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
    return code


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
