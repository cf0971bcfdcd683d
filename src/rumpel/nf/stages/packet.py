# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``packet``."""

from __future__ import annotations

from rumpel.nf.stage import RIGHT, Stage, StageError
from rumpel.nf.wire import bridge
from rumpel.options import Argument, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.devices import Nic
    from rumpel.kernel import Kernel


class Packet(Stage):
    """Be on the network of an interface of the host, at an end of a chain.

    By a packet socket: the chain sees what comes from that network, and sends there; the
    host itself it does not reach (see tap for that). With --xdp the host no longer sees what
    comes there, so that a filter is one for real. It ends when the chain does.

    \b
    Example (as root):
      rumpel nf chain 'packet eth1 | filter "tcp dport 22 drop" | host 10.0.0.2'
    """

    ports = (RIGHT,)
    params = (
        Argument("interface"),
        Option("--netns", metavar="NAME", help="The host's network namespace that it is in."),
        Option("--xdp", is_flag=True, help="Take the interface over from the host (AF_XDP)."),
    )

    def nics(self) -> dict[str, Nic]:
        """The interface.

        Raises:
            StageError: if it cannot be had.
        """
        from rumpel.devices import PacketNic, XdpNic

        kind = XdpNic if self.options.xdp else PacketNic
        try:
            return {"outside": kind(self.options.interface, netns=self.options.netns)}
        except (ValueError, OSError) as error:
            raise StageError(f"{self.options.interface}: {error}") from None

    def configure(self, k: Kernel) -> None:
        """It is joined to the chain by a bridge."""
        bridge(k, [*self.ports, "outside"])
