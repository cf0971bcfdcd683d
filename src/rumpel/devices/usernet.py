# SPDX-License-Identifier: GPL-2.0-only
"""A network without privileges: libslirp answers a kernel's frames with the host's sockets."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import NamedTuple

from rumpel import _native
from rumpel.devices.nic import Nic, to_mac

__all__ = ["Forward", "UserNet"]

_MTU_RANGE = (576, 65520)
_MTU_MIN6 = 1280
"""RFC 8200, 5."""
_PREFIX6 = 64
"""What addresses from router advertisements take (RFC 4862, 5.5.3)."""
_TRIES = 16


class Forward(NamedTuple):
    """A port of the host that leads to one of the kernel.

    Attributes:
        host_port: on the host.
        guest_port: in the kernel.
        udp: or TCP.
        host_address: which of the host's addresses.
    """

    host_port: int
    guest_port: int
    udp: bool
    host_address: str


class UserNet(Nic):
    """A network interface with a whole network behind it: eth0 and so on.

    What the kernel sends to other hosts comes from sockets of this process, and so do
    the answers. The host itself is reached at ``gateway``; a name server, which asks the
    host's, at ``dns``. Use :meth:`Kernel.ifup` with ``address`` and ``gateway``. It lives
    in real time: do not use it with a virtual clock.

    An IPv6 network is there too. The kernel finds it by itself as on any network (router
    advertisements) and makes itself an address; or it gets ``address6`` and ``gateway6``
    from :meth:`Kernel.ifup`, at once.

    ``gateway`` and ``dns`` answer pings. Pings to all other addresses leave by ping sockets,
    which the host's sysctl ``net.ipv4.ping_group_range`` must allow.

    Args:
        network: of the kernel's side, IPv4.
        gateway: the host; by default the network's second address.
        dns: the name server; by default the third.
        guest: the kernel; by default the fifteenth.
        network6: of the kernel's side, IPv6, of 64 bits; None has none. Host, name server
            (if the host's has such an address) and kernel have its addresses 2, 3 and 15.
        mtu: in bytes; large ones are faster. Below 1,280 there is no IPv6, as in Linux.
        host_loopback: let the kernel reach what listens on the host's 127.0.0.1 and ::1.
        mac: the interface's address; None makes one up.

    Attributes:
        address: the kernel's, with the length of the prefix, such as ``10.0.2.15/24``.
        gateway: the host's, such as ``10.0.2.2``.
        dns: the name server's, such as ``10.0.2.3``.
        address6, gateway6, dns6: the same for IPv6, such as ``fd00::f/64``; None without.

    Raises:
        DeviceError: if libslirp is missing.
        ValueError: if an address is none, or lies outside the network.

    Example:
        >>> net = UserNet()  # doctest: +SKIP
        >>> with rumpel.boot(nics=[net]) as k:  # doctest: +SKIP
        ...     k.ifup("eth0", net.address, net.gateway)
        ...     k.socket.create_connection((net.gateway, 8000))
    """

    def __init__(
        self,
        network: str = "10.0.2.0/24",
        *,
        gateway: str | None = None,
        dns: str | None = None,
        guest: str | None = None,
        network6: str | None = "fd00::/64",
        mtu: int = 65520,
        host_loopback: bool = True,
        mac: str | None = None,
    ) -> None:
        net = ipaddress.IPv4Network(network)
        if net.num_addresses < 32:
            raise ValueError(f"the network {net} is too small: 32 addresses are needed")
        if not _MTU_RANGE[0] <= mtu <= _MTU_RANGE[1]:
            raise ValueError("the MTU must be {} to {}".format(*_MTU_RANGE))
        self.gateway = _within(net, gateway, 2)
        self.dns = _within(net, dns, 3)
        own = _within(net, guest, 15)
        if len({self.gateway, self.dns, own}) != 3:
            raise ValueError("gateway, dns and guest must differ")
        self.address = f"{own}/{net.prefixlen}"
        four = str(net.network_address), self.gateway, self.dns, own
        six = self._plan6(network6, mtu)
        self._net = _native.UserNet(four, str(net.netmask), six, mtu, host_loopback)
        super().__init__(_native.net_fd(self._net.fileno(), to_mac(mac), mtu))

    def _plan6(self, network: str | None, mtu: int) -> tuple[str, str, str, str] | None:
        """Addresses of IPv6: of the network, the host, the name server and the kernel."""
        self.gateway6: str | None = None
        self.dns6: str | None = None
        self.address6: str | None = None
        if network is None or mtu < _MTU_MIN6:
            return None
        net = ipaddress.IPv6Network(network)
        if net.prefixlen != _PREFIX6:
            raise ValueError(f"the network {net} must have {_PREFIX6} bits")
        own = str(net[15])
        self.gateway6, self.dns6 = str(net[2]), str(net[3])
        self.address6 = f"{own}/{net.prefixlen}"
        return str(net.network_address), self.gateway6, self.dns6, own

    def forward(
        self,
        guest_port: int,
        host_port: int = 0,
        *,
        udp: bool = False,
        host_address: str = "127.0.0.1",
    ) -> Forward:
        """Publish a port of the kernel on the host.

        Args:
            guest_port: in the kernel.
            host_port: on the host; 0 takes a free one.
            udp: or TCP.
            host_address: of the host; ``0.0.0.0`` is all of them. To one of IPv6 belongs
                the kernel's ``address6``.

        Returns:
            What was published, for :meth:`unforward`.

        Raises:
            OSError: if the port is taken.
            ValueError: if it is no port, or no address of this network's families.
        """
        for port in (guest_port, host_port):
            if not isinstance(port, int):
                raise TypeError(f"a port is an integer, not {port!r}")
            if not 0 <= port <= 0xFFFF:
                raise ValueError(f"not a port: {port}")
        for attempt in range(1 if host_port else _TRIES):
            port = host_port or _free_port(udp, host_address)
            try:
                self._net.forward(udp, host_address, port, guest_port)
            except OSError as error:
                # Somebody else may have taken a port that was free.
                if host_port or error.errno != errno.EADDRINUSE or attempt == _TRIES - 1:
                    raise
                continue
            return Forward(port, guest_port, udp, host_address)
        raise AssertionError

    def unforward(self, forward: Forward) -> None:
        """Take back what :meth:`forward` returned."""
        self._net.forward(forward.udp, forward.host_address, forward.host_port, -1)

    def fileno(self) -> int:
        """The socket with the kernel's frames, for an interface of another process."""
        return self._net.fileno()

    def close(self) -> None:
        """Pull the cable: all connections end. Called when the kernel is gone."""
        self._net.close()


def _within(net: ipaddress.IPv4Network, address: str | None, number: int) -> str:
    """An address as text: the one given, which must be of the network, or one by number."""
    chosen = net[number] if address is None else ipaddress.IPv4Address(address)
    if chosen not in net or chosen in (net.network_address, net.broadcast_address):
        raise ValueError(f"{chosen} is not a host's address in {net}")
    return str(chosen)


def _free_port(udp: bool, address: str) -> int:
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port
