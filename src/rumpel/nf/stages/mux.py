# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``mux``."""

from __future__ import annotations

import os

from rumpel.nf.stage import LEFT, Stage
from rumpel.nf.stages.tee import open_end
from rumpel.nf.wire import MTU_MOST, bridge
from rumpel.options import Argument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.devices import Nic
    from rumpel.kernel import Kernel


class Mux(Stage):
    """Join packets of several streams: files or named pipes, besides what comes from the left.

    All of it goes to the right, in the order in which it comes; what comes back goes to the
    left. It ends when all of them have.

    \b
    Example:
      rumpel nf ping 10.0.0.2 | rumpel nf mux other.pcap | rumpel nf filter 'meta l4proto udp drop'
    """

    params = (Argument("files", nargs=-1, required=True, metavar="FILE..."),)

    def nics(self) -> dict[str, Nic]:
        """An interface for each stream, which only receives."""
        from rumpel.devices import PipeNic

        made: dict[str, Nic] = {}
        for number, path in enumerate(self.options.files):
            fd = open_end(path, os.O_RDONLY)
            made[f"in{number}"] = PipeNic(
                fd, None, paused=True, report=2, name="rumpel nf mux", mtu=MTU_MOST
            )
            os.close(fd)
        return made

    def configure(self, k: Kernel) -> None:
        """A bridge on which those on the left hear nothing of each other."""
        streams = [name for name in self.interfaces if name not in self.ports]
        bridge(k, [*self.ports, *streams], [LEFT, *streams])
