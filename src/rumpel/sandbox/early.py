# SPDX-License-Identifier: GPL-2.0-only
"""How the child begins: its kernel boots while a thread imports what will serve the parent."""

from __future__ import annotations

from _thread import LockType, allocate_lock, start_new_thread

from rumpel import _native
from rumpel.build.snapshots import snapshot_file
from rumpel.sandbox.leaving import prepare

__all__ = ["LOG", "main"]

LOG = 4
"""The descriptor for what the kernel logs."""


def main(
    cache: str,
    image: str,
    memory: int,
    modules: tuple[str, ...],
    cmdline: str,
    housekeeper: bool,
    confined: bool,
) -> None:
    """Boot, and serve the parent; see :class:`rumpel.sandbox.spawn.Setup`.

    The cache is the parent's: nothing in the environment says here where that is.
    """
    # While it is still known who this is.
    snapshot = None if cmdline else snapshot_file(image, memory, _native.__file__, cache)
    # While there is one thread.
    leave_files = prepare() if confined else None
    imported = allocate_lock()
    imported.acquire()
    start_new_thread(_import, (modules, imported))
    booted: _native.Kernel | BaseException
    try:
        booted = _native.boot(
            image,
            memory=memory,
            cmdline=cmdline,
            flags=0 if housekeeper else _native.NO_HOUSEKEEPER,
            log_fd=LOG,
            snapshot=snapshot,
        )
    except BaseException as error:
        booted = error
    imported.acquire()
    from rumpel.sandbox.worker import serve

    serve(booted, memory, modules, leave_files)


def _import(modules: tuple[str, ...], done: LockType) -> None:
    """Import what is needed next. If it fails, it will again where it is told."""
    try:
        for module in ("rumpel.sandbox.worker", *modules):
            __import__(module)
    except BaseException:
        pass
    finally:
        done.release()
