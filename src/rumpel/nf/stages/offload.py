# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``offload``."""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING

from rumpel.nf.options import Choice, Option
from rumpel.nf.stage import Stage, StageError

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

_SIOCETHTOOL = 0x8946
_VALUE = struct.Struct("=II")
_SWITCHES = {"checksum": (0x17,), "segmentation": (0x1F, 0x24), "gro": (0x2C,)}
"""The commands of each (linux/ethtool.h): STXCSUM; STSO and SGSO; SGRO."""


class Offload(Stage):
    """Switch on or off what network cards do for the kernel.

    With --segmentation off segments of TCP are cut before they leave the stage, with
    --checksum off they are summed, with --gro off those that come are not put together.
    In a fused chain segments are whole and without sums from one end to the other unless
    a stage needs them otherwise; on pipes all packets are plain, and only --gro tells.

    \b
    Example:
      rumpel nf chain --fuse 'tcp 10.0.0.2 7 | offload --segmentation off | host 10.0.0.2 --echo 7'
    """

    params = tuple(
        Option(f"--{name}", type=Choice(["on", "off"]), show_default=False, help=text)
        for name, text in (
            ("segmentation", "Leave it to the next stage (TSO, GSO)."),
            ("checksum", "The same for sums."),
            ("gro", "Put segments together that come."),
        )
    )

    def configure(self, k: Kernel) -> None:
        """A bridge whose ports have these features."""
        with k.socket.socket(k.socket.AF_INET, k.socket.SOCK_DGRAM) as sock:
            for name, commands in _SWITCHES.items():
                wanted = getattr(self.options, name)
                for command in commands if wanted else ():
                    for port in self.ports:
                        try:
                            _set(k, sock.fileno(), port, command, wanted == "on")
                        except OSError as error:
                            raise StageError(f"{name} of {port}: {error}") from None
        self.bridge(k)


def _set(k: Kernel, fd: int, port: str, command: int, on: bool) -> None:
    value = ctypes.create_string_buffer(_VALUE.pack(command, on), _VALUE.size)
    request = struct.pack("=16sQ16x", port.encode(), ctypes.addressof(value))
    k.syscall("ioctl", fd, _SIOCETHTOOL, request)
