# SPDX-License-Identifier: GPL-2.0-only
"""Give up all that a process can do to its host but compute and use what it has open."""

from __future__ import annotations

import contextlib
import os
import resource
import threading
from collections.abc import Callable

from rumpel import _native
from rumpel.sandbox import seccomp

__all__ = ["confine", "prepare"]

_CLONE_NEWUTS, _CLONE_NEWIPC = 0x04000000, 0x08000000
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_NOBODY = 65534
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
    with contextlib.suppress(OSError):
        _native.unshare(spaces if is_root else spaces | _CLONE_NEWUSER)
    if is_root:
        return _leave_files
    # One thread keeps what it takes, which is all threads' root directory.
    wanted = threading.Event()

    def wait() -> None:
        wanted.wait()
        _leave_files()
        _native.drop_capabilities()  # it is there for a moment after it has been joined

    def leave() -> None:
        wanted.set()
        keeper.join()

    keeper = threading.Thread(target=wait, daemon=True)
    keeper.start()
    _native.drop_capabilities()
    return leave


def _leave_files() -> None:
    """Have a root directory that is empty, and in which nothing can be made: it is removed."""
    os.chdir("/")
    for directory in _TEMPORARY:
        # Not tempfile, which takes long to import.
        empty = f"{directory}/rumpel-{os.urandom(16).hex()}"
        with contextlib.suppress(OSError):
            os.mkdir(empty, 0o700)  # noqa: PTH102
            try:
                os.chdir(empty)
            finally:
                os.rmdir(empty)  # noqa: PTH106
            os.chroot(".")
            return


def confine(limits: dict[str, int], leave_files: Callable[[], None]) -> None:
    """Drop user, capabilities, files and system calls, of all threads, for good.

    Args:
        limits: of resources, by the names of the module resource without ``RLIMIT_``.
        leave_files: what :func:`prepare` returned.

    Raises:
        OSError: if that is not possible here.
    """
    leave_files()
    for name, value in {"CORE": 0, "NOFILE": 256, "NPROC": 4096, **limits}.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        _, most = resource.getrlimit(kind)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(kind, (value, value))
    if os.geteuid() == 0:
        with contextlib.suppress(PermissionError):
            os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    _native.drop_capabilities()
    _native.seccomp(seccomp.program(os.getpid()))
