# SPDX-License-Identifier: GPL-2.0-only
"""Sockets as data, and what TCP says about itself."""

from __future__ import annotations

import socket as host

import pytest

from rumpel import Kernel, Link
from rumpel.net import IPPROTO_MPTCP, Limits, TcpInfo
from rumpel.socket import Socket
from tests.net.tools import Boot, virtual_pair

kernel_test = pytest.mark.kernel


def is_readable(kernel: Kernel, sock: Socket) -> None:
    """What has been sent may still be on its way, as long as the host is busy with others."""
    assert kernel.select.select([sock], [], [], 60)[0]


@kernel_test
class TestTcpInfo:
    """struct tcp_info, by the socket and by sock_diag."""

    def test_the_round_trip_time(self, boot: Boot) -> None:
        """Exactly what netem makes it, in virtual time."""
        left, right, clock = virtual_pair(boot)
        left.net.qdisc.replace("eth0", "netem", delay=0.04)
        with right.socket.create_server(("10.0.0.2", 80)) as server:
            client = left.socket.create_connection(("10.0.0.2", 80))
            peer, _ = server.accept()
        for _ in range(20):
            client.sendall(b"x" * 100)
            peer.recv(100)
            clock.advance(0.2)
        info = TcpInfo.of(client)
        assert info.state == "established"
        assert info.ca_state == "open"
        assert info.rtt == pytest.approx(0.04, abs=0.002)
        assert info.min_rtt == pytest.approx(0.04, abs=0.002)
        assert info.rto >= 0.2
        assert info.bytes_sent == 2000
        assert info.bytes_acked >= 2000
        assert info.bytes_retrans == info.total_retrans == info.lost == info.unacked == 0
        assert info.data_segs_out == 20
        assert info.snd_cwnd >= 10
        assert info.snd_mss == 1448
        assert info.options >= {"timestamps", "sack", "wscale"}
        assert info.last_data_sent == pytest.approx(0.2, abs=0.05)
        assert info.rcv_wscale > 0
        assert TcpInfo.of(peer).bytes_received == 2000
        assert TcpInfo.of(peer).snd_wscale == info.rcv_wscale
        client.close()
        peer.close()

    def test_losses_are_counted(self, boot: Boot) -> None:
        left, right, _ = virtual_pair(boot, delay=0.005)
        left.net.qdisc.replace("eth0", "netem", loss=0.1, seed=3)
        with right.socket.create_server(("10.0.0.2", 80)) as server:
            client = left.socket.create_connection(("10.0.0.2", 80))
            peer, _ = server.accept()
        received = 0
        client.setblocking(False)
        sent = client.send(bytes(200_000))
        while received < sent:
            received += len(peer.recv(1 << 20))
        info = TcpInfo.of(client)
        assert info.total_retrans > 0
        assert info.bytes_retrans >= info.total_retrans * 100
        client.close()
        peer.close()

    def test_the_host_has_it_too(self) -> None:
        with host.create_server(("127.0.0.1", 0)) as server:
            with host.create_connection(server.getsockname()) as client:
                assert TcpInfo.of(client).state == "established"
            assert TcpInfo.of(server).state == "listen"

    def test_no_tcp(self, kernel: Kernel) -> None:
        with (
            kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock,
            pytest.raises(OSError, match=r"not supported|not available"),
        ):
            TcpInfo.of(sock)


@kernel_test
class TestSockets:
    """What ss shows."""

    def test_tcp(self, kernel: Kernel) -> None:
        with kernel.socket.create_server(("127.0.0.1", 80), backlog=5) as server:
            client = kernel.socket.socket()
            client.setsockopt(host.IPPROTO_TCP, host.TCP_CONGESTION, b"bbr")
            client.setsockopt(host.SOL_SOCKET, host.SO_MARK, 7)
            client.connect(("127.0.0.1", 80))
            is_readable(kernel, server)
            found = {(s.state, s.local[1] == 80): s for s in kernel.net.sockets()}
            listener = found["listen", True]
            assert listener.local == ("127.0.0.1", 80)
            assert (listener.recv_queue, listener.send_queue) == (1, 5)
            peer, _ = server.accept()
            client.sendall(b"hello")
            is_readable(kernel, peer)
            while TcpInfo.of(client).unacked:
                kernel.sleep(0.001)
            found = {(s.state, s.local[1] == 80): s for s in kernel.net.sockets()}
            own, other = found["established", False], found["established", True]
            assert own.remote == ("127.0.0.1", 80)
            assert own.local == client.getsockname()
            assert own.congestion == "bbr"
            assert other.congestion == "cubic"
            assert own.mark == 7
            assert other.recv_queue == 5
            assert own.tcp is not None
            assert own.tcp.bytes_acked >= 5
            assert own.tcp.snd_cwnd >= 10
            assert own.inode == kernel.os.fstat(client.fileno()).st_ino
            client.close()
            peer.close()

    def test_udp_and_ipv6(self, kernel: Kernel) -> None:
        with kernel.socket.socket(host.AF_INET6, host.SOCK_DGRAM) as sock:
            sock.setsockopt(host.SOL_SOCKET, host.SO_BINDTODEVICE, b"lo")
            sock.bind(("::1", 53))
            (found,) = kernel.net.sockets("udp")
        assert (found.protocol, found.local, found.dev) == ("udp", ("::1", 53), "lo")
        assert found.tcp is None
        assert kernel.net.sockets("sctp") == []
        with pytest.raises(ValueError, match="no protocol 'nonsense', but tcp"):
            kernel.net.sockets("nonsense")

    def test_mptcp(self, kernel: Kernel) -> None:
        with kernel.socket.socket(host.AF_INET, host.SOCK_STREAM, IPPROTO_MPTCP) as server:
            server.bind(("127.0.0.1", 80))
            server.listen()
            (found,) = [s for s in kernel.net.sockets("mptcp") if s.local[1] == 80]
            assert found.state == "listen"


@kernel_test
class TestMptcp:
    """Endpoints and limits."""

    def test_endpoints(self, kernel: Kernel) -> None:
        mptcp = kernel.net.mptcp
        assert list(mptcp) == []
        kernel.net.add_link("d0", kind="dummy").add_address("10.0.0.1/24").up()
        mptcp.add("10.0.0.1", signal=True)
        mptcp.add("fd00::1", subflow=True, backup=True, dev="d0", id=9)
        found = {e.id: e for e in mptcp}
        assert str(found[9].address) == "fd00::1"
        assert found[9].flags == {"subflow", "backup"}
        (other,) = found.keys() - {9}
        assert (str(found[other].address), set(found[other].flags)) == ("10.0.0.1", {"signal"})
        with pytest.raises(FileExistsError):
            mptcp.add("10.0.0.1", signal=True)
        mptcp.remove(9)
        assert [e.id for e in mptcp] == [other]
        with pytest.raises(OSError, match="MPTCP endpoint 9"):
            mptcp.remove(9)

    def test_limits(self, kernel: Kernel) -> None:
        kernel.net.mptcp.limits = 3, 4
        assert kernel.net.mptcp.limits == Limits(subflows=3, add_addr_accepted=4)
        with pytest.raises(OSError, match="MPTCP limits"):
            kernel.net.mptcp.limits = 99, 1

    def test_mistakes(self, kernel: Kernel) -> None:
        with pytest.raises(ValueError, match="not an address"):
            kernel.net.mptcp.add("nonsense")


@kernel_test
def test_router_advertisements(boot: Boot) -> None:
    """A kernel takes its address and its default route from what a router announces."""
    a, b = Link()
    router, guest = boot(nics=[a]), boot(nics=[b])
    router.sysctl["net.ipv6.conf.all.forwarding"] = 1
    router.net.link("eth0").up().add_address("fd00::1/64")
    guest.net.link("eth0").up()
    source = str(next(x.ip for x in router.net.link("eth0").addresses if x.ip.is_link_local))
    while router.net.link("eth0").is_tentative(f"{source}/64"):
        router.sleep(0.05)
    prefix = bytes([3, 4, 64, 0xC0]) + (7200).to_bytes(4, "big") * 2 + bytes(4)
    prefix += host.inet_pton(host.AF_INET6, "fd00::")
    advertisement = bytes([134, 0, 0, 0, 64, 0, 0x07, 0x08]) + bytes(8) + prefix
    with router.socket.socket(host.AF_INET6, host.SOCK_RAW, host.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(host.IPPROTO_IPV6, host.IPV6_MULTICAST_HOPS, 255)
        scope = router.socket.if_nametoindex("eth0")
        for _ in range(600):
            sock.sendto(advertisement, ("ff02::1", 0, 0, scope))
            guest.sleep(0.1)
            if any(str(r.destination) == "::/0" for r in guest.net.routes):
                break
    (default,) = [r for r in guest.net.routes if str(r.destination) == "::/0"]
    assert (str(default.via), default.dev) == (source, "eth0")
    assert any(str(x).startswith("fd00:") for x in guest.net.link("eth0").addresses)


class TestParser:
    """What is not as long as it should be."""

    @pytest.mark.parametrize("size", [0, 1, 8, 104, 232, 248, 1000])
    def test_any_size(self, size: int) -> None:
        info = TcpInfo.from_bytes(bytes([1] * size))
        assert info.state == ("established" if size else "unknown")

    def test_states_to_come(self) -> None:
        assert TcpInfo.from_bytes(bytes([99, 99])).state == "99"
