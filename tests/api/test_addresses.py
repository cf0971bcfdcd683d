# SPDX-License-Identifier: GPL-2.0-only
"""Addresses of sockets; what the host's kernel makes of them is the proof."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from rumpel.socket.addresses import LONGEST, decode, encode


class HostNames:
    """Looks names up on the host."""

    def resolve(self, name: str | bytes, family: int) -> tuple[bytes, int]:
        text = name if isinstance(name, str) else name.decode()
        any_address = "::" if family == socket.AF_INET6 else "0.0.0.0"
        return socket.inet_pton(family, text or any_address), 0

    def if_nametoindex(self, name: str, /) -> int:
        return socket.if_nametoindex(name)

    def if_indextoname(self, index: int, /) -> str:
        return socket.if_indextoname(index)


NAMES = HostNames()
LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def host_socket(family: int, kind: int) -> Iterator[socket.socket]:
    with socket.socket(family, kind) as sock:
        yield sock


@pytest.mark.parametrize(
    ("family", "kind", "address"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_DGRAM, ("", 0)),
        (socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
        (socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0, 0, 0)),
        (socket.AF_UNIX, socket.SOCK_STREAM, "\0rumpel-test-text"),
        (socket.AF_UNIX, socket.SOCK_STREAM, b"\0rumpel-test-bytes"),
        (socket.AF_NETLINK, socket.SOCK_RAW, (0, 1)),
    ],
)
def test_the_host_takes_them(family: int, kind: int, address: Any) -> None:
    if family == socket.AF_UNIX:  # that may be used by other tests at the same time
        own = f"-{os.getpid()}"
        address += own if isinstance(address, str) else own.encode()
    packed = encode(family, address, NAMES)
    with host_socket(family, kind) as sock:
        if LIBC.bind(sock.fileno(), packed, len(packed)):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        name = ctypes.create_string_buffer(LONGEST)
        size = ctypes.c_uint(LONGEST)
        assert LIBC.getsockname(sock.fileno(), name, ctypes.byref(size)) == 0
        assert decode(name.raw, size.value, NAMES) == sock.getsockname()


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, ("1.2.3.4", 0x1234)),
        (socket.AF_INET6, ("fe80::1", 80, 5, 3)),
        (socket.AF_UNIX, "/a/path"),
        (socket.AF_UNIX, ""),
        (socket.AF_NETLINK, (12, 3)),
        (socket.AF_PACKET, ("lo", 0x800, 0, 1, b"\1\2\3\4\5\6")),
        (socket.AF_VSOCK, (2, 1024)),
    ],
)
def test_there_and_back(family: int, address: Any) -> None:
    packed = encode(family, address, NAMES)
    assert decode(packed, len(packed), NAMES) == address


def test_no_address() -> None:
    assert decode(bytes(LONGEST), 0, NAMES) is None


def test_an_unknown_family_comes_as_bytes() -> None:
    assert decode(b"\x63\0abc", 5, NAMES) == (99, b"abc")


def test_an_interface_that_has_gone() -> None:
    class Gone(HostNames):
        def if_indextoname(self, index: int, /) -> str:
            raise OSError(6, "no such interface")

    packed = encode(socket.AF_PACKET, ("lo", 3), NAMES)
    assert decode(packed, len(packed), Gone())[0] == ""


@pytest.mark.parametrize(
    ("family", "address", "error", "message"),
    [
        (socket.AF_INET, "1.2.3.4", TypeError, "must be tuple, not str"),
        (socket.AF_INET, ("1.2.3.4",), TypeError, "2 to 2 parts, not 1"),
        (socket.AF_INET, ("1.2.3.4", 65536), OverflowError, "0-65535"),
        (socket.AF_INET, ("1.2.3.4", -1), OverflowError, "0-65535"),
        (socket.AF_INET6, ("::1", 1, 2, 3, 4), TypeError, "2 to 4 parts"),
        (socket.AF_INET6, ("::1", 1, 1 << 20), OverflowError, "flowinfo"),
        (socket.AF_UNIX, "x" * 108, OSError, "path too long"),
        (socket.AF_UNIX, 5.0, TypeError, "float"),
        (socket.AF_PACKET, ("lo", 3, 0, 1, b"123456789"), ValueError, "8 bytes or less"),
        (socket.AF_ALG, ("x" * 14, "y"), ValueError, "too long"),
        (socket.AF_APPLETALK, (1, 2), OSError, "not supported"),
    ],
)
def test_what_is_no_address(
    family: int, address: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        encode(family, address, NAMES)
