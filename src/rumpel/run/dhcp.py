# SPDX-License-Identifier: GPL-2.0-only
"""Ask for IPv4 addresses: a small client of DHCP, whose calls are a library kernel's.

    python -I -S dhcp.py INTERFACE...

It is executed, not imported, and knows nothing of rumpel. What it is told of names it prints as
resolv.conf(5) has it. A lease is taken once and not renewed. See RFC 2131 and 2132.
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

_CLIENT, _SERVER = 68, 67
_COOKIE = b"\x63\x82\x53\x63"
_HEADER = struct.Struct("!4BIHH4s4s4s4s16s64s128s")
_DISCOVER, _OFFER, _REQUEST, _ACK, _NAK = 1, 2, 3, 5, 6

_MASK, _ROUTERS, _NAMES, _DOMAIN, _MTU, _BROADCAST = 1, 3, 6, 15, 26, 28
_REQUESTED, _OVERLOAD, _TYPE, _SERVER_ID, _WANTED, _CLIENT_ID, _ROUTES = 50, 52, 53, 54, 55, 61, 121

_SIOCADDRT, _SIOCSIFADDR, _SIOCSIFBRDADDR, _SIOCSIFNETMASK = 0x890B, 0x8916, 0x891A, 0x891C
_SIOCSIFMTU, _SIOCGIFHWADDR = 0x8922, 0x8927
_RTENTRY = struct.Struct("@L16s16s16sHhLPhPLLH")
_RTF_UP, _RTF_GATEWAY, _RTF_HOST = 1, 2, 4
"""See netdevice(7) and linux/route.h."""

_ANY = bytes(4)
Options = dict[int, bytes]


class NobodyAnswersError(Exception):
    """There is no server."""


def main(*interfaces: str) -> None:
    """Configure all of them, or say in one line why not."""
    names: list[str] = []
    domain = ""
    for metric, interface in enumerate(interfaces):
        try:
            with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as s:
                s.bind((interface, 0x0800))
                address, options = lease(s, interface)
            configure(interface, address, options, metric)
        except NobodyAnswersError:
            sys.exit(f"{interface}: ip=dhcp: no server answers")
        except OSError as error:
            sys.exit(f"{interface}: ip=dhcp: {error.strerror}")
        names += map(socket.inet_ntoa, _fours(options.get(_NAMES, b"")))
        domain = domain or options.get(_DOMAIN, b"").rstrip(b"\0").decode(errors="replace")
    for name in dict.fromkeys(names):
        print("nameserver", name)
    if re.fullmatch(r"[\w.-]+", domain, re.ASCII):
        print("search", domain)


def lease(s: socket.socket, interface: str) -> tuple[bytes, Options]:
    """An address, and what else the server says.

    Args:
        s: sees the interface's packets of IPv4.
        interface: its name.

    Raises:
        NobodyAnswersError: after 15 seconds.
    """
    hardware = _ioctl(_SIOCGIFHWADDR, interface, bytes(16))[18:24]
    client = {_CLIENT_ID: b"\1" + hardware}
    wanted = {_WANTED: bytes([_MASK, _ROUTERS, _NAMES, _DOMAIN, _MTU, _BROADCAST, _ROUTES])}
    while True:
        ask = {_TYPE: bytes([_DISCOVER]), **client, **wanted}
        address, offer = _exchange(s, interface, hardware, ask, (_OFFER,))
        ask = {_TYPE: bytes([_REQUEST]), _REQUESTED: address, **client, **wanted}
        ask[_SERVER_ID] = offer.get(_SERVER_ID, _ANY)
        address, answer = _exchange(s, interface, hardware, ask, (_ACK, _NAK))
        if answer[_TYPE] == bytes([_ACK]):
            return address, answer
        # Another one took it meanwhile.
        time.sleep(1)


def _exchange(
    s: socket.socket, interface: str, hardware: bytes, ask: Options, expected: tuple[int, ...]
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
            if found and found[1].get(_TYPE, b"") in [bytes([each]) for each in expected]:
                return found
    raise NobodyAnswersError


def _packet(number: bytes, hardware: bytes, options: Options) -> bytes:
    """A question as a packet of IPv4: from nobody, for all."""
    (xid,) = struct.unpack("!I", number)
    body = _HEADER.pack(1, 1, 6, 0, xid, 0, 0, *[_ANY] * 4, hardware, b"", b"") + _COOKIE
    for code, value in options.items():
        body += bytes([code, len(value)]) + value
    body = (body + b"\xff").ljust(300, b"\0")  # which some servers want at least
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
    """The address and the options of an answer, if it is one to us."""
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_UDP:
        return None
    udp = packet[4 * (packet[0] & 15) :]
    body = udp[8:]
    if udp[:4] != struct.pack("!HH", _SERVER, _CLIENT) or len(body) < _HEADER.size + 4:
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


def configure(interface: str, address: bytes, options: Options, metric: int) -> None:
    """Have the address and the routes.

    Args:
        interface: its name.
        address: that the server gives.
        options: what it says.
        metric: of the routes: the first interface's come first.
    """
    if len(options.get(_MTU, b"")) == 2:
        mtu = struct.unpack("!H", options[_MTU])[0]
        # What the interface cannot have is no reason to be without an address.
        with contextlib.suppress(OSError):
            _ioctl(_SIOCSIFMTU, interface, struct.pack("@i", mtu if mtu >= 576 else 576))
    _ioctl(_SIOCSIFADDR, interface, _sockaddr(address))
    for code, request in ((_MASK, _SIOCSIFNETMASK), (_BROADCAST, _SIOCSIFBRDADDR)):
        if len(options.get(code, b"")) == 4:
            _ioctl(request, interface, _sockaddr(options[code]))
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
