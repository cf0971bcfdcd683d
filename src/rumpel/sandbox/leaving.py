# SPDX-License-Identifier: GPL-2.0-only
"""Leave the host's namespaces and files. This comes first in a child, so it imports little."""

from __future__ import annotations

import os

from rumpel import _native
from rumpel.threads import Flag, Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["prepare"]

_CLONE_NEWUTS, _CLONE_NEWIPC = 0x04000000, 0x08000000
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")


def prepare() -> Callable[[], None]:
    """While there is one thread: leave the host's namespaces, where that is allowed.

    Threads that are made from now on have no capabilities there, unless this is root: then
    they lose them with the user, as the C library changes that of all threads.

    Returns:
        What leaves the host's files, when all that is needed of them is open.
    """
    spaces = _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS
    is_root = os.geteuid() == 0
    try:  # noqa: SIM105 - contextlib takes long to import, here and below
        _native.unshare(spaces if is_root else spaces | _CLONE_NEWUSER)
    except OSError:
        pass
    if is_root:
        return _leave_files
    # One thread keeps what it takes, which is all threads' root directory.
    wanted = Flag()

    def wait() -> None:
        wanted.wait()
        _leave_files()
        _native.drop_capabilities()  # it is there for a moment after it has been joined

    def leave() -> None:
        wanted.set()
        keeper.join()

    keeper = Thread(wait)
    _native.drop_capabilities()
    return leave


def _leave_files() -> None:
    """Have a root directory that is empty, and in which nothing can be made: it is removed."""
    os.chdir("/")
    for directory in _TEMPORARY:
        # Not tempfile, which takes long to import.
        empty = f"{directory}/rumpel-{os.urandom(16).hex()}"
        try:
            os.mkdir(empty, 0o700)  # noqa: PTH102
            try:
                os.chdir(empty)
            finally:
                os.rmdir(empty)  # noqa: PTH106
            os.chroot(".")
        except OSError:
            continue
        return
