# SPDX-License-Identifier: GPL-2.0-only
"""Names from DNS: a name server in the kernel, asked over its UDP and TCP."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import dns.zone
import pytest

from rumpel import Kernel, VirtualClock
from rumpel.socket.dns import Configuration

pytestmark = [pytest.mark.kernel, pytest.mark.once]

ZONE = dns.zone.from_text(
    """
$ORIGIN example.
$TTL 60
@ SOA ns admin 1 2 3 4 5
@ NS ns
ns A 127.0.0.1
both A 127.0.0.2
both AAAA ::1
four A 127.0.0.4
alias CNAME other
other CNAME four
large TXT "nothing"
"""
    + "\n".join(f"large A 127.1.0.{number}" for number in range(1, 60)),
)


def answer(wire: bytes, most: int) -> bytes:
    """What a name server says."""
    assert ZONE.origin is not None
    query = dns.message.from_wire(wire)
    response = dns.message.make_response(query)
    (question,) = query.question
    name = question.name
    if name.to_text() == "4.0.0.127.in-addr.arpa.":
        response.answer.append(dns.rrset.from_text_list(name, 60, "IN", "PTR", ["four.example."]))
    elif name.to_text() == "broken.example.":
        response.set_rcode(dns.rcode.SERVFAIL)
    elif not name.is_subdomain(ZONE.origin) or ZONE.get_node(name) is None:
        response.set_rcode(dns.rcode.NXDOMAIN)
    else:
        while alias := ZONE.get_rrset(name, "CNAME"):
            response.answer.append(alias)
            name = alias[0].target.derelativize(ZONE.origin)
        found = ZONE.get_rrset(name, question.rdtype)
        if found:
            response.answer.append(found)
    for rrset in response.answer:
        rrset.name = rrset.name.derelativize(ZONE.origin)
    packed = response.to_wire(origin=ZONE.origin, max_size=65535)
    if len(packed) > most:
        response.answer.clear()
        response.flags |= dns.flags.TC
        packed = response.to_wire()
    return packed


@contextlib.contextmanager
def name_server(kernel: Kernel) -> Iterator[list[str]]:
    """Serve port 53; the transports of the queries are listed."""
    seen: list[str] = []
    socket = kernel.socket
    udp = socket.socket(type=socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 53))
    tcp = socket.create_server(("127.0.0.1", 53))

    def serve_udp() -> None:
        while True:
            wire, peer = udp.recvfrom(2000)
            if not wire:
                return
            seen.append("udp")
            udp.sendto(answer(wire, 512), peer)

    def serve_tcp() -> None:
        while True:
            peer, _ = tcp.accept()
            with peer, peer.makefile("rb") as reader:
                head = reader.read(2)
                if not head:
                    return
                seen.append("tcp")
                packed = answer(reader.read(int.from_bytes(head, "big")), 65535)
                peer.sendall(len(packed).to_bytes(2, "big") + packed)

    threads = [threading.Thread(target=serve) for serve in (serve_udp, serve_tcp)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        with socket.socket(type=socket.SOCK_DGRAM) as end:
            end.sendto(b"", ("127.0.0.1", 53))
        socket.create_connection(("127.0.0.1", 53)).close()
        for thread in threads:
            thread.join(20)
        udp.close()
        tcp.close()


def configure(kernel: Kernel, text: str) -> None:
    kernel.os.makedirs("/etc", exist_ok=True)
    with kernel.open("/etc/resolv.conf", "w") as file:
        file.write(text)


def test_servers_that_are_no_addresses() -> None:
    """They are passed over, as the C library does, and are none of the three."""
    text = "nameserver dns.example\nnameserver ::1::\nnameserver 10.0.0.256\n"
    good = ["10.0.0.1", "fe80::1%eth0", "::1"]
    text += "".join(f"nameserver {address}\n" for address in good)
    assert Configuration.parse(text).servers == good
    assert Configuration.parse("nameserver dns.example").servers == ["127.0.0.1"]


def error_of(function: Callable[..., Any], *args: Any) -> int | None:
    try:
        function(*args)
    except OSError as error:
        return error.errno
    return None


def test_names(kernel: Kernel) -> None:
    """Addresses of both families, aliases, short names, names of addresses, and errors."""
    socket = kernel.socket
    configure(kernel, "nameserver 127.0.0.1\nsearch nowhere.example example\n")
    with name_server(kernel) as seen:
        rows = socket.getaddrinfo("both.example", 80, type=socket.SOCK_STREAM)
        assert [row[4][0] for row in rows] == ["::1", "127.0.0.2"]
        assert socket.gethostbyname("four") == "127.0.0.4"
        assert socket.gethostbyname_ex("alias.example.") == (
            "four.example",
            ["alias.example", "other.example"],
            ["127.0.0.4"],
        )
        named = socket.getaddrinfo("alias", 1, socket.AF_INET, flags=socket.AI_CANONNAME)
        assert named[0][3] == "four.example"
        assert socket.gethostbyaddr("127.0.0.4")[0] == "four.example"
        assert socket.getfqdn("127.0.0.4") == "four.example"
        assert socket.getnameinfo(("127.0.0.4", 80), 0) == ("four.example", "http")
        assert error_of(socket.getaddrinfo, "nobody.example", 1) == socket.EAI_NONAME
        assert error_of(socket.getaddrinfo, "four.example", 1, socket.AF_INET6) == socket.EAI_NODATA
        assert error_of(socket.getaddrinfo, "broken.example.", 1) == socket.EAI_AGAIN
        assert set(seen) == {"udp"}
        with socket.create_server(("127.0.0.4", 80)), socket.create_connection(("four", 80)) as end:
            assert end.getpeername() == ("127.0.0.4", 80)


def test_what_is_too_long_for_udp_comes_over_tcp(kernel: Kernel) -> None:
    with name_server(kernel) as seen:
        assert len(kernel.socket.gethostbyname_ex("large.example")[2]) == 59
        assert seen == ["udp", "tcp"]
        configure(kernel, "nameserver 127.0.0.1\noptions use-vc\n")
        assert kernel.socket.gethostbyname("four.example") == "127.0.0.4"
        assert seen == ["udp", "tcp", "tcp"]


def test_a_server_that_is_silent(boot: Callable[..., Kernel]) -> None:
    """It is waited for on the kernel's clock, five seconds and then twice as long."""
    clock = VirtualClock()
    kernel = boot(clock=clock)
    socket = kernel.socket
    configure(kernel, "nameserver 127.0.0.1\n")
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 53))
        before = clock.now
        assert error_of(socket.gethostbyname, "four.example") == socket.EAI_AGAIN
        assert 15 <= clock.now - before < 16
