# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``tunnel``."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rumpel.netlink import attribute, parse_address
from rumpel.nf import routing, wire
from rumpel.nf.stage import LEFT, RIGHT, Side, Stage, StageError
from rumpel.options import Argument, Choice, ExistingFile, IntRange, Option

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

_ETHERNET = ("vxlan", "gretap")
_IP = ("gre", "ipip", "wireguard")
_ADDRESSES = ("192.0.2.1", "192.0.2.2")
"""Those of the examples of RFC 5737: of the left end and of the right one."""
_VXLAN_ID, _VXLAN_REMOTE, _VXLAN_LOCAL, _VXLAN_LEARNING, _VXLAN_PORT = 1, 2, 4, 7, 15
_VXLAN_REMOTE6, _VXLAN_LOCAL6 = 16, 17
_GRE_IFLAGS, _GRE_OFLAGS, _GRE_IKEY, _GRE_OKEY, _GRE_LOCAL, _GRE_REMOTE, _GRE_TTL = range(2, 9)
_IPTUN_LOCAL, _IPTUN_REMOTE, _IPTUN_TTL, _IPTUN_FLAGS, _IPTUN_PROTOCOL = 2, 3, 4, 8, 9
_ANY = b"\0"
_GRE_PMTUDISC, _GRE_FLAGS, _GRE_IGNORE_DF = 10, 13, 19
_NO_LIMIT = struct.pack("=I", 1)
"""IP6_TNL_F_IGN_ENCAP_LIMIT: without a header that says how often it may be done again."""
_GRE_KEY = 0x20  # GRE_KEY in network order
_TTL = 64
_WIREGUARD_PORT = 51820
_MARK = 1
_AWAKE = 0.03


class Tunnel(Stage):
    """Carry what comes from one side through a tunnel on the other.

    KIND is vxlan or gretap (Ethernet in UDP or GRE), gre, ipip or wireguard (IP in GRE, IP
    or UDP). The outer side is the right one; the stage at the other end has --outer left.
    --local and --remote may be of IPv6, but for gretap.

    WireGuard's keys are made of the addresses, so that two ends of a laboratory find each
    other, and everybody knows them: --key is a file with a private one in base64, --peer
    the public one of the other end.

    \b
    Example:
      rumpel nf chain 'ping 10.0.0.2 | tunnel gre | tunnel gre --outer left | host 10.0.0.2'
    """

    answers = True
    params = (
        Argument("kind", type=Choice([*_ETHERNET, *_IP])),
        Option("--outer", type=Choice([LEFT, RIGHT]), default=RIGHT, help="Which side."),
        Option("--local", metavar="ADDRESS", help="Our outer address.  [default: 192.0.2.1]"),
        Option("--remote", metavar="ADDRESS", help="Of the other end.  [default: 192.0.2.2]"),
        Option("--id", type=IntRange(0, 0xFFFFFF), default=1, help="VNI, or key of GRE."),
        Option("--key", type=ExistingFile(), help="WireGuard's own."),
        Option("--peer", metavar="KEY", help="WireGuard's public key of the other end."),
    )

    def configure(self, k: Kernel) -> None:
        """The outer address, the tunnel, and what lies between it and the inner side."""
        options, outer = self.options, self.options.outer
        inner: Side = LEFT if outer == RIGHT else RIGHT
        own, other = _ADDRESSES if outer == RIGHT else _ADDRESSES[::-1]
        local, remote = options.local or own, options.remote or other
        try:
            families = {parse_address(address)[0] for address in (local, remote)}
        except ValueError as error:
            raise StageError(str(error)) from None
        if len(families) > 1 or "/" in local + remote:
            raise StageError(f"no two addresses of one family: {local} and {remote}")
        if socket.AF_INET6 in families and options.kind == "gretap":
            raise StageError("gretap goes over IPv4, where too long frames go in fragments")
        if options.kind == "wireguard" and outer in self.one_way:
            raise StageError("WireGuard needs a way back: use a chain, or --return-right")
        routing.forward(k)
        routing.reach(k, outer, local, remote, outer in self.one_way)
        if options.kind == "wireguard":
            self._wireguard(k, local, remote)
        else:
            kind, data = _attributes(options.kind, local, remote, options.id)
            wire.add_link(k, "tunnel", kind, data, mtu=wire.MTU if kind == "gretap" else None)
        if options.kind in _ETHERNET:
            wire.bridge(k, [inner, "tunnel"])
        else:
            routing.route_between(k, inner, "tunnel", inner in self.one_way)
            # What is for nobody here came the wrong way.
            routing.steer(k, outer, [], 102)

    def _wireguard(self, k: Kernel, local: str, remote: str) -> None:
        interface: Any = k.net.add_link("tunnel", kind="wireguard")
        try:
            peer = self.options.peer
            if peer is None:
                peer = interface.configure(private_key=_laboratory_key(remote)).public_key
            key = _laboratory_key(local)
            if self.options.key is not None:
                key = Path(self.options.key).read_text().strip()
            interface.configure(private_key=key, listen_port=_WIREGUARD_PORT, fwmark=_MARK)
            # The other end may stand behind a router that translates its address.
            routing.steer_marked(k, _MARK, self.options.outer, parse_address(local)[0], 103)
            # It takes handshakes in the first fiftieth of a second of a kernel for a flood.
            k.sleep(_AWAKE)
            interface.add_peer(
                peer, endpoint=(remote, _WIREGUARD_PORT), allowed_ips=["0.0.0.0/0", "::/0"]
            )
        except (ValueError, OSError) as error:
            raise StageError(f"WireGuard: {error}") from None


def _laboratory_key(address: str) -> str:
    """A private key that is none."""
    return base64.b64encode(hashlib.sha256(f"rumpel nf {address}".encode()).digest()).decode()


def _attributes(kind: str, local: str, remote: str, number: int) -> tuple[str, bytes]:
    """The kind of interface and its attributes, as ip-link(8) would give them."""
    (family, here, _), (_, there, _) = parse_address(local), parse_address(remote)
    six = family == socket.AF_INET6
    if kind == "vxlan":
        data = attribute(_VXLAN_ID, struct.pack("=I", number))
        data += attribute(_VXLAN_REMOTE6 if six else _VXLAN_REMOTE, there)
        data += attribute(_VXLAN_LOCAL6 if six else _VXLAN_LOCAL, here)
        data += attribute(_VXLAN_LEARNING, b"\0") + attribute(_VXLAN_PORT, struct.pack("!H", 4789))
        return kind, data
    if kind == "ipip":
        data = attribute(_IPTUN_LOCAL, here) + attribute(_IPTUN_REMOTE, there)
        data += attribute(_IPTUN_TTL, bytes([_TTL]))
        if six:
            return "ip6tnl", data + attribute(_IPTUN_FLAGS, _NO_LIMIT)
        # What Linux calls ipip carries no IPv6.
        return "sit", data + attribute(_IPTUN_PROTOCOL, _ANY)
    key = struct.pack("!I", number)
    data = attribute(_GRE_LOCAL, here) + attribute(_GRE_REMOTE, there)
    data += attribute(_GRE_IKEY, key) + attribute(_GRE_OKEY, key)
    flags = struct.pack("=H", _GRE_KEY)
    data += attribute(_GRE_IFLAGS, flags) + attribute(_GRE_OFLAGS, flags)
    data += attribute(_GRE_TTL, bytes([_TTL]))
    if six:
        return "ip6gre", data + attribute(_GRE_FLAGS, _NO_LIMIT)
    if kind == "gretap":
        # A bridge cannot tell a sender that its frames are too long: they go in fragments.
        data += attribute(_GRE_PMTUDISC, b"\0") + attribute(_GRE_IGNORE_DF, b"\1")
    return kind, data
