# SPDX-License-Identifier: GPL-2.0-only
"""Give up all that a process can do to its host but compute and use what it has open."""

from __future__ import annotations

import os
import resource

from rumpel import _native
from rumpel.sandbox import seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["confine"]

_NOBODY = 65534


def confine(limits: dict[str, int], leave_files: Callable[[], None]) -> None:
    """Drop user, capabilities, files and system calls, of all threads, for good.

    Args:
        limits: of resources, by the names of the module resource without ``RLIMIT_``.
        leave_files: what :func:`rumpel.sandbox.leaving.prepare` returned.

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
        try:  # noqa: SIM105 - contextlib takes long to import
            os.setgroups([])
        except PermissionError:
            pass
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    _native.drop_capabilities()
    _native.seccomp(seccomp.program(os.getpid()))
