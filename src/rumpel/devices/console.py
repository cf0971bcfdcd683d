# SPDX-License-Identifier: GPL-2.0-only
"""A terminal."""

from __future__ import annotations

from rumpel import _native
from rumpel.devices.device import Device, to_fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.devices.shapes import HasFileno

__all__ = ["Console"]


class Console(Device):
    """A terminal, /dev/hvc0, on a descriptor of the host, which is duplicated."""

    def __init__(self, fd: int | HasFileno) -> None:
        super().__init__(_native.console(to_fd(fd)))
