# SPDX-License-Identifier: GPL-2.0-only
"""Interfaces, and that packets go through them."""

from __future__ import annotations

import errno
import ipaddress

import pytest

from rumpel import Kernel, VirtualClock
from rumpel.net import Interface, Namespace
from tests.net.tools import Boot, pair, ping, unreachable

pytestmark = pytest.mark.kernel


class TestInterfaces:
    """What they are, and how they are changed."""

    def test_a_mapping_by_name(self, kernel: Kernel) -> None:
        kernel.net.add_link("d0", kind="dummy")
        assert {"lo", "d0"} <= set(kernel.net.links)
        assert len(kernel.net.links) == len(list(kernel.net.links))
        assert kernel.net.links["d0"].kind == "dummy"
        assert "d1" not in kernel.net.links
        with pytest.raises(KeyError):
            kernel.net.links["d1"]

    def test_attributes(self, kernel: Kernel) -> None:
        link = kernel.net.add_link("d0", kind="dummy", mac="02:00:00:00:00:07", mtu=1234)
        assert (link.name, link.mac, link.mtu) == ("d0", "02:00:00:00:00:07", 1234)
        assert not link.is_up
        assert link.up() is link
        assert link.is_up
        assert link.is_running
        link.mtu = 9000
        link.mac = "02:00:00:00:00:08"
        assert (link.mtu, link.mac) == (9000, "02:00:00:00:00:08")
        link.down().name = "lan"
        assert link == kernel.net.link("lan")
        assert hash(link) == hash(kernel.net.link("lan"))
        assert repr(link) == "<Interface lan>"
        link.delete()
        assert "lan" not in kernel.net.links

    def test_addresses(self, kernel: Kernel) -> None:
        link = kernel.net.add_link("d0", kind="dummy").up()
        link.add_address("10.0.0.1/24").add_address("fd00::1/64")
        link.add_address("10.7.0.1/32", peer="10.7.0.2")
        assert {str(a) for a in link.addresses} >= {"10.0.0.1/24", "fd00::1/64", "10.7.0.1/32"}
        link.remove_address("10.0.0.1/24")
        assert ipaddress.ip_interface("10.0.0.1/24") not in link.addresses
        with pytest.raises(OSError, match=r"10\.0\.0\.1/24") as caught:
            link.remove_address("10.0.0.1/24")
        assert caught.value.errno == errno.EADDRNOTAVAIL

    def test_an_address_that_is_looked_for(self, boot: Boot) -> None:
        """Duplicate address detection takes a while, unless it is not wanted."""
        left, _ = pair(boot, clock=VirtualClock())
        link = left.net.link("eth0")
        link.add_address("fd00::1/64")
        link.add_address("fd00::2/64", dad=True)
        assert not link.is_tentative("fd00::1/64")
        assert link.is_tentative("fd00::2/64")
        with pytest.raises(OSError, match="fd00::3"):
            link.is_tentative("fd00::3/64")

    def test_mistakes(self, kernel: Kernel) -> None:
        net = kernel.net
        with pytest.raises(OSError, match="eth7") as caught:
            net.link("eth7")
        assert caught.value.errno == errno.ENODEV
        net.add_link("d0", kind="dummy")
        with pytest.raises(FileExistsError):
            net.add_link("d0", kind="dummy")
        with pytest.raises(OSError, match="Unknown device type") as caught:
            net.add_link("d1", kind="nonsense")
        assert caught.value.errno == errno.EOPNOTSUPP
        with pytest.raises(TypeError, match=r"no option 'nonsense', but .*\bid\b"):
            net.add_link("d1", kind="vlan", link="d0", nonsense=1)
        with pytest.raises(ValueError, match="write 10"):
            net.link("d0").add_address("nonsense")
        net.add_link("v0", kind="veth", peer="v1")
        with pytest.raises(OSError, match="mtu less than device minimum") as caught:
            net.link("v0").mtu = 1
        assert caught.value.filename == "v0"
        assert caught.value.errno == errno.EINVAL

    def test_statistics(self, boot: Boot) -> None:
        left, _ = pair(boot)
        before = left.net.link("eth0").statistics
        for _ in range(5):
            ping(left, "10.0.0.2", size=1000)
        after = left.net.link("eth0").statistics
        assert after.rx_packets - before.rx_packets >= 5
        assert after.rx_bytes - before.rx_bytes >= 5000


def two_rooms(kernel: Kernel) -> tuple[Namespace, Namespace]:
    """Namespaces blue and red, each with one end of a veth to the initial one: b0, r0."""
    rooms = kernel.net.add_namespace("blue"), kernel.net.add_namespace("red")
    for room in rooms:
        kernel.net.add_link(f"{room.name[0]}0", kind="veth", peer="v0", peer_namespace=room).up()
    return rooms


class TestKinds:
    """Each by what goes through it."""

    def test_bridge_and_veth(self, boot: Boot) -> None:
        kernel = boot(clock=VirtualClock())
        blue, red = two_rooms(kernel)
        bridge = kernel.net.add_link("br0", kind="bridge").up()
        for name in ("b0", "r0"):
            kernel.net.link(name).master = bridge
            assert kernel.net.link(name).master == "br0"
        for number, room in enumerate((blue, red)):
            with room:
                kernel.net.link("v0").add_address(f"10.0.0.{number + 1}/24").up()
        with blue:
            ping(kernel, "10.0.0.2")
            assert "b0" not in kernel.net.links
        kernel.net.link("r0").master = None
        assert kernel.net.link("r0").master is None
        with blue:
            assert unreachable(kernel, "10.0.0.2")

    def test_vlans(self, boot: Boot) -> None:
        left, right = pair(boot, clock=VirtualClock())
        for number, kernel in enumerate((left, right)):
            for vlan in (7, 8 + number):
                link = kernel.net.add_link(f"eth0.{vlan}", kind="vlan", link="eth0", id=vlan).up()
                link.add_address(f"10.{min(vlan, 8)}.0.{number + 1}/24")
        ping(left, "10.7.0.2")
        assert unreachable(left, "10.8.0.2")

    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("gre", {"ttl": 64}),
            ("ipip", {}),
            ("gretap", {}),
            ("vxlan", {"id": 42, "port": 4789, "link": "eth0"}),
            ("geneve", {"id": 42}),
        ],
    )
    def test_tunnels(self, boot: Boot, kind: str, options: dict[str, object]) -> None:
        left, right = pair(boot)
        for own, kernel in ((1, left), (2, right)):
            ends: dict[str, object] = {"remote": f"10.0.0.{3 - own}", "local": f"10.0.0.{own}"}
            if kind == "vxlan":
                ends["group"] = ends.pop("remote")
            if kind == "geneve":
                del ends["local"]
            tunnel = kernel.net.add_link("t0", kind=kind, **options, **ends)  # type: ignore[arg-type]
            tunnel.add_address(f"10.9.0.{own}/24").up()
            assert tunnel.kind == kind
        before = left.net.link("t0").statistics.tx_packets
        ping(left, "10.9.0.2")
        assert left.net.link("t0").statistics.tx_packets > before

    def test_ipv6(self, boot: Boot) -> None:
        left, right = pair(boot)
        left.net.link("eth0").add_address("fd00::1/64")
        right.net.link("eth0").add_address("fd00::2/64")
        ping(left, "fd00::2")

    def test_bond(self, kernel: Kernel) -> None:
        bond = kernel.net.add_link("bond0", kind="bond", mode=1)
        port = kernel.net.add_link("d0", kind="dummy")
        port.master = bond
        assert isinstance(bond, Interface)
        assert port.master == "bond0"
