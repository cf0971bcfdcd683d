# SPDX-License-Identifier: GPL-2.0-only
"""Networks of a program's kernel: what ``--net`` says, as devices and settings of a keeper."""

from __future__ import annotations

import errno
import os
import stat
import time

from rumpel.errors import DeviceError
from rumpel.run.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["KINDS", "Net", "Plan", "plan"]

KINDS = {
    "user": "a network of this process's sockets, without privileges",
    "tap": "a TAP device of the host, tap:NAME",
    "packet": "a station on an interface of the host, packet:INTERFACE",
    "unix": "a stream of frames over a unix socket, unix:PATH (passt, QEMU)",
    "vde": "a port of a VDE switch, vde:PATH",
    "pcap": "a wire with nobody at its other end: what is sent is in a capture, pcap:FILE",
    "fd": "a descriptor that was inherited, fd:N: a TAP device or a socket of frames",
    "none": "the loopback interface alone",
    "host": "no kernel: all calls are the host's",
}
_NAMED = {"packet", "unix", "vde", "pcap", "fd"}
_ATTRIBUTES = {"ip", "gw", "mtu", "mac", "offload"}
_ASKED = ("dhcp", "slaac")
"""Addresses that the network gives: :mod:`rumpel.run.autoconf`."""
_PATIENCE = 1.0
"""Seconds: a kernel halts in a few hundredths, on a busy host in more."""
_TUNGETIFF, _IFF_TAP = 0x800454D2, 2
"""See linux/if_tun.h and netdevice(7)."""


class Net(Record):
    """One network, as it is asked for.

    Attributes:
        kind: one of :data:`KINDS`.
        name: what it is about: an interface, a path, a number.
        addresses: of the kernel, with the length of the prefix; ``dhcp`` and ``slaac`` ask
            the network for them.
        gateways: an IPv4 address, an IPv6 address, or both.
        mtu: in bytes; None is the usual one.
        mac: of the kernel's interface; None makes one up.
        offload: leave checksums and segmentation to the other side, where it can do that.
    """

    kind: str
    name: str = ""
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    mtu: int | None = None
    mac: str | None = None
    offload: bool = True

    @classmethod
    def parse(cls, text: str) -> Net:
        """Read ``KIND[:NAME][,ip=…][,gw=…][,mtu=…][,mac=…][,offload=off]``.

        Raises:
            ValueError: with a text for people.

        Example:
            >>> Net.parse("tap:tap0,ip=192.0.2.2/24,gw=192.0.2.1").gateways
            ('192.0.2.1',)
        """
        head, *attributes = text.split(",")
        kind, _, name = head.partition(":")
        if kind not in KINDS:
            raise ValueError(f"there is no network {kind!r}; there are {', '.join(KINDS)}")
        if kind in _NAMED and not name:
            raise ValueError(f"{kind} needs a name: {KINDS[kind]}")
        if kind not in _NAMED | {"tap"} and name:
            raise ValueError(f"{kind} has no name")
        net = cls(kind, name)
        for attribute in attributes:
            net = net._with(*_attribute(attribute))
        return net

    def _with(self, key: str, value: str) -> Net:
        import ipaddress

        if key == "ip":
            if value not in _ASKED:
                ipaddress.ip_interface(value)
                if "/" not in value:
                    raise ValueError(f"ip={value} lacks the length of the prefix, such as /24")
            return self.but(addresses=(*self.addresses, value))
        if key == "gw":
            return self.but(gateways=(*self.gateways, str(ipaddress.ip_address(value))))
        if key == "mtu":
            if not value.isdigit() or not 68 <= int(value) <= 65535:
                raise ValueError(f"mtu={value} is not between 68 and 65535")
            return self.but(mtu=int(value))
        if key == "mac":
            from rumpel.devices.nic import to_mac

            mac = to_mac(value) or b""
            return self.but(mac=mac.hex(":"))
        if value not in ("on", "off"):
            raise ValueError(f"offload={value} is neither on nor off")
        return self.but(offload=value == "on")


def _attribute(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or key not in _ATTRIBUTES:
        raise ValueError(f"{text!r} is none of {', '.join(a + '=' for a in sorted(_ATTRIBUTES))}")
    return key, value


class Plan:
    """What a keeper is told, and has to be given.

    Attributes:
        arguments: see runtime/shared/options.h.
        fds: descriptors that they name.
        asking: interfaces, and the way in which each asks for addresses.
        dns: name servers of the networks.
        meanings: what each of the arguments is to people.
    """

    def __init__(self) -> None:
        self.arguments: list[str] = ["up=lo"]
        self.fds: list[int] = []
        self.asking: list[tuple[str, str]] = []
        self.dns: list[str] = []
        self.meanings: dict[str, str] = {}

    def close(self) -> None:
        """Close the descriptors: the keeper has its own."""
        for fd in self.fds:
            try:  # noqa: SIM105 (contextlib takes long to import)
                os.close(fd)
            except OSError:
                pass
        self.fds.clear()


def plan(nets: Iterable[Net], publish: Sequence[str] = (), pcap: str | None = None) -> Plan:
    """Make ready what the networks need: devices are open when this returns.

    Args:
        nets: in the order of the kernel's interfaces.
        publish: ports of the user-mode network: ``[ADDRESS:]HOST:PROGRAM[/udp]``.
        pcap: a file that gets the frames of the first network.

    Raises:
        ValueError: if something is not there to be asked for.
        OSError: if the host refuses.
    """
    made = Plan()
    nets = list(nets)
    if any(net.kind == "host" for net in nets):
        raise ValueError("the network host is no kernel's")
    if publish and not any(net.kind == "user" for net in nets):
        raise ValueError("ports are published by the user-mode network: --net user")
    if pcap is not None and all(net.kind == "none" for net in nets):
        raise ValueError(f"{pcap}: there is no network that could be captured")
    try:
        for number, net in enumerate(net for net in nets if net.kind != "none"):
            _add(made, net, f"eth{number}", publish, pcap if number == 0 else None)
    except BaseException:
        made.close()
        raise
    return made


def _add(made: Plan, net: Net, name: str, publish: Sequence[str], pcap: str | None) -> None:
    if net.kind == "user":
        from rumpel.run.user import open_user

        user = open_user(net.mtu, publish)
        made.fds += user.fds
        made.dns.append(user.dns)
        device = f"frames={user.fds[0]}"
        if not net.addresses:
            net = net.but(addresses=user.addresses, gateways=user.gateways)
        net = net.but(mtu=user.mtu)
    else:
        device = _device(made, net)
    if net.mtu:
        device += f",mtu={net.mtu}"
    if net.mac:
        device += f",mac={net.mac.replace(':', '').lower()}"
    if not net.offload:
        device += ",plain=1"
    if net.kind == "pcap":
        pcap = net.name
    if pcap is not None:
        made.fds.append(os.open(pcap, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644))
        device += f",pcap={made.fds[-1]}"
    made.arguments.append(device)
    made.meanings[device] = f"{name} ({net.kind})"
    made.asking += [(name, way) for way in dict.fromkeys(net.addresses) if way in _ASKED]
    for argument, meaning in _settings(net, name):
        made.arguments.append(argument)
        made.meanings[argument] = f"{name}: {meaning}"


def _packed(address: str) -> str:
    """An address in hexadecimal digits.

    Written as usual it is read without ``ipaddress``, which takes long to import.
    """
    import _socket

    try:
        return _socket.inet_pton(
            _socket.AF_INET6 if ":" in address else _socket.AF_INET, address
        ).hex()
    except OSError:
        import ipaddress

        return ipaddress.ip_address(address).packed.hex()


def _interface(address: str) -> str:
    """The same, with the length of its prefix."""
    plain, _, length = address.partition("/")
    packed = _packed(plain)
    if not length.isdecimal() or int(length) > 4 * len(packed):
        import ipaddress

        # It may be a mask.
        length = str(ipaddress.ip_interface(address).network.prefixlen)
    return f"{packed}/{length}"


def _settings(net: Net, name: str) -> Iterator[tuple[str, str]]:
    """Arguments, and what they are to people."""
    fixed = [address for address in net.addresses if address not in _ASKED]
    six = "IPv6 (of an MTU of 1280 or more)"
    if "slaac" in net.addresses:
        # Routers are asked at once, not after up to a second.
        yield f"write=/proc/sys/net/ipv6/conf/{name}/router_solicitation_delay,0", six
    if "slaac" in net.addresses or any(":" in address for address in fixed):
        # Others are not asked whether they have it: nobody could use it meanwhile.
        yield f"write=/proc/sys/net/ipv6/conf/{name}/accept_dad,0", six
    yield f"up={name}", "up"
    for address in fixed:
        yield f"address={name},{_interface(address)}", f"ip={address}"
    for gateway in net.gateways:
        yield f"gateway={name},{_packed(gateway)}", f"gw={gateway}"


def _device(made: Plan, net: Net) -> str:
    if net.kind == "tap":
        made.fds.append(_open_tap(net.name))
        return f"tap={made.fds[-1]}"
    import socket

    if net.kind == "packet":
        try:
            socket.if_nametoindex(net.name)
        except OSError:
            raise ValueError(f"{net.name}: no interface of this name") from None
        return f"packet={net.name}"
    if net.kind == "unix":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            try:
                s.connect("\0" + net.name[1:] if net.name.startswith("@") else net.name)
            except OSError as e:
                raise DeviceError(f"{net.name}: {os.strerror(e.errno or 0)}") from None
            made.fds.append(s.detach())
        return f"frames={made.fds[-1]}"
    if net.kind == "vde":
        from rumpel.run import vde

        if net.mtu and net.mtu > vde.MTU:
            raise ValueError(f"mtu={net.mtu}: a VDE switch has {vde.MTU} at most")
        made.fds += vde.connect(net.name)
        return f"frames={made.fds[-2]}"
    if net.kind == "pcap":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.close()
        made.fds.append(ours.detach())
        return f"frames={made.fds[-1]}"
    if not net.name.isdigit():
        raise ValueError(f"fd:{net.name} is not a number")
    try:
        fd = os.dup(int(net.name))
    except (OSError, OverflowError):
        raise ValueError(f"fd:{net.name} is not open") from None
    made.fds.append(fd)
    if stat.S_ISSOCK(os.fstat(fd).st_mode):
        return f"frames={fd}"
    if not _is_tap(fd):
        raise ValueError(f"fd:{net.name} is neither a socket nor a TAP device")
    return f"tap={fd}"


def _open_tap(name: str) -> int:
    """Have a TAP device; the kernel of a program that has just ended lets go of it in a moment."""
    from rumpel import _native

    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return _native.tap_open(name, 0)[0]
        except ValueError as e:
            raise ValueError(
                f"tap:{name}: {e}: it is another interface's name, or none (15 bytes at most)"
            ) from None
        except OSError as e:
            if e.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _is_tap(fd: int) -> bool:
    import fcntl
    import struct

    request = struct.Struct("16sH22x")
    try:
        _, flags = request.unpack(fcntl.ioctl(fd, _TUNGETIFF, bytes(request.size)))
    except OSError:
        return False
    return bool(flags & _IFF_TAP)
