# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``user``."""

from __future__ import annotations

from rumpel.errors import DeviceError
from rumpel.nf import routing
from rumpel.nf.routing import Way
from rumpel.nf.stage import LEFT, Stage, StageError
from rumpel.nf.stages.nat import forwarded, translate
from rumpel.options import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.devices import Nic
    from rumpel.kernel import Kernel

_NETWORK6 = "fd6e:66:0:1::/64"
_MTU = 1500


class User(Stage):
    """Reach the outside at the end of a chain, without any privilege (libslirp).

    What the chain sends to others comes from sockets of this process. The host is
    10.0.2.2, a name server 10.0.2.3, and fd6e:66:0:1::2 and ::3. --forward lets connections
    in, from a port of the host's 127.0.0.1.

    \b
    Example:
      rumpel nf chain 'tcp 10.0.2.2 8000 --input request | nat | user'
    """

    ports = (LEFT,)
    params = (
        Option(
            "--forward",
            multiple=True,
            metavar="tcp:PORT:HOST[:PORT]",
            help="A port of the host that leads to a host of the chain.",
        ),
    )

    def nics(self) -> dict[str, Nic]:
        """The network.

        Raises:
            StageError: without libslirp.
        """
        from rumpel.devices import UserNet

        try:
            self._net = UserNet(network6=_NETWORK6, mtu=_MTU)
        except DeviceError as error:
            raise StageError(str(error)) from None
        return {"outside": self._net}

    def configure(self, k: Kernel) -> None:
        """A router to the network, which knows only one address of ours."""
        net, port = self._net, self.port
        routing.forward(k)
        routing.wire(k, port, port in self.one_way)
        gateways = [Way("outside", "0.0.0.0/0", net.gateway)]
        k.ifup("outside", net.address)
        if net.address6 is not None and net.gateway6 is not None:
            routing.add_address(k, "outside", net.address6)
            gateways.append(Way("outside", "::/0", net.gateway6))
        routing.steer(k, port, gateways, 100)
        routing.steer(k, "outside", routing.everything(port), 101)
        routing.send(k, routing.everything(port))
        forwards = [forwarded(text) for text in self.options.forward]
        translate(self, k, port, "outside", {"ip": "masquerade", "ip6": "masquerade"}, forwards)
        for text in self.options.forward:
            protocol, number = text.split(":")[:2]
            try:
                net.forward(int(number), int(number), udp=protocol == "udp")
            except (OSError, ValueError) as error:
                raise StageError(f"port {number} of the host: {error}") from None
