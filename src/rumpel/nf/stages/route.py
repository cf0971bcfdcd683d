# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``route``."""

from __future__ import annotations

import os

from rumpel.netlink import parse_address
from rumpel.nf import routing
from rumpel.nf.routing import Way
from rumpel.nf.stage import LEFT, RIGHT, Stage, StageError
from rumpel.nf.wire import MTU
from rumpel.options import Option

__all__ = ["Route", "pipes"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.devices import Nic
    from rumpel.kernel import Kernel


class Route(Stage):
    """Route what comes in on one side out on the other, or on further ports.

    Time to live goes down by one, packets that are too large are reported to their
    senders, and so on: it is Linux's forwarding, of IPv4 and IPv6. Nobody has to know the
    router's address.

    A further port is two named pipes, and the network behind it: what is written to IN by
    whoever is there, and what is read from OUT. Their other ends are opened first.

    \b
    Examples:
      rumpel nf ping 10.0.0.2 | rumpel nf route | rumpel nf filter
      mkfifo in out; rumpel nf host 10.2.0.2 --return in < out &
      rumpel nf chain 'ping 10.2.0.2 | route --port 10.2.0.0/16=in:out | host 10.0.0.2'
    """

    answers = True
    params = (
        Option("--port", multiple=True, metavar="NETWORK=IN:OUT", help="A further port."),
        Option("--right", multiple=True, metavar="NETWORK", help="Is there for those, too."),
    )

    def nics(self) -> dict[str, Nic]:
        """An interface for each further port."""
        self._networks: dict[str, str] = {}
        made: dict[str, Nic] = {}
        for number, text in enumerate(self.options.port):
            network, _, ends = text.partition("=")
            come, _, go = ends.partition(":")
            if not come or not go:
                raise StageError(f"not a port: {text!r} (write 10.2.0.0/16=in:out)")
            self._networks[f"port{number}"] = _network(network)
            made[f"port{number}"] = pipes(come, go)
        return made

    def configure(self, k: Kernel) -> None:
        """Ports and routes between them."""
        further = [Way(port, network) for port, network in self._networks.items()]
        right = [Way(RIGHT, _network(network)) for network in self.options.right]
        routing.forward(k)
        for port in (*self.ports, *self._networks):
            routing.wire(k, port, port in self.one_way)
        routing.steer(k, LEFT, [*further, *routing.everything(RIGHT)], 100)
        routing.steer(k, RIGHT, [*further, *routing.everything(LEFT)], 101)
        for number, port in enumerate(self._networks):
            others = [way for way in further if way.port != port]
            routing.steer(k, port, [*others, *right, *routing.everything(LEFT)], 102 + number)
        routing.send(k, [*further, *right, *routing.everything(LEFT)])


def _network(text: str) -> str:
    address, _, length = text.partition("/")
    try:
        _, _, most = parse_address(address)
        if not length.isdecimal() or int(length) > most:
            raise ValueError(f"not a network: {text!r} (write 10.2.0.0/16)")
    except ValueError as error:
        raise StageError(str(error)) from None
    return text


def pipes(come: str, go: str, mtu: int = MTU) -> Nic:
    """A further port: two named pipes, whose other ends are opened first."""
    from rumpel.devices import PipeNic
    from rumpel.nf.stages.tee import open_end

    # Whoever is there waits for us to read before it writes: see fifo(7).
    fds = [open_end(go, os.O_WRONLY)]
    try:
        fds.append(open_end(come, os.O_RDONLY))
        return PipeNic(
            fds[1], fds[0], write="pcap", paused=True, report=2, name="rumpel nf", mtu=mtu
        )
    finally:
        for fd in fds:
            os.close(fd)
