# SPDX-License-Identifier: GPL-2.0-only
"""Give up all that a process can do to its host but compute and use what it has open."""

from __future__ import annotations

import contextlib
import os
import resource

from rumpel import _native
from rumpel.sandbox import seccomp

__all__ = ["confine", "prepare"]

_CLONE_NEWUTS, _CLONE_NEWIPC = 0x04000000, 0x08000000
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_NOBODY = 65534


def prepare() -> None:
    """While there is one thread: leave the host's namespaces, where that is allowed."""
    spaces = _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS
    with contextlib.suppress(OSError):
        _native.unshare(spaces if os.geteuid() == 0 else spaces | _CLONE_NEWUSER)


def confine(limits: dict[str, int]) -> None:
    """Drop user, capabilities and system calls, of all threads, for good.

    Args:
        limits: of resources, by the names of the module resource without ``RLIMIT_``.

    Raises:
        OSError: if that is not possible here.
    """
    for name, value in {"CORE": 0, "NOFILE": 256, **limits}.items():
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
