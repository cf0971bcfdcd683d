# SPDX-License-Identifier: GPL-2.0-only
"""Routes, rules and neighbours, by the way that packets take."""

from __future__ import annotations

import errno
import ipaddress
import socket as host

import pytest

from rumpel import Kernel, Link, VirtualClock
from tests.net.tools import Boot, pair, ping, unreachable

pytestmark = pytest.mark.kernel


def three(boot: Boot) -> tuple[Kernel, Kernel, Kernel]:
    """Left, a router, right: 10.1.0.0/24 and 10.2.0.0/24."""
    (a, b), (c, d) = Link(), Link()
    clock = VirtualClock()
    left, router, right = (boot(nics=nics, clock=clock) for nics in ([a], [b, c], [d]))
    left.ifup("eth0", "10.1.0.1/24")
    router.ifup("eth0", "10.1.0.254/24")
    router.ifup("eth1", "10.2.0.254/24")
    right.ifup("eth0", "10.2.0.1/24")
    router.sysctl["net.ipv4.ip_forward"] = 1
    return left, router, right


class TestRoutes:
    """The way to everywhere."""

    def test_through_a_router(self, boot: Boot) -> None:
        left, _, right = three(boot)
        assert unreachable(left, "10.2.0.1")
        left.net.routes.add("default", via="10.1.0.254")
        right.net.routes.add("10.1.0.0/24", via="10.2.0.254")
        ping(left, "10.2.0.1")
        way = left.net.routes.get("10.2.0.1")
        assert (str(way.via), way.dev, str(way.source)) == ("10.1.0.254", "eth0", "10.1.0.1")
        left.net.routes.remove("default")
        with pytest.raises(OSError, match=r"10\.2\.0\.1") as caught:
            left.net.routes.get("10.2.0.1")
        assert caught.value.errno == errno.ENETUNREACH

    def test_they_are_listed(self, kernel: Kernel) -> None:
        kernel.net.add_link("d0", kind="dummy").add_address("10.0.0.1/24").up()
        kernel.net.link("d0").add_address("fd00::1/64")
        routes = kernel.net.routes
        routes.add("10.5.0.0/16", via="10.0.0.7", metric=5, source="10.0.0.1")
        routes.add("fd05::/32", via="fd00::7")
        routes.add("default", via="fd00::8")
        routes.add("10.6.0.0/16", type="blackhole")
        found = {str(r.destination): r for r in routes}
        assert str(found["10.5.0.0/16"].via) == "10.0.0.7"
        assert found["10.5.0.0/16"].metric == 5
        assert found["10.5.0.0/16"].source == ipaddress.ip_address("10.0.0.1")
        assert found["fd05::/32"].dev == "d0"
        assert str(found["::/0"].via) == "fd00::8"
        assert found["10.6.0.0/16"].type == "blackhole"
        assert found["10.0.0.0/24"].dev == "d0"
        assert all(r.table == 254 for r in routes)
        assert "10.0.0.1/32" in {str(r.destination) for r in routes.table("local")}

    def test_replaced(self, kernel: Kernel) -> None:
        kernel.net.add_link("d0", kind="dummy").add_address("10.0.0.1/24").up()
        kernel.net.routes.add("10.5.0.0/16", via="10.0.0.7")
        with pytest.raises(FileExistsError):
            kernel.net.routes.add("10.5.0.0/16", via="10.0.0.8")
        kernel.net.routes.replace("10.5.0.0/16", via="10.0.0.8", mtu=1300)
        (found,) = [r for r in kernel.net.routes if str(r.destination) == "10.5.0.0/16"]
        assert str(found.via) == "10.0.0.8"
        with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
            sock.connect(("10.5.0.1", 9))
            assert sock.getsockopt(host.IPPROTO_IP, 14) == 1300  # IP_MTU

    def test_several_next_hops(self, boot: Boot) -> None:
        """Packets to different ports take different ways."""
        cables = Link(), Link()
        left, right = boot(nics=[c[0] for c in cables]), boot(nics=[c[1] for c in cables])
        for number in range(2):
            left.ifup(f"eth{number}", f"10.{number}.0.1/24")
            right.ifup(f"eth{number}", f"10.{number}.0.2/24")
        right.net.link("lo").add_address("10.9.0.1/32")
        left.sysctl["net.ipv4.fib_multipath_hash_policy"] = 1
        left.net.routes.add(
            "10.9.0.1", nexthops=[{"via": "10.0.0.2"}, {"via": "10.1.0.2", "weight": 2}]
        )
        for number in range(2):
            ping(left, f"10.{number}.0.2")  # ARP is over then
        before = [c[0].stats.sent for c in cables]
        with left.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
            for port in range(3000, 3100):
                sock.sendto(b"x", ("10.9.0.1", port))
        sent = [0, 0]
        while sum(sent) < 100:
            left.sleep(0.01)
            sent = [c[0].stats.sent - b for c, b in zip(cables, before, strict=True)]
        assert min(sent) >= 10
        with pytest.raises(TypeError, match="a next hop has via, dev and weight, not hops"):
            left.net.routes.add("10.8.0.0/16", nexthops=[{"hops": 3}])

    def test_mistakes(self, kernel: Kernel) -> None:
        routes = kernel.net.routes
        with pytest.raises(ValueError, match="not a destination: 'nonsense'"):
            routes.add("nonsense")
        with pytest.raises(ValueError, match="has host bits set"):
            routes.add("10.0.0.1/8", dev="lo")
        with pytest.raises(ValueError, match="not a gateway"):
            routes.add("default", via="nonsense")
        with pytest.raises(ValueError, match="give its number"):
            routes.add("default", via="10.0.0.1", table="mine")
        with pytest.raises(OSError, match="invalid gateway") as caught:
            routes.add("default", via="10.9.9.9")
        assert caught.value.errno == errno.ENETUNREACH
        with pytest.raises(TypeError, match="nonsense"):
            routes.replace("default", nonsense=1)
        with pytest.raises(ProcessLookupError):
            routes.remove("10.77.0.0/16")


class TestPolicy:
    """Rules choose among tables."""

    def test_by_source_and_mark(self, boot: Boot) -> None:
        left, router, right = three(boot)
        right.net.routes.add("default", via="10.2.0.254")
        left.net.link("eth0").add_address("10.1.0.2/24")
        left.net.routes.add("default", via="10.1.0.254", table=100)
        rules = left.net.rules
        assert unreachable(left, "10.2.0.1")
        rules.add(100, source="10.1.0.2", priority=1000)
        rules.add(100, mark=7, priority=1001)
        found = {r.priority: r for r in rules if r.family == host.AF_INET}
        assert str(found[1000].source) == "10.1.0.2/32"
        assert found[1000].table == 100
        assert found[1001].mark == (7, 0xFFFFFFFF)
        assert found[32766].table == 254
        assert router.net.routes.get("10.2.0.1").dev == "eth1"

        with right.socket.socket(host.AF_INET, host.SOCK_DGRAM) as server:
            server.bind(("", 9))
            server.settimeout(10)
            with left.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
                sock.bind(("10.1.0.2", 0))
                sock.sendto(b"by source", ("10.2.0.1", 9))
                assert server.recvfrom(100)[0] == b"by source"
            with left.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
                with pytest.raises(OSError, match="unreachable"):
                    sock.sendto(b"lost", ("10.2.0.1", 9))
                sock.setsockopt(host.SOL_SOCKET, host.SO_MARK, 7)
                sock.sendto(b"by mark", ("10.2.0.1", 9))
                assert server.recvfrom(100) == (b"by mark", ("10.1.0.1", sock.getsockname()[1]))
        assert left.net.routes.get("10.2.0.1", mark=7).table == 100
        rules.remove(100, source="10.1.0.2", priority=1000)
        with pytest.raises(FileNotFoundError):
            rules.remove(100, source="10.1.0.2", priority=1000)
        with pytest.raises(TypeError, match="a rule has no 'nonsense'"):
            rules.remove(100, nonsense=1)
        left.net.routes.flush(100)
        assert left.net.routes.table(100) == []

    def test_vrf(self, kernel: Kernel) -> None:
        """The same address twice, each in a routing domain of its own."""
        for number, name in enumerate(("red", "blue")):
            room = kernel.net.add_namespace(name)
            vrf = kernel.net.add_link(f"vrf-{name}", kind="vrf", table=100 + number).up()
            end = kernel.net.add_link(f"to-{name}", "veth", peer="v0", peer_namespace=room)
            end.master = vrf
            end.up().add_address("10.0.0.1/24")
            with room:
                kernel.net.link("v0").add_address("10.0.0.2/24").up()
                server = kernel.socket.create_server(("10.0.0.2", 80))
            with server, kernel.socket.socket() as client:
                client.setsockopt(host.SOL_SOCKET, host.SO_BINDTODEVICE, f"vrf-{name}".encode())
                client.settimeout(10)
                client.connect(("10.0.0.2", 80))
                server.accept()[0].close()
        assert {r.dev for r in kernel.net.routes.table(101)} >= {"to-blue"}


class TestEncapsulation:
    """Routes that put packets into others."""

    def test_mpls(self, boot: Boot) -> None:
        """A label on the way there, none on the way back."""
        left, right = pair(boot, clock=VirtualClock())
        right.net.link("lo").add_address("10.9.0.1/32")
        left.net.routes.add("10.9.0.1", via="10.0.0.2", encap={"type": "mpls", "labels": "100"})
        assert unreachable(left, "10.9.0.1")
        right.sysctl["net.mpls.platform_labels"] = 1000
        right.sysctl["net.mpls.conf.eth0.input"] = 1
        with right.iproute() as ipr:
            (index,) = ipr.link_lookup(ifname="lo")
            ipr.route("add", family=28, oif=index, dst={"label": 100, "bos": 1})
        ping(left, "10.9.0.1")

    def test_segment_routing(self, boot: Boot) -> None:
        """IPv6 in IPv6 with a segment, which the other side takes off."""
        left, right = pair(boot, clock=VirtualClock())
        left.net.link("eth0").add_address("fd00::1/64")
        right.net.link("eth0").add_address("fd00::2/64")
        right.net.link("lo").add_address("fd09::1/128")
        left.net.routes.add("fd0a::/64", via="fd00::2")
        left.net.routes.add(
            "fd09::1", dev="eth0", encap={"type": "seg6", "mode": "encap", "segs": "fd0a::100"}
        )
        assert unreachable(left, "fd09::1")
        for name in ("all", "eth0"):
            right.sysctl[f"net.ipv6.conf.{name}.seg6_enabled"] = 1
        right.sysctl["net.ipv6.conf.all.forwarding"] = 1
        right.net.routes.add(
            "fd0a::100",
            dev="eth0",
            encap={"type": "seg6local", "action": "End.DT6", "table": 255},
        )
        ping(left, "fd09::1")


class TestNeighbours:
    """What is known of who is near."""

    def test_found_and_permanent(self, boot: Boot) -> None:
        left, right = pair(boot)
        ping(left, "10.0.0.2")
        near = {str(n.address): n for n in left.net.neighbours}["10.0.0.2"]
        assert near.mac == right.net.link("eth0").mac
        assert near.dev == "eth0"
        assert near.state in ("reachable", "delay", "probe", "stale")
        left.net.neighbours.add("10.0.0.9", "02:00:00:00:00:09", "eth0")
        near = {str(n.address): n for n in left.net.neighbours}["10.0.0.9"]
        assert (near.mac, near.state) == ("02:00:00:00:00:09", "permanent")
        left.net.neighbours.remove("10.0.0.9", "eth0")
        with pytest.raises(FileNotFoundError):
            left.net.neighbours.remove("10.0.0.9", "eth0")

    def test_a_wrong_one_keeps_packets_away(self, boot: Boot) -> None:
        left, right = pair(boot, clock=VirtualClock())
        left.net.neighbours.add("10.0.0.2", "02:00:00:00:00:09", "eth0")
        assert unreachable(left, "10.0.0.2")
        left.net.neighbours.add("10.0.0.2", right.net.link("eth0").mac, "eth0")
        ping(left, "10.0.0.2")
