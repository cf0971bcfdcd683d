# SPDX-License-Identifier: GPL-2.0-only
"""Where the commands have passwords from; never from their arguments, which all can see."""

from __future__ import annotations

import os
import sys

from rumpel.options import Misused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.images.layers.key import Key

__all__ = ["PASSWORD", "key", "known"]

PASSWORD = "RUMPEL_PASSWORD"
"""A variable of the environment."""


known: dict[tuple[str | None, str | None, bool], Key | None] = {}
"""What :func:`key` has found."""


def key(password_file: str | None, key_file: str | None, asks: bool) -> Key | None:
    """The same for all images of a command, so that nobody is asked twice.

    Raises:
        Misused: if there is more than one.
    """
    given = password_file, key_file, asks
    if given not in known:
        known[given] = _found(*given)
    return known[given]


def _found(password_file: str | None, key_file: str | None, asks: bool) -> Key | None:
    if password_file is not None and key_file is not None:
        raise Misused("--password-file or --key-file, not both")
    if password_file is not None:
        return _key(_first_line(password_file))
    if key_file is not None:
        return _key(None, key_file)
    if PASSWORD in os.environ:
        return _key(os.fsencode(os.environ[PASSWORD]))
    if asks and sys.stdin.isatty() and sys.stderr.isatty():
        return _key(None, None, asks)
    return None


def _key(password: bytes | None, key_file: str | None = None, asks: bool = False) -> Key:
    from rumpel.images.layers.key import Key

    return Key(password, key_file, _ask if asks else None)


def _first_line(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.readline().rstrip(b"\n")
    with open(path, "rb") as file:
        return file.readline().rstrip(b"\n")


def _ask(name: str) -> str | None:
    from getpass import getpass

    from rumpel.cli.terminal import escaped

    try:
        return getpass(f"Password of {escaped(name)}: ")
    except EOFError:
        return None
