# SPDX-License-Identifier: GPL-2.0-only
"""Network namespaces in a kernel."""

from __future__ import annotations

import errno
import threading

import pytest

from rumpel import Kernel, Link, VirtualClock
from rumpel.net import Namespace
from tests.net.tools import Boot, ping, unreachable

pytestmark = pytest.mark.kernel


def test_they_are_kept_by_name(kernel: Kernel) -> None:
    assert list(kernel.net.namespaces) == []
    blue = kernel.net.add_namespace("blue")
    kernel.net.add_namespace("red")
    assert [n.name for n in kernel.net.namespaces] == ["blue", "red"]
    assert sorted(kernel.os.listdir("/run/netns")) == ["blue", "red"]
    assert repr(blue) == "<Namespace blue>"
    blue.delete()
    assert [n.name for n in kernel.net.namespaces] == ["red"]
    with pytest.raises(FileNotFoundError), blue:
        pass
    with pytest.raises(FileExistsError):
        kernel.net.add_namespace("red")
    for bad in ("", ".", "..", "a/b"):
        with pytest.raises(ValueError, match="not a name"):
            kernel.net.namespace(bad)


def test_what_a_thread_does_in_it(kernel: Kernel) -> None:
    kernel.net.add_link("outside", kind="dummy")
    with kernel.net.add_namespace("blue") as blue:
        assert isinstance(blue, Namespace)
        assert "outside" not in kernel.net.links
        assert kernel.net.link("lo").is_up
        kernel.net.add_link("inside", kind="dummy")
        server = kernel.socket.create_server(("127.0.0.1", 80))
        assert ("127.0.0.1", 80) in [s.local for s in kernel.net.sockets()]
    assert "outside" in kernel.net.links
    assert "inside" not in kernel.net.links
    assert ("127.0.0.1", 80) not in [s.local for s in kernel.net.sockets()]
    with pytest.raises(ConnectionRefusedError):
        kernel.socket.create_connection(("127.0.0.1", 80))
    with kernel.net.namespace("blue"):
        client = kernel.socket.create_connection(("127.0.0.1", 80))
    # Sockets stay where they were made.
    peer, _ = server.accept()
    client.sendall(b"hello")
    assert peer.recv(10) == b"hello"
    for sock in (client, peer, server):
        sock.close()


def test_nested_and_again(kernel: Kernel) -> None:
    blue, red = kernel.net.add_namespace("blue"), kernel.net.add_namespace("red")
    with blue:
        kernel.net.add_link("b", kind="dummy")
        with red:
            assert "b" not in kernel.net.links
            with blue:
                assert "b" in kernel.net.links
            assert "b" not in kernel.net.links
        assert "b" in kernel.net.links
    assert "b" not in kernel.net.links


def test_an_exception_leaves_it(kernel: Kernel) -> None:
    blue = kernel.net.add_namespace("blue")
    with pytest.raises(ZeroDivisionError), blue:
        kernel.net.add_link("b", kind="dummy")
        raise ZeroDivisionError
    assert "b" not in kernel.net.links
    assert len(kernel.os.listdir("/proc/self/fd")) < 10


def test_threads_are_in_different_ones(kernel: Kernel) -> None:
    rooms = [kernel.net.add_namespace(f"n{number}") for number in range(4)]
    barrier = threading.Barrier(4)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with rooms[number]:
                barrier.wait(60)
                kernel.net.add_link(f"d{number}", kind="dummy").add_address("10.0.0.1/24").up()
                barrier.wait(60)
                names = [n for n in kernel.net.links if n.startswith("d")]
                assert names == [f"d{number}"]
                with kernel.socket.create_server(("10.0.0.1", 80)):
                    barrier.wait(60)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert failures == []
    assert not [n for n in kernel.net.links if n.startswith("d")]


def test_an_interface_is_moved(boot: Boot) -> None:
    a, b = Link()
    clock = VirtualClock()
    left, right = boot(nics=[a], clock=clock), boot(nics=[b], clock=clock)
    right.ifup("eth0", "10.0.0.2/24")
    blue = left.net.add_namespace("blue")
    left.net.link("eth0").move_to(blue)
    assert "eth0" not in left.net.links
    with blue:
        left.net.link("eth0").add_address("10.0.0.1/24").up()
        ping(left, "10.0.0.2")
    assert unreachable(left, "10.0.0.2")


def test_a_veth_across(kernel: Kernel) -> None:
    blue = kernel.net.add_namespace("blue")
    end = kernel.net.add_link("v0", kind="veth", peer="v0", peer_namespace=blue)
    end.add_address("10.0.0.1/24").up()
    with blue:
        kernel.net.link("v0").add_address("10.0.0.2/24").up()
        ping(kernel, "10.0.0.1")
    ping(kernel, "10.0.0.2")


def test_pyroute2_in_it(kernel: Kernel) -> None:
    """By its own argument, and by being made within."""
    with kernel.net.add_namespace("blue") as blue:
        kernel.net.add_link("inside", kind="dummy")
        within = kernel.iproute()
    with within, kernel.iproute(netns="blue") as by_name:
        assert within.link_lookup(ifname="inside")
        assert by_name.link_lookup(ifname="inside")
    with kernel.iproute() as outside:
        assert not outside.link_lookup(ifname="inside")
    blue.delete()
    with pytest.raises(OSError, match="blue") as caught:
        kernel.iproute(netns="blue")
    assert caught.value.errno == errno.ENOENT
