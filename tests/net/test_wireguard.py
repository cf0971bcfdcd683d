# SPDX-License-Identifier: GPL-2.0-only
"""WireGuard between two kernels."""

from __future__ import annotations

from pathlib import Path

import pytest

from rumpel import Kernel, Link, VirtualClock
from rumpel.net import WireGuard
from tests.net.tools import Boot, ping, unreachable

pytestmark = pytest.mark.kernel


def tunnel(kernel: Kernel, own: int) -> WireGuard:
    """An interface with an address of 10.9.0.0/24."""
    wg = kernel.net.add_link("wg0", kind="wireguard")
    assert isinstance(wg, WireGuard)
    wg.configure(listen_port=51820).add_address(f"10.9.0.{own}/24").up()
    return wg


def test_a_tunnel(boot: Boot, tmp_path: Path) -> None:
    a, b = Link()
    clock = VirtualClock()
    left, right = boot(nics=[a], clock=clock), boot(nics=[b], clock=clock)
    left.ifup("eth0", "10.0.0.1/24")
    right.ifup("eth0", "10.0.0.2/24")
    one, two = tunnel(left, 1), tunnel(right, 2)
    assert one.public_key is not None
    assert two.public_key is not None
    assert one.public_key != two.public_key
    one.add_peer(two.public_key, endpoint=("10.0.0.2", 51820), allowed_ips=["10.9.0.2/32"])
    two.add_peer(one.public_key, allowed_ips=["10.9.0.1/32"], keepalive=25)
    secret = b"nobody may read this"
    with (tmp_path / "x.pcap").open("wb") as file:
        a.capture(file)
        with right.socket.create_server(("10.9.0.2", 80)) as server:
            client = left.socket.create_connection(("10.9.0.2", 80), timeout=20)
            peer, where = server.accept()
            client.sendall(secret)
            assert peer.recv(100) == secret
            assert where[0] == "10.9.0.1"
            client.close()
            peer.close()
        a.capture(None)
    packets = (tmp_path / "x.pcap").read_bytes()
    assert len(packets) > 1000
    assert secret not in packets
    (known,) = one.peers
    assert known.public_key == two.public_key
    assert known.endpoint == ("10.0.0.2", 51820)
    assert [str(n) for n in known.allowed_ips] == ["10.9.0.2/32"]
    assert known.last_handshake is not None
    assert known.tx_bytes > len(secret)
    assert two.peers[0].endpoint == ("10.0.0.1", 51820)  # it was called by it
    assert two.peers[0].keepalive == 25
    two.remove_peer(one.public_key)
    assert two.peers == []
    assert unreachable(left, "10.9.0.2")


def test_only_allowed_addresses(boot: Boot) -> None:
    a, b = Link()
    clock = VirtualClock()
    left, right = boot(nics=[a], clock=clock), boot(nics=[b], clock=clock)
    left.ifup("eth0", "10.0.0.1/24")
    right.ifup("eth0", "10.0.0.2/24")
    one, two = tunnel(left, 1), tunnel(right, 2)
    assert one.public_key is not None
    assert two.public_key is not None
    one.add_peer(two.public_key, endpoint=("10.0.0.2", 51820), allowed_ips=["10.9.0.0/24"])
    two.add_peer(one.public_key, allowed_ips=["10.9.0.77/32"])
    assert unreachable(left, "10.9.0.2")
    two.add_peer(one.public_key, allowed_ips=["10.9.0.1/32"])
    ping(left, "10.9.0.2")


def test_keys(kernel: Kernel) -> None:
    """A known pair of keys (RFC 7748, section 6.1), and what is none."""
    wg = kernel.net.add_link("wg0", kind="wireguard")
    assert isinstance(wg, WireGuard)
    assert isinstance(kernel.net.link("wg0"), WireGuard)
    assert wg.public_key is None
    wg.configure(private_key="dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=", listen_port=7)
    assert wg.public_key == "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
    assert wg.listen_port == 7
    before = wg.public_key
    wg.configure(listen_port=8)
    assert (wg.public_key, wg.listen_port) == (before, 8)
    for bad in ("", "nonsense", "AAAA"):
        with pytest.raises(ValueError, match="32 bytes"):
            wg.add_peer(bad)
        with pytest.raises(ValueError, match="32 bytes"):
            wg.configure(private_key=bad)


def test_many_peers(kernel: Kernel) -> None:
    """More than one message holds."""
    wg = kernel.net.add_link("wg0", kind="wireguard")
    assert isinstance(wg, WireGuard)
    import base64

    keys = [base64.b64encode(bytes([n % 251, n // 251]) * 16).decode() for n in range(1, 120)]
    for number, key in enumerate(keys):
        wg.add_peer(key, allowed_ips=[f"10.{number}.{part}.0/24" for part in range(8)])
    found = wg.peers
    assert {p.public_key for p in found} == set(keys)
    assert all(len(p.allowed_ips) == 8 for p in found)
