# SPDX-License-Identifier: GPL-2.0-only
"""Room for a kernel beside what a program may have of addresses (``ulimit -v``)."""

from __future__ import annotations

import os
import resource

from rumpel.errors import BootError

__all__ = ["more_addresses", "room", "room_of"]

# What follows is in runtime/intercept/agent/limits.c, too: both have to agree.
_RANGES = (16 << 30) + (4 << 30)
_NOT_MAPPED = 448 << 20
_BEFORE_MEMORY = (1 << 30) - (16 << 20)


def room(memory: int) -> int:
    """How much of its addresses a process has for a kernel.

    Args:
        memory: of the kernel, in bytes.
    """
    return _RANGES - _NOT_MAPPED + _BEFORE_MEMORY + memory


def room_of(first: int) -> int:
    """The same for a kernel whose descriptors are here, from this number on."""
    return _RANGES - _NOT_MAPPED + os.fstat(first).st_size


class more_addresses:  # noqa: N801 - it is called as a function
    """Start something with so much more room than this process is allowed.

    A class, since contextlib takes a while to import.

    Args:
        size: in bytes.
    """

    def __init__(self, size: int) -> None:
        self._size = size

    def __enter__(self) -> None:
        """Raise the limit.

        Raises:
            BootError: if there is one that may not be raised.
        """
        self._limits = limits = resource.getrlimit(resource.RLIMIT_AS)
        if limits[0] == resource.RLIM_INFINITY:
            return
        raised = [n if n == resource.RLIM_INFINITY else n + self._size for n in limits]
        try:
            resource.setrlimit(resource.RLIMIT_AS, (raised[0], raised[1]))
        except ValueError:
            raise BootError(
                f"the limit of addresses (ulimit -v) is {limits[0] >> 10}, and a kernel needs "
                f"{self._size >> 10} more: the hard limit may only be raised with CAP_SYS_RESOURCE"
            ) from None

    def __exit__(self, *_: object) -> None:
        """Set it back."""
        if self._limits[0] != resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_AS, self._limits)
