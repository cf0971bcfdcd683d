# SPDX-License-Identifier: GPL-2.0-only
"""Names of hosts: the answers for addresses are those of the host's C library."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from rumpel.socket.resolver import Resolver

HOSTS = [
    (socket.AF_INET, bytes([10, 0, 0, 1]), ["one.example", "one"]),
    (socket.AF_INET6, b"\xfd" + bytes(14) + b"\1", ["one.example"]),
    (socket.AF_INET, bytes([10, 0, 0, 2]), ["two"]),
]


class Fixed(Resolver):
    """A resolver whose /etc/hosts is a list, and that has nobody else to ask."""

    def __init__(self) -> None:
        self._has_ipv6 = True

    def hosts(self) -> Iterator[tuple[int, bytes, list[str]]]:
        return iter(HOSTS)

    def services(self) -> list[str]:
        return ["files"]


NAMES = Fixed()


def outcome(function: Any, *args: Any, **keywords: Any) -> Any:
    """The result, or which error it was."""
    try:
        return function(*args, **keywords)
    except socket.gaierror as error:
        return error.errno


@pytest.mark.parametrize("proto", [0, 6, 17])
@pytest.mark.parametrize("type", [0, socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
@pytest.mark.parametrize("family", [0, socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("127.0.0.1", 80),
        ("127.0.0.1", None),
        ("127.1", "80"),
        ("::1", 5),
        ("127.0.0.1", "http"),
        ("127.0.0.1", "no-such-service"),
        (None, 80),
        (None, None),
        ("", 1),
    ],
)
def test_addresses_as_the_host_resolves_them(
    name: str | None, port: Any, family: int, type: int, proto: int
) -> None:
    ours = outcome(NAMES.getaddrinfo, name, port, family, type, proto)
    theirs = outcome(socket.getaddrinfo, name, port, family, type, proto)
    # Which of two errors is found first is the C library's affair.
    assert isinstance(ours, int) == isinstance(theirs, int)
    assert ours == theirs or isinstance(ours, int)


def test_flags() -> None:
    passive = NAMES.getaddrinfo(None, 1, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    assert [row[4][0] for row in passive] == ["0.0.0.0", "::"]
    named = NAMES.getaddrinfo("one", 1, socket.AF_INET, flags=socket.AI_CANONNAME)
    assert [row[3] for row in named] == ["one.example", "", ""]
    with pytest.raises(socket.gaierror, match="not known"):
        NAMES.getaddrinfo("one", 1, flags=socket.AI_NUMERICHOST)


def test_names_of_the_hosts_file() -> None:
    rows = NAMES.getaddrinfo("ONE.example.", 7, type=socket.SOCK_STREAM)
    assert [row[4] for row in rows] == [("10.0.0.1", 7), ("fd00::1", 7, 0, 0)]
    assert NAMES.resolve("two", socket.AF_INET) == (bytes([10, 0, 0, 2]), 0)


def test_localhost_needs_no_file() -> None:
    rows = NAMES.getaddrinfo("localhost", 7, type=socket.SOCK_STREAM)
    assert [row[4][0] for row in rows] == ["::1", "127.0.0.1"]
    assert NAMES.resolve("x.localhost", socket.AF_INET)[0] == b"\x7f\0\0\1"


def test_an_unknown_name() -> None:
    with pytest.raises(socket.gaierror, match=r"not known: 'example.org'") as caught:
        NAMES.getaddrinfo("example.org", 80)
    assert caught.value.errno == socket.EAI_NONAME


def test_a_name_without_an_address_of_the_family() -> None:
    with pytest.raises(socket.gaierror) as caught:
        NAMES.getaddrinfo("two", 80, socket.AF_INET6)
    assert caught.value.errno == socket.EAI_NODATA


def test_addresses_of_ipv4_as_ones_of_ipv6() -> None:
    mapped = socket.AI_V4MAPPED

    def found(name: str, flags: int) -> list[str]:
        rows = NAMES.getaddrinfo(name, 1, socket.AF_INET6, socket.SOCK_STREAM, 0, flags)
        return [row[4][0] for row in rows]

    assert found("two", mapped) == ["::ffff:10.0.0.2"]
    assert found("one.example", mapped) == ["fd00::1"]
    assert found("one.example", mapped | socket.AI_ALL) == ["fd00::1", "::ffff:10.0.0.1"]
    assert found("10.0.0.3", mapped) == ["::ffff:10.0.0.3"]


def test_any_and_broadcast() -> None:
    assert NAMES.resolve("", socket.AF_INET6) == (bytes(16), 0)
    assert NAMES.resolve(b"<broadcast>", socket.AF_INET) == (b"\xff" * 4, 0)


def test_scopes_by_number() -> None:
    assert NAMES.resolve("fe80::1%3", socket.AF_INET6)[1] == 3


def test_names_of_addresses() -> None:
    assert NAMES.by_address("10.0.0.1") == ("one.example", ["one"], ["10.0.0.1"])
    assert NAMES.by_address("127.0.0.1")[0] == "localhost"
    with pytest.raises(socket.herror):
        NAMES.by_address("10.9.9.9")


def test_getnameinfo() -> None:
    assert NAMES.getnameinfo(("10.0.0.1", 80), 0) == ("one.example", "http")
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert NAMES.getnameinfo(("10.0.0.1", 80), numeric) == ("10.0.0.1", "80")
    assert NAMES.getnameinfo(("10.9.9.9", 1), 0)[0] == "10.9.9.9"
    with pytest.raises(socket.gaierror):
        NAMES.getnameinfo(("10.9.9.9", 1), socket.NI_NAMEREQD)


def test_by_name() -> None:
    assert NAMES.by_name("one.example") == ("one.example", ["one"], ["10.0.0.1"])
