# SPDX-License-Identifier: GPL-2.0-only
"""Ask for IPv4 addresses: a small client of DHCP, whose calls are a library kernel's.

    python -I -S dhcp.py INTERFACE... <PIPE

It is executed, not imported, and knows nothing of rumpel. What it is told of names it prints as
resolv.conf(5) has it. Then it ends, and a child of it for each interface renews the lease until
standard input ends. See RFC 2131 and 2132.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import select
import socket
import struct
import sys
import time

WAITS = (1, 2, 4, 8)
"""Seconds until a question is asked again; then nobody is there."""

AGAIN = 60.0
"""Seconds, at least, until a renewal is asked for again."""

_CLIENT, _SERVER = 68, 67
_COOKIE = b"\x63\x82\x53\x63"
_HEADER = struct.Struct("!4BIHH4s4s4s4s16s64s128s")
_DISCOVER, _OFFER, _REQUEST, _ACK, _NAK = map(bytes, ([1], [2], [3], [5], [6]))

_MASK, _ROUTERS, _NAMES, _DOMAIN, _MTU, _BROADCAST = 1, 3, 6, 15, 26, 28
_REQUESTED, _LEASE, _OVERLOAD, _TYPE, _SERVER_ID, _WANTED = 50, 51, 52, 53, 54, 55
_RENEW, _REBIND, _CLIENT_ID, _ROUTES = 58, 59, 61, 121
_ASKED = bytes([_MASK, _ROUTERS, _NAMES, _DOMAIN, _MTU, _BROADCAST, _ROUTES])

_SIOCADDRT, _SIOCSIFMTU, _SIOCGIFHWADDR = 0x890B, 0x8922, 0x8927
_RTENTRY = struct.Struct("@L16s16s16sHhLPhPLLH")
_RTF_UP, _RTF_GATEWAY, _RTF_HOST = 1, 2, 4
"""See netdevice(7) and linux/route.h."""
_PKTINFO = 8
"""See ip(7)."""
_NEW, _DELETE, _FLAGS = 20, 21, 0x505
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
"""See rtnetlink(7): a request that creates or replaces, and is answered."""

_ANY = bytes(4)
Options = dict[int, bytes]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class NobodyAnswersError(Exception):
    """There is no server."""


class Lease:
    """An address that an interface may have for a while.

    Args:
        address: that the server gives.
        options: what else it says.
        now: when it was asked for.

    Attributes:
        renew: when the server shall be asked for more time (T1 of RFC 2131).
        rebind: when all servers shall be (T2).
        end: when nobody may have it any more; it may be infinite.
    """

    def __init__(self, address: bytes, options: Options, now: float) -> None:
        self.address = address
        self.options = options
        seconds = _seconds(options, _LEASE, float("inf"))
        self.end = now + seconds
        self.rebind = now + min(seconds, _seconds(options, _REBIND, seconds * 0.875))
        self.renew = min(self.rebind, now + _seconds(options, _RENEW, seconds / 2))

    @property
    def settings(self) -> list[bytes]:
        """What the interface is told of it."""
        return [self.address, *(self.options.get(code, b"") for code in _ASKED)]


def _seconds(options: Options, code: int, default: float) -> float:
    """A time; all bits are for ever, and so is what is not said of a lease."""
    if len(options.get(code, b"")) != 4:
        return default
    (seconds,) = struct.unpack("!I", options[code])
    return float("inf") if seconds == 0xFFFFFFFF else float(seconds)


def _now() -> float:
    """In seconds, those in which the host sleeps included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def main(*interfaces: str) -> None:
    """Configure all of them, or say in one line why not."""
    names: list[str] = []
    domain = ""
    held: list[Lease] = []
    for metric, interface in enumerate(interfaces):
        try:
            held.append(lease(interface))
            configure(interface, held[-1], metric)
        except NobodyAnswersError:
            sys.exit(f"{interface}: ip=dhcp: no server answers")
        except OSError as error:
            sys.exit(f"{interface}: ip=dhcp: {error.strerror}")
        options = held[-1].options
        names += map(socket.inet_ntoa, _fours(options.get(_NAMES, b"")))
        domain = domain or options.get(_DOMAIN, b"").rstrip(b"\0").decode(errors="replace")
    for name in dict.fromkeys(names):
        print("nameserver", name)
    if re.fullmatch(r"[\w.-]+", domain, re.ASCII):
        print("search", domain)
    sys.stdout.flush()
    for metric, (interface, taken) in enumerate(zip(interfaces, held, strict=True)):
        if taken.end < float("inf") and not os.fork():
            _detach()
            keep(interface, taken, metric)


def _detach() -> None:
    """Be nobody's child, in nobody's terminal, and say nothing any more."""
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)


def keep(interface: str, held: Lease, metric: int) -> NoReturn:
    """Have an address for as long as there is a server that gives one.

    Args:
        interface: its name.
        held: what it has already.
        metric: of its routes.
    """
    while True:
        renewed = _renew(interface, held)
        if renewed is None:
            with contextlib.suppress(OSError):
                _address(_DELETE, interface, held)
        while renewed is None:
            try:
                renewed = lease(interface)
                held = Lease(_ANY, {}, 0)
            except (NobodyAnswersError, OSError):
                _sleep(AGAIN)
        with contextlib.suppress(OSError):
            if renewed.settings != held.settings:
                configure(interface, renewed, metric)
        held = renewed


def _renew(interface: str, held: Lease) -> Lease | None:
    """Ask for more time when that is due; None when the address must not be had any more."""
    _sleep(held.renew - _now())
    while (now := _now()) < held.end:
        server, until = held.options.get(_SERVER_ID, _ANY), held.rebind
        if now >= held.rebind or server == _ANY:
            server, until = b"\xff" * 4, held.end
        # Half of the time that is left: RFC 2131, 4.4.5.
        again = min(until, now + max((until - now) / 2, AGAIN))
        try:
            options = _ask_again(interface, held.address, server, again)
        except OSError:
            # The network is down, or somebody else has the port.
            options = {}
            _sleep(again - _now())
        if options.get(_TYPE) == _NAK:
            return None
        if options:
            return Lease(held.address, options, now)
    return None


def _ask_again(interface: str, address: bytes, server: bytes, until: float) -> Options:
    """Ask a server, or all, for more time: what one says before a time is over, or nothing."""
    hardware = _hardware(interface)
    ask = {_TYPE: _REQUEST, _CLIENT_ID: b"\1" + hardware, _WANTED: _ASKED}
    number = os.urandom(4)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        s.bind(("", _CLIENT))
        # From the address that is asked for: the interface may have others, too.
        source = [(socket.IPPROTO_IP, _PKTINFO, struct.pack("@i4s4x", 0, address))]
        question = [_message(number, hardware, address, ask)]
        s.sendmsg(question, source, 0, (socket.inet_ntoa(server), _SERVER))
        while _sleep(until - _now(), s):
            found = _answer(s.recv(65536), number, hardware)
            if found and found[1].get(_TYPE) in (_ACK, _NAK):
                return found[1]
    return {}


def _sleep(seconds: float, s: socket.socket | None = None) -> bool:
    """Wait until there is something to read, or the time is over: False.

    When standard input ends, so does this process: then there is no kernel any more.
    """
    end = _now() + seconds
    watched: list[int | socket.socket] = [0] if s is None else [0, s]
    while (left := end - _now()) > 0:
        # The host may sleep meanwhile, which this does not see.
        ready = select.select(watched, [], [], min(left, 60))[0]
        if 0 in ready and not os.read(0, 1):
            os._exit(0)
        if s in ready:
            return True
    return False


def _hardware(interface: str) -> bytes:
    return _ioctl(_SIOCGIFHWADDR, interface, bytes(16))[18:24]


def lease(interface: str) -> Lease:
    """An address, and what else the server says.

    Args:
        interface: its name.

    Raises:
        NobodyAnswersError: after 15 seconds.
        OSError: if there is no such interface.
    """
    hardware = _hardware(interface)
    client = {_CLIENT_ID: b"\1" + hardware, _WANTED: _ASKED}
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as s:
        s.bind((interface, 0x0800))
        while True:
            ask = {_TYPE: _DISCOVER, **client}
            address, offer = _exchange(s, interface, hardware, ask, (_OFFER,))
            ask = {_TYPE: _REQUEST, _REQUESTED: address, **client}
            ask[_SERVER_ID] = offer.get(_SERVER_ID, _ANY)
            now = _now()
            address, answer = _exchange(s, interface, hardware, ask, (_ACK, _NAK))
            if answer[_TYPE] == _ACK:
                return Lease(address, answer, now)
            # Another one took it meanwhile.
            time.sleep(1)


def _exchange(
    s: socket.socket, interface: str, hardware: bytes, ask: Options, expected: tuple[bytes, ...]
) -> tuple[bytes, Options]:
    number = os.urandom(4)
    packet = _packet(number, hardware, ask)
    for seconds in WAITS:
        s.sendto(packet, (interface, 0x0800, 0, 0, b"\xff" * 6))
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([s], [], [], left)[0]:
                break
            found = _read(s.recv(65536), number, hardware)
            if found and found[1].get(_TYPE) in expected:
                return found
    raise NobodyAnswersError


def _message(number: bytes, hardware: bytes, address: bytes, options: Options) -> bytes:
    """A question of somebody who has an address, or none yet."""
    (xid,) = struct.unpack("!I", number)
    ends = (address, _ANY, _ANY, _ANY)
    body = _HEADER.pack(1, 1, 6, 0, xid, 0, 0, *ends, hardware, b"", b"") + _COOKIE
    for code, value in options.items():
        body += bytes([code, len(value)]) + value
    return (body + b"\xff").ljust(300, b"\0")  # which some servers want at least


def _packet(number: bytes, hardware: bytes, options: Options) -> bytes:
    """A question as a packet of IPv4: from nobody, for all."""
    body = _message(number, hardware, _ANY, options)
    length = 8 + len(body)
    udp = struct.pack("!4H", _CLIENT, _SERVER, length, 0) + body
    pseudo = _ANY + b"\xff" * 4 + struct.pack("!HH", socket.IPPROTO_UDP, length)
    udp = udp[:6] + struct.pack("!H", _checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    head = struct.pack("!BBHHHBBH", 0x45, 0x10, 20 + length, 0, 0, 64, socket.IPPROTO_UDP, 0)
    head += _ANY + b"\xff" * 4
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + udp


def _checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return total ^ 0xFFFF


def _read(packet: bytes, number: bytes, hardware: bytes) -> tuple[bytes, Options] | None:
    """The address and the options of an answer, if a packet of IPv4 is one to us."""
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_UDP:
        return None
    udp = packet[4 * (packet[0] & 15) :]
    if udp[:4] != struct.pack("!HH", _SERVER, _CLIENT):
        return None
    return _answer(udp[8:], number, hardware)


def _answer(body: bytes, number: bytes, hardware: bytes) -> tuple[bytes, Options] | None:
    if len(body) < _HEADER.size + 4:
        return None
    fields = _HEADER.unpack(body[: _HEADER.size])
    if fields[0] != 2 or body[4:8] != number or fields[11][:6] != hardware:
        return None
    if body[_HEADER.size :][:4] != _COOKIE:
        return None
    options = read_options(body[_HEADER.size + 4 :])
    overload = options.get(_OVERLOAD, b"\0")[-1]
    # The file's name, then the server's, may be room for more.
    for bit, room in ((1, fields[13]), (2, fields[12])):
        if overload & bit:
            for code, value in read_options(room).items():
                options[code] = options.get(code, b"") + value
    return fields[8], options


def read_options(data: bytes) -> Options:
    """Options by their codes; what comes in pieces is put together: RFC 3396."""
    found: Options = {}
    while data and data[0] != 255:
        if data[0] == 0:
            data = data[1:]
            continue
        if len(data) < 2 or len(data) < 2 + data[1]:
            break
        found[data[0]] = found.get(data[0], b"") + data[2 : 2 + data[1]]
        data = data[2 + data[1] :]
    return found


def _fours(data: bytes) -> list[bytes]:
    return [data[i : i + 4] for i in range(0, len(data) - 3, 4)]


def configure(interface: str, held: Lease, metric: int) -> None:
    """Have the address and the routes.

    Args:
        interface: its name.
        held: what the server gives.
        metric: of the routes: the first interface's come first.
    """
    options = held.options
    if len(options.get(_MTU, b"")) == 2:
        mtu = struct.unpack("!H", options[_MTU])[0]
        # What the interface cannot have is no reason to be without an address.
        with contextlib.suppress(OSError):
            _ioctl(_SIOCSIFMTU, interface, struct.pack("@i", mtu if mtu >= 576 else 576))
    _address(_NEW, interface, held)
    # If there are routes with a prefix, no others count: RFC 3442.
    routes = list(read_routes(options.get(_ROUTES, b"")))
    if not routes:
        routes = [(_ANY, _ANY, router) for router in _fours(options.get(_ROUTERS, b""))[:1]]
    for destination, mask, gateway in routes:
        try:
            _route(interface, destination, mask, gateway, metric)
        except OSError as error:
            if error.errno != errno.ENETUNREACH:
                raise
            # It is a neighbour, whatever the mask says.
            _route(interface, gateway, b"\xff" * 4, _ANY, metric)
            _route(interface, destination, mask, gateway, metric)


def _address(what: int, interface: str, held: Lease) -> None:
    """Have an address, or no longer, beside others that the interface has."""
    mask = held.options.get(_MASK, b"")
    prefix = f"{int.from_bytes(mask, 'big'):b}".count("1") if len(mask) == 4 else 24
    body = struct.pack("=4BI", socket.AF_INET, prefix, 0, 0, socket.if_nametoindex(interface))
    attributes = {_IFA_LOCAL: held.address, _IFA_ADDRESS: held.address}
    if len(held.options.get(_BROADCAST, b"")) == 4:
        attributes[_IFA_BROADCAST] = held.options[_BROADCAST]
    for kind, value in attributes.items():
        body += struct.pack("=HH", 8, kind) + value
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
        s.send(struct.pack("=IHHII", 16 + len(body), what, _FLAGS, 1, 0) + body)
        (error,) = struct.unpack_from("=i", s.recv(4096), 16)
    if error:
        raise OSError(-error, os.strerror(-error))


def read_routes(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Destinations, their masks, and gateways: RFC 3442."""
    found: list[tuple[bytes, bytes, bytes]] = []
    while data:
        length = data[0]
        end = 1 + (length + 7) // 8
        if length > 32 or len(data) < end + 4:
            break
        mask = struct.pack("!I", 0xFFFFFFFF << 32 - length & 0xFFFFFFFF)
        found.append((data[1:end].ljust(4, b"\0"), mask, data[end : end + 4]))
        data = data[end + 4 :]
    return found


def _route(interface: str, to: bytes, mask: bytes, gateway: bytes, metric: int) -> None:
    name = ctypes.create_string_buffer(interface.encode())
    flags = _RTF_UP
    flags |= _RTF_GATEWAY if gateway != _ANY else 0
    flags |= _RTF_HOST if mask == b"\xff" * 4 else 0
    entry = _RTENTRY.pack(
        *(0, _sockaddr(to), _sockaddr(gateway), _sockaddr(mask), flags, 0, 0, 0),
        *(metric + 1, ctypes.addressof(name), 0, 0, 0),
    )
    known = contextlib.suppress(FileExistsError)
    with known, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, _SIOCADDRT, entry)


def _sockaddr(address: bytes) -> bytes:
    return struct.pack("@HH4s8x", socket.AF_INET, 0, address)


def _ioctl(request: int, interface: str, argument: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        ifreq = interface.encode().ljust(16, b"\0") + argument.ljust(24, b"\0")
        answer: bytes = fcntl.ioctl(s, request, ifreq)
        return answer


if __name__ == "__main__":
    main(*sys.argv[1:])
