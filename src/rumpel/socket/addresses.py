# SPDX-License-Identifier: GPL-2.0-only
"""Addresses of sockets: Python's tuples and the kernel's structures.

Source: the sockaddr structures in include/uapi/linux; the tuples are those of the
standard module :mod:`socket`.
"""

from __future__ import annotations

import contextlib
import os
import socket as host
import struct
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["LONGEST", "Names", "decode", "encode"]

LONGEST = 128
"""The size of struct sockaddr_storage."""

_IN = struct.Struct("=H2s4s8x")
_IN6 = struct.Struct("=H2s4s16sI")
_NETLINK = struct.Struct("=H2xII")
_LL = struct.Struct("=H2siHBB8s")
_VSOCK = struct.Struct("=H2xIIB3x")
_ALG = struct.Struct("=H14sII64s")
_CAN = struct.Struct("=H2xi16s")
_ISOTP = struct.Struct("=II8x")
_J1939 = struct.Struct("=QIB3x")
_TIPC = struct.Struct("=HBbIII")
_QIPCRTR = struct.Struct("=H2xII")
_UNIX_PATH = 108
_IFNAMSIZ = 16


class Names(Protocol):
    """What turns names in addresses into numbers."""

    def resolve(self, name: str | bytes, family: int) -> tuple[bytes, int]:
        """Find a host's address, and its scope if it has one.

        Raises:
            gaierror: if the name is not known.
        """
        ...

    def if_nametoindex(self, name: str, /) -> int:
        """Find an interface's number."""
        ...

    def if_indextoname(self, index: int, /) -> str:
        """Find an interface's name."""
        ...


def encode(family: int, address: Any, names: Names) -> bytes:
    """Make the kernel's structure of an address.

    Args:
        family: of the socket.
        address: what the standard module takes for this family.
        names: looks up hosts and interfaces.

    Raises:
        OSError: if the family's addresses are not known here, or one does not fit.
        TypeError: if it has another shape.
        OverflowError: if a number in it is out of range.
    """
    encoder = _ENCODERS.get(family)
    if encoder is None:
        raise OSError(f"addresses of the family {family} are not supported")
    return encoder(address, names)


def decode(data: bytes | bytearray, size: int, names: Names, proto: int = 0) -> Any:
    """Make an address of the kernel's structure; None if there is none.

    Args:
        data: the structure.
        size: how much of it the kernel has filled in.
        names: looks up interfaces.
        proto: of the socket: an address of AF_CAN says not whose it is.
    """
    data = bytes(data[:size])
    if size < 2:
        return None
    family = int.from_bytes(data[:2], "little")
    if family == host.AF_CAN:
        return _decode_can(data, names, proto)
    decoder = _DECODERS.get(family)
    if decoder is None:
        return family, data[2:]
    return decoder(data, names)


def _tuple(address: Any, least: int, most: int, what: str) -> tuple[Any, ...]:
    if not isinstance(address, tuple):
        raise TypeError(f"{what} address must be tuple, not {type(address).__name__}")
    if not least <= len(address) <= most:
        raise TypeError(f"{what} address must have {least} to {most} parts, not {len(address)}")
    return address


def _port(value: int) -> bytes:
    if not 0 <= value <= 0xFFFF:
        raise OverflowError("port must be 0-65535.")
    return int(value).to_bytes(2, "big")


def _encode_in(address: Any, names: Names) -> bytes:
    name, port = _tuple(address, 2, 2, "AF_INET")
    return _IN.pack(host.AF_INET, _port(port), names.resolve(name, host.AF_INET)[0])


def _decode_in(data: bytes, names: Names) -> Any:
    _, port, packed = _IN.unpack_from(data)
    return host.inet_ntop(host.AF_INET, packed), int.from_bytes(port, "big")


def _encode_in6(address: Any, names: Names) -> bytes:
    name, port, *rest = _tuple(address, 2, 4, "AF_INET6")
    flow, scope = [*rest, 0, 0][:2]
    if not 0 <= flow <= 0xFFFFF:
        raise OverflowError("flowinfo must be 0-1048575.")
    packed, own_scope = names.resolve(name, host.AF_INET6)
    flow_info = int(flow).to_bytes(4, "big")
    return _IN6.pack(host.AF_INET6, _port(port), flow_info, packed, scope or own_scope)


def _decode_in6(data: bytes, names: Names) -> Any:
    _, port, flow, packed, scope = _IN6.unpack_from(data)
    name = host.inet_ntop(host.AF_INET6, packed)
    return name, int.from_bytes(port, "big"), int.from_bytes(flow, "big"), scope


def _encode_unix(address: Any, names: Names) -> bytes:
    # A name that begins with NUL, or is empty, is abstract: all of its bytes count.
    path = os.fsencode(address) if isinstance(address, str | os.PathLike) else bytes(address)
    if path[:1] not in (b"", b"\0"):
        path += b"\0"
    if len(path) > _UNIX_PATH:
        raise OSError("AF_UNIX path too long")
    return struct.pack("=H", host.AF_UNIX) + path


def _decode_unix(data: bytes, names: Names) -> Any:
    path = data[2:]
    return path if path[:1] == b"\0" else os.fsdecode(path.split(b"\0")[0])


def _encode_netlink(address: Any, names: Names) -> bytes:
    pid, groups = _tuple(address, 2, 2, "AF_NETLINK")
    return _NETLINK.pack(host.AF_NETLINK, pid & 0xFFFFFFFF, groups)


def _decode_netlink(data: bytes, names: Names) -> Any:
    return _NETLINK.unpack_from(data)[1:]


def _encode_packet(address: Any, names: Names) -> bytes:
    name, protocol, *rest = _tuple(address, 2, 5, "AF_PACKET")
    kind, hardware, link = [*rest, 0, 0, b""][:3] if len(rest) < 3 else rest
    if len(link) > 8:
        raise ValueError("hardware address must be 8 bytes or less")
    index = names.if_nametoindex(name) if name else 0
    return _LL.pack(host.AF_PACKET, _port(protocol), index, hardware, kind, len(link), bytes(link))


def _decode_packet(data: bytes, names: Names) -> Any:
    _, protocol, index, hardware, kind, length, link = _LL.unpack_from(data.ljust(_LL.size, b"\0"))
    name = _interface(index, names)
    return name, int.from_bytes(protocol, "big"), kind, hardware, link[:length]


def _encode_vsock(address: Any, names: Names) -> bytes:
    cid, port = _tuple(address, 2, 2, "AF_VSOCK")
    return _VSOCK.pack(host.AF_VSOCK, port & 0xFFFFFFFF, cid & 0xFFFFFFFF, 0)


def _decode_vsock(data: bytes, names: Names) -> Any:
    _, port, cid, _ = _VSOCK.unpack_from(data)
    return cid, port


def _interface(index: int, names: Names) -> str:
    """An interface's name; none if it went meanwhile."""
    if index:
        with contextlib.suppress(OSError):
            return names.if_indextoname(index)
    return ""


def _encode_can(address: Any, names: Names) -> bytes:
    # By the number of parts: CAN_RAW and CAN_BCM, CAN_ISOTP, CAN_J1939.
    name, *rest = _tuple(address, 1, 4, "AF_CAN")
    if len(name) > _IFNAMSIZ:
        raise OSError("AF_CAN: interface name too long")
    index = names.if_nametoindex(name) if name else 0
    if len(rest) == 3:
        rest_packed = _J1939.pack(*rest)
    elif len(rest) == 2:
        rest_packed = _ISOTP.pack(*rest)
    elif rest:
        raise TypeError("AF_CAN address must have 1, 3 or 4 parts, not 2")
    else:
        rest_packed = b""
    return _CAN.pack(host.AF_CAN, index, rest_packed)


def _decode_can(data: bytes, names: Names, proto: int) -> Any:
    _, index, rest = _CAN.unpack(data.ljust(_CAN.size, b"\0"))
    name = _interface(index, names)
    if proto == host.CAN_ISOTP:
        return name, *_ISOTP.unpack(rest)
    if proto == host.CAN_J1939:
        return name, *_J1939.unpack(rest)
    return (name,)


def _encode_tipc(address: Any, names: Names) -> bytes:
    kind, one, two, three, *rest = _tuple(address, 4, 5, "AF_TIPC")
    (scope,) = rest or (host.TIPC_CLUSTER_SCOPE,)
    # A name has a domain, which is the last word; an address of a port has two words.
    if kind == host.TIPC_ADDR_NAMESEQ or kind == host.TIPC_ADDR_NAME:
        words = (one, two, three)
    elif kind == host.TIPC_ADDR_ID:
        words = (two, one, 0)
    else:
        raise TypeError("Invalid address type")
    return _TIPC.pack(host.AF_TIPC, kind, scope, *words)


def _decode_tipc(data: bytes, names: Names) -> Any:
    _, kind, scope, one, two, three = _TIPC.unpack(data.ljust(_TIPC.size, b"\0"))
    if kind == host.TIPC_ADDR_ID:
        return kind, two, one, 0, scope
    if kind == host.TIPC_ADDR_NAME:
        return kind, one, two, two, scope
    return kind, one, two, three, scope


def _encode_qipcrtr(address: Any, names: Names) -> bytes:
    node, port = _tuple(address, 2, 2, "AF_QIPCRTR")
    return _QIPCRTR.pack(host.AF_QIPCRTR, node, port)


def _decode_qipcrtr(data: bytes, names: Names) -> Any:
    return _QIPCRTR.unpack_from(data)[1:]


def _encode_alg(address: Any, names: Names) -> bytes:
    kind, name, *rest = _tuple(address, 2, 4, "AF_ALG")
    features, mask = [*rest, 0, 0][:2]
    if len(kind) > 13:
        raise ValueError("AF_ALG type too long.")
    if len(name) > 63:
        raise ValueError("AF_ALG name too long.")
    return _ALG.pack(host.AF_ALG, kind.encode(), features, mask, name.encode())


_ENCODERS: dict[int, Callable[[Any, Names], bytes]] = {
    host.AF_INET: _encode_in,
    host.AF_INET6: _encode_in6,
    host.AF_UNIX: _encode_unix,
    host.AF_NETLINK: _encode_netlink,
    host.AF_PACKET: _encode_packet,
    host.AF_VSOCK: _encode_vsock,
    host.AF_ALG: _encode_alg,
    host.AF_CAN: _encode_can,
    host.AF_TIPC: _encode_tipc,
    host.AF_QIPCRTR: _encode_qipcrtr,
    host.AF_RDS: _encode_in,
}
_DECODERS: dict[int, Callable[[bytes, Names], Any]] = {
    host.AF_INET: _decode_in,
    host.AF_INET6: _decode_in6,
    host.AF_UNIX: _decode_unix,
    host.AF_NETLINK: _decode_netlink,
    host.AF_PACKET: _decode_packet,
    host.AF_VSOCK: _decode_vsock,
    host.AF_TIPC: _decode_tipc,
    host.AF_QIPCRTR: _decode_qipcrtr,
}
