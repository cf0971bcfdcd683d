# SPDX-License-Identifier: GPL-2.0-only
"""How a mount has ended, for who unmounts it: the one who serves it is another process.

It is in a file, by the mount's device, which is locked as long as somebody serves.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import IO

from rumpel.errors import RumpelError
from rumpel.private import directory

__all__ = ["kept", "opened", "outcome"]

_WELL, _BADLY = b"=", b"!"


def _path(device: str) -> Path:
    return Path(directory()) / f"mount-{device}"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else makes or removes such a file meanwhile."""
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _remove(file: IO[bytes], path: Path) -> None:
    """Unless it is another one's: a number is free, and given again, once that is unmounted."""
    with suppress(OSError), _alone(path):
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            path.unlink()


@contextmanager
def kept(device: str, is_up: Event) -> Iterator[None]:
    """Keep how it ends; nothing if all went well, and nobody waits.

    Args:
        device: of the mount, its numbers as in /proc/self/mountinfo.
        is_up: was it mounted at all?
    """
    try:
        path = _path(device)
        with _alone(path):
            path.unlink(missing_ok=True)
            file = path.open("xb", buffering=0)
    except (OSError, RumpelError):
        # There is no such directory, as after su(1). Who unmounts only sees if it is over.
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        except BaseException as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            file.write(_BADLY + os.fsencode(why or type(error).__name__))
            if not is_up.is_set():
                _remove(file, path)
            raise
        file.write(_WELL)
        _remove(file, path)


def opened(device: str) -> IO[bytes] | None:
    """What will say how it ends; None if nothing does. To be opened before it is unmounted."""
    try:
        return _path(device).open("rb", buffering=0)
    except (OSError, RumpelError):
        return None


def outcome(file: IO[bytes], device: str) -> str:
    """Wait until nobody serves the mount any more; what went wrong."""
    fcntl.flock(file, fcntl.LOCK_SH)
    said = file.read()
    if said[:1] == _WELL:
        return ""
    _remove(file, _path(device))
    if said[:1] == _BADLY:
        return os.fsdecode(said[1:])
    return "who served it was killed: see rumpel image check"
