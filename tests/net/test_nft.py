# SPDX-License-Identifier: GPL-2.0-only
"""nftables in its own language, and what it does to packets."""

from __future__ import annotations

import errno
import json
import shutil

import pytest

from rumpel import Kernel, Link, RumpelError, VirtualClock
from rumpel.net.relay import run
from tests.net.tools import Boot, pair, ping, unreachable

pytestmark = pytest.mark.kernel


def test_the_programs_are_there() -> None:
    """apt.txt has both: without, the tests below would fail for another reason."""
    assert shutil.which("nft")
    assert shutil.which("ip")


def test_masquerade(boot: Boot) -> None:
    """Who is called sees the router; conntrack of the router knows who it was."""
    (a, b), (c, d) = Link(), Link()
    clock = VirtualClock()
    inside, router, outside = (boot(nics=nics, clock=clock) for nics in ([a], [b, c], [d]))
    inside.ifup("eth0", "192.168.0.2/24", "192.168.0.1")
    router.ifup("eth0", "192.168.0.1/24")
    router.ifup("eth1", "10.0.0.1/24")
    outside.ifup("eth0", "10.0.0.2/24")
    router.sysctl["net.ipv4.ip_forward"] = 1
    assert unreachable(inside, "10.0.0.2")
    said = router.net.nft(
        """
        table ip nat {
            chain postrouting {
                type nat hook postrouting priority srcnat; policy accept;
                oifname "eth1" counter masquerade
            }
            chain prerouting {
                type nat hook prerouting priority dstnat;
                iifname "eth1" tcp dport 8080 dnat to 192.168.0.2:80
            }
        }
        """
    )
    assert said == ""
    with outside.socket.create_server(("10.0.0.2", 80)) as server:
        client = inside.socket.create_connection(("10.0.0.2", 80), timeout=20)
        peer, where = server.accept()
        assert where[0] == "10.0.0.1"
        with router.pyroute2.Conntrack() as conntrack:
            entries = list(conntrack.dump_entries())
        (entry,) = [e for e in entries if e.tuple_orig.dport == 80]
        assert (entry.tuple_orig.saddr, entry.tuple_reply.daddr) == ("192.168.0.2", "10.0.0.1")
        client.close()
        peer.close()
    with inside.socket.create_server(("", 80)) as server:
        client = outside.socket.create_connection(("10.0.0.1", 8080), timeout=20)
        peer, where = server.accept()
        assert where[0] == "10.0.0.2"
        client.close()
        peer.close()
    listing = router.net.nft("list ruleset")
    assert 'oifname "eth1" counter packets ' in listing
    assert "packets 0 " not in listing


def test_sets_counters_and_verdicts(boot: Boot) -> None:
    left, right = pair(boot, clock=VirtualClock())
    right.net.nft(
        """
        table inet filter {
            set friends { type ipv4_addr; }
            chain input {
                type filter hook input priority filter; policy drop;
                ip saddr @friends counter accept
                iif lo accept
            }
        }
        """
    )
    assert unreachable(left, "10.0.0.2")
    right.net.nft("add element inet filter friends { 10.0.0.1 }")
    ping(left, "10.0.0.2")
    rules = json.loads(right.net.nft("list chain inet filter input", json=True))["nftables"]
    counters = [
        part["counter"]["packets"]
        for rule in rules
        for part in rule.get("rule", {}).get("expr", [])
        if "counter" in part
    ]
    assert counters == [1]
    right.net.nft("delete element inet filter friends { 10.0.0.1 }")
    assert unreachable(left, "10.0.0.2")
    right.net.nft("flush ruleset")
    ping(left, "10.0.0.2")


def test_a_call_is_a_transaction(kernel: Kernel) -> None:
    with pytest.raises(OSError, match="No such file or directory") as caught:
        kernel.net.nft("add table ip one\nadd rule ip two three accept")
    assert caught.value.errno == errno.ENOENT
    assert kernel.net.nft("list tables") == ""
    kernel.net.nft("add table ip one")
    with pytest.raises(FileExistsError):
        kernel.net.nft("create table ip one")
    assert kernel.net.nft("list tables") == "table ip one\n"


def test_what_nft_does_not_understand(kernel: Kernel) -> None:
    with pytest.raises(ValueError, match="syntax error"):
        kernel.net.nft("add nonsense")


def test_much(kernel: Kernel) -> None:
    """A large transaction, and a listing in many messages."""
    rules = "\n".join(
        f'    ip saddr 10.{n >> 8}.{n & 255}.0/24 counter accept comment "rule number {n}"'
        for n in range(2000)
    )
    kernel.net.nft(f"table ip filter {{\n  chain input {{\n{rules}\n  }}\n}}")
    listing = kernel.net.nft("list ruleset")
    assert [f"rule number {n}" in listing for n in range(2000)] == [True] * 2000
    elements = ", ".join(f"10.{n >> 8}.{n & 255}.7" for n in range(5000))
    kernel.net.nft(f"table ip big {{ set s {{ type ipv4_addr; elements = {{ {elements} }}; }}; }}")
    found = json.loads(kernel.net.nft("list set ip big s", json=True))["nftables"][1]["set"]
    assert len(found["elem"]) == 5000


def test_many_mistakes_at_once(kernel: Kernel) -> None:
    """All of them are in the message, and the next call is not confused."""
    kernel.net.nft("table ip t { chain c { }; }")
    commands = "\n".join(f"delete rule ip t c handle {n}" for n in range(100, 200))
    with pytest.raises(OSError, match="No such file or directory") as caught:
        kernel.net.nft(commands)
    assert str(caught.value).count("Could not process rule") == 100
    assert "table ip t" in kernel.net.nft("list ruleset")


def test_kernels_and_namespaces_have_their_own(boot: Boot) -> None:
    one, two = boot(), boot()
    blue = one.net.add_namespace("blue")
    one.net.nft("add table ip initial")
    with blue:
        one.net.nft("add table ip inside")
        assert one.net.nft("list tables") == "table ip inside\n"
    assert one.net.nft("list tables") == "table ip initial\n"
    assert two.net.nft("list tables") == ""


def test_the_program_is_missing(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(RumpelError, match="apt-get install nftables"):
        kernel.net.nft("list ruleset")


def test_other_programs(kernel: Kernel) -> None:
    """What only asks over netlink works too, such as ip of iproute2."""
    kernel.net.add_link("d0", kind="dummy", mtu=1234)
    done = run(kernel, ["ip", "-j", "link", "show"])
    assert {link["ifname"]: link["mtu"] for link in json.loads(done.stdout)}["d0"] == 1234
    assert run(kernel, ["ip", "link", "add", "d1", "type", "dummy"]).returncode == 0
    assert "d1" in kernel.net.links
    failed = run(kernel, ["ip", "link", "add", "d1", "type", "dummy"])
    assert failed.returncode == 2
    assert "File exists" in failed.stderr


def test_a_program_that_ends_early(kernel: Kernel) -> None:
    """It goes away in the middle of an answer; nothing hangs, nothing is left open."""
    for number in range(150):
        kernel.net.add_link(f"d{number}", kind="dummy")
    before = len(kernel.os.listdir("/proc/self/fd"))
    done = run(kernel, ["sh", "-c", "ip link show | head -1"])
    assert done.stdout.startswith("1: lo")
    assert run(kernel, ["false"]).returncode == 1
    assert len(kernel.os.listdir("/proc/self/fd")) == before
