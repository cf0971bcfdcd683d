# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``pcap``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from rumpel.nf.stage import LEFT, Option, Stage, StageError

if TYPE_CHECKING:
    from rumpel.devices import Nic
    from rumpel.kernel import Kernel


class Pcap(Stage):
    """Record what passes in a file, in both directions.

    The times are those of the kernel's clock.

    \b
    Example:
      rumpel nf chain 'ping 10.0.0.2 | pcap -w trace.pcap | host 10.0.0.2'
    """

    params = (
        Option("--write", "-w", required=True, metavar="FILE", help="Where it is recorded."),
        Option("--as", "form", type=click.Choice(["pcap", "pcapng"]), default="pcap"),
    )

    def configure(self, k: Kernel) -> None:
        """A bridge, one port of which is captured."""
        try:
            fd = os.open(self.options.write, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        except OSError as error:
            raise StageError(str(error)) from None
        self._port: Nic = self.interfaces[LEFT]
        self._port.capture(fd, self.options.form)
        os.close(fd)
        self.bridge(k)

    def end(self, k: Kernel) -> None:
        """All of it is written."""
        self._port.capture(None)
