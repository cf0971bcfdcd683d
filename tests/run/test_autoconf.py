# SPDX-License-Identifier: GPL-2.0-only
"""``ip=dhcp`` and ``ip=slaac``: addresses that the network gives, from dnsmasq."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumpel.run import dhcp, slaac
from tests.run.conftest import Lab, OnKernel, installed, run, wait_until

DNSMASQ = """
port=0
user=root
pid-file=
bind-interfaces
no-ping
no-resolv
no-hosts
enable-ra
log-dhcp
log-facility={dir}/log
dhcp-leasefile={dir}/leases
dhcp-range=192.0.2.50,192.0.2.60,255.255.255.0,1h
dhcp-range=198.51.100.50,198.51.100.59,255.255.255.0,1h
dhcp-range=2001:db8::,ra-only
dhcp-option=option:dns-server,192.0.2.53
dhcp-option=option:domain-name,lab.test
dhcp-option=option:mtu,1400
dhcp-option=58,2
dhcp-option=59,3
dhcp-option=option:classless-static-route,0.0.0.0/0,192.0.2.1,203.0.113.0/24,192.0.2.9
dhcp-option=option6:dns-server,[2001:db8::53]
"""


@pytest.fixture
def served(lab: Lab, tmp_path: Path) -> Iterator[Lab]:
    """Two networks with a server of DHCP, the first with a router of IPv6."""
    for command in (
        "ip tuntap add mode tap tap1",
        "ip addr add 198.51.100.1/24 dev tap1",
        "ip link set tap1 up",
    ):
        subprocess.run(lab.inside(command.split()), check=True)
    conf = tmp_path / "conf"
    conf.write_text(DNSMASQ.format(dir=tmp_path))
    server = subprocess.Popen(lab.inside([installed("dnsmasq"), "-k", "-C", str(conf)]))
    with server:
        try:
            log = tmp_path / "log"
            assert wait_until(lambda: log.exists() and "IP range 198" in log.read_text())
            yield lab
        finally:
            server.kill()


@pytest.mark.kernel
@pytest.mark.once
def test_two_networks(on_kernel: OnKernel, served: Lab, tmp_path: Path) -> None:
    """Addresses, routes, the MTU and name servers are there when the program starts.

    Leases are renewed while it runs, by somebody who does not outlive it.
    """
    nets = ("--net", "tap:tap0,ip=dhcp,ip=slaac", "--net", "tap:tap1,ip=dhcp,ip=198.51.100.9/24")
    script = "cat /etc/resolv.conf; ip -o addr; ip route; ip link show eth0;"
    for tap in ("tap0", "tap1"):
        script += f"until [ $(grep -c 'DHCPACK({tap})' {tmp_path}/log) -ge 2 ]; do sleep 0.1; done;"
    script += "echo renewed; ip -4 -o addr show eth0"
    program = on_kernel.arguments(*nets, program=["sh", "-c", script])
    done = run(served.inside(program), env=on_kernel.environment)
    servers = "nameserver 192.0.2.53\nsearch lab.test\nnameserver 2001:db8::53\n"
    assert done.stdout.startswith(servers), done.stderr
    assert "inet 192.0.2." in done.stdout.partition("renewed")[2]
    for said in (
        *("inet 192.0.2.", "inet 198.51.100.5", "/24 brd", "inet6 2001:db8::", " 198.51.100.9/24"),
        *("default via 192.0.2.1 dev eth0", "203.0.113.0/24 via 192.0.2.9", "mtu 1400"),
    ):
        assert said in done.stdout


@pytest.mark.kernel
@pytest.mark.once
def test_addresses_in_vain(on_kernel: OnKernel, tmp_path: Path) -> None:
    """A link that is too small for IPv6 has no addresses of it: one line, and nothing starts."""
    net = f"pcap:{tmp_path}/pcap,mtu=1000,ip=slaac"
    done = on_kernel.run("--net", net, program=["echo", "started"])
    said = "rumpel: eth0: IPv6 (of an MTU of 1280 or more): No such file or directory\n"
    assert (done.stderr, done.stdout, done.returncode) == (said, "", 1)


@pytest.mark.parametrize(
    ("patient", "said"),
    [
        ("dhcp; it.WAITS = (0.1,)", "tap0: ip=dhcp: no server answers\n"),
        ("slaac; it.PATIENCE = 0.1", "tap0: ip=slaac: no router advertises itself\n"),
    ],
)
def test_nobody_answers(lab: Lab, patient: str, said: str) -> None:
    """It is an end with a reason, after a while that is shortened here."""
    way, _, setting = patient.partition("; ")
    program = f"from rumpel.run import {way} as it; {setting}; it.main('tap0')"
    done = lab.run(sys.executable, "-c", program)
    assert (done.stderr, done.returncode) == (said, 1)


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        # Half of the time that is left, but a minute at least; then all servers (RFC 2131, 4.4.5).
        ([], [500, 687.5, 781.25, 841.25, *("all 875", "all 937.5", "all 997.5")]),
        ([{}, {53: b"\5", 51: b"\0\0\0\x0a"}], [500, 687.5]),
        ([{53: b"\6"}], [500]),
    ],
)
def test_when_more_time_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, answers: list[dhcp.Options], asked: list[float | str]
) -> None:
    """A lease of 1000 seconds: nobody answers, one does in the end, one says no."""
    clock, times, left = [0.0], list[float | str](), list(answers)

    def sleep(seconds: float) -> None:
        clock[0] += max(seconds, 0)

    def ask(interface: str, address: bytes, server: bytes, until: float) -> dhcp.Options:
        times.append(f"all {clock[0]:g}" if server == b"\xff" * 4 else clock[0])
        answer = left.pop(0) if left else {}
        if not answer:
            clock[0] = until
        return answer

    monkeypatch.setattr(dhcp, "_now", lambda: clock[0])
    monkeypatch.setattr(dhcp, "_sleep", sleep)
    monkeypatch.setattr(dhcp, "_ask_again", ask)
    held = dhcp.Lease(b"abcd", {51: b"\0\0\x03\xe8", 54: b"serv"}, 0)
    renewed = dhcp._renew("eth0", held)
    assert times == asked
    if len(answers) == 2:
        assert renewed
        assert (renewed.address, renewed.end) == (b"abcd", 697.5)
    else:
        assert renewed is None


ENDS = """
import os, subprocess
from rumpel.run import dhcp

def show():
    subprocess.run(["ip", "-4", "-o", "addr", "show", "tap0"], check=True)

def address(number, seconds):
    options = {1: b"\\xff\\xff\\xff\\0", 51: seconds.to_bytes(4, "big")}
    return dhcp.Lease(bytes([192, 0, 2, number]), options, dhcp._now())

def again(interface):
    show()
    return address(78, 1000)

def forever(seconds):
    show()
    os._exit(0)

dhcp.lease = again
held = address(77, 0)
dhcp.configure("tap0", held, 0)
show()
renew = dhcp._renew
dhcp._renew = lambda i, lease: renew(i, lease) if lease is held else forever(0)
dhcp.keep("tap0", held, 0)
"""


def test_a_lease_that_ends(lab: Lab) -> None:
    """Its address is given up, and another one asked for; what else there is stays."""
    done = lab.run(sys.executable, "-c", ENDS, stdin=subprocess.PIPE)
    numbers = re.findall(r"inet 192\.0\.2\.(\d+)/24", done.stdout)
    assert numbers == ["1", "77", "1", "1", "78"], done.stdout + done.stderr


def test_options_in_pieces() -> None:
    """They may be long, padded, or end in the middle: RFC 3396."""
    assert dhcp.read_options(b"\x06\x01a\0\x06\x02bc\xff\x07\x01x") == {6: b"abc"}
    assert dhcp.read_options(b"\x06\x01a\x0f\x09b") == {6: b"a"}


def test_routes_with_prefixes() -> None:
    """RFC 3442's examples."""
    router = bytes([10, 0, 0, 1])
    told = b"\0" + router + b"\x08\x0a" + router + b"\x19\x0a\x1b\x81\x80" + router + b"\x20\x0a"
    assert list(dhcp.read_routes(told)) == [
        (bytes(4), bytes(4), router),
        (bytes([10, 0, 0, 0]), bytes([255, 0, 0, 0]), router),
        (bytes([10, 27, 129, 128]), bytes([255, 255, 255, 128]), router),
    ]


def test_name_servers_of_a_router() -> None:
    """RFC 8106; what is no option any more is left."""
    lifetime, link_local = bytes(6), bytes.fromhex("fe80" + "0" * 27 + "1")
    rdnss = b"\x19\x03" + lifetime + link_local
    told = bytes(16) + b"\x01\x01" + bytes(6) + rdnss + b"\x19\x00"
    assert slaac.name_servers(told, "eth0") == ["fe80::1%eth0"]
