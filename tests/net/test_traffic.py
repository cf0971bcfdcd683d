# SPDX-License-Identifier: GPL-2.0-only
"""Queueing disciplines, by when packets arrive on a virtual clock."""

from __future__ import annotations

import errno
import socket as host
from typing import Any

import pytest

from rumpel import Kernel
from rumpel.net.disciplines import KINDS, discipline_options, handle
from tests.net.tools import Boot, ping, transfer, virtual_pair

kernel_test = pytest.mark.kernel


@kernel_test
class TestNetem:
    """A network that is not perfect."""

    def test_a_delay_is_exact(self, boot: Boot) -> None:
        left, _, _ = virtual_pair(boot)
        ping(left, "10.0.0.2")
        base = ping(left, "10.0.0.2")
        left.net.qdisc.replace("eth0", "netem", delay=0.05)
        assert ping(left, "10.0.0.2") - base == pytest.approx(0.05, abs=1e-6)
        left.net.qdisc.replace("eth0", "netem", delay=0.123456789)
        assert ping(left, "10.0.0.2") - base == pytest.approx(0.123456789, abs=1e-6)
        left.net.qdisc.replace("eth0", "netem", delay=600)
        assert ping(left, "10.0.0.2", timeout=1000) - base == pytest.approx(600, abs=1e-6)
        left.net.qdisc.remove("eth0")
        assert ping(left, "10.0.0.2") == pytest.approx(base, abs=1e-6)

    def test_delays_add_up(self, boot: Boot) -> None:
        left, right, _ = virtual_pair(boot, delay=0.01)
        ping(left, "10.0.0.2")
        left.net.qdisc.replace("eth0", "netem", delay=0.1)
        right.net.qdisc.replace("eth0", "netem", delay=0.2)
        assert ping(left, "10.0.0.2") == pytest.approx(0.32, abs=1e-4)

    def test_loss(self, boot: Boot) -> None:
        """As many are lost as was asked for, and the same each time."""
        results = []
        for _ in range(2):
            left, right, _ = virtual_pair(boot)
            left.net.qdisc.replace("eth0", "netem", loss=0.2, seed=7)
            with (
                right.socket.socket(host.AF_INET, host.SOCK_DGRAM) as server,
                left.socket.socket(host.AF_INET, host.SOCK_DGRAM) as client,
            ):
                server.bind(("", 9))
                server.setblocking(False)
                got = 0
                for number in range(1000):
                    client.sendto(number.to_bytes(4, "big"), ("10.0.0.2", 9))
                    left.sleep(0.001)
                    try:
                        server.recv(100)
                        got += 1
                    except BlockingIOError:
                        pass
            (found,) = [q for q in left.net.qdisc if q.dev == "eth0"]
            # A few frames of IPv6 are lost too.
            assert 0 <= found.drops - (1000 - got) < 10
            results.append(got)
        assert 740 < results[0] < 860
        assert results[0] == results[1]

    def test_duplicates_and_a_limit(self, boot: Boot) -> None:
        left, right, clock = virtual_pair(boot)
        left.net.qdisc.replace("eth0", "netem", duplicate=1)
        with (
            right.socket.socket(host.AF_INET, host.SOCK_DGRAM) as server,
            left.socket.socket(host.AF_INET, host.SOCK_DGRAM) as client,
        ):
            server.bind(("", 9))
            server.setblocking(False)
            client.sendto(b"twice", ("10.0.0.2", 9))
            clock.advance(1)
            assert [server.recv(10), server.recv(10)] == [b"twice", b"twice"]
            left.net.qdisc.replace("eth0", "netem", delay=0.01, limit=10)
            for _ in range(50):
                client.sendto(b"x", ("10.0.0.2", 9))
            clock.advance(1)
            got = 0
            with pytest.raises(BlockingIOError):
                while server.recv(10):
                    got += 1
        assert got == 10


@kernel_test
class TestRates:
    """What is shaped takes as long as it should."""

    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("tbf", {"rate_bps": 8_000_000, "burst": 10_000, "latency": 1}),
            ("netem", {"rate_bps": 8_000_000}),
            ("cake", {"bandwidth_bps": 8_000_000}),
        ],
    )
    def test_a_megabyte_a_second(self, boot: Boot, kind: str, options: dict[str, Any]) -> None:
        left, right, _ = virtual_pair(boot)
        left.net.qdisc.replace("eth0", kind, **options)
        took = transfer(left, right, "10.0.0.2", 2_000_000)
        # Headers are part of the rate, and the burst is free.
        assert 1.95 < took < 2.3
        (found,) = [q for q in left.net.qdisc if q.dev == "eth0"]
        assert found.kind == kind
        assert found.parent == "root"
        assert found.bytes > 2_000_000

    def test_classes(self, boot: Boot) -> None:
        """By port: one may have a tenth of the other."""
        left, right, _ = virtual_pair(boot)
        qdisc = left.net.qdisc
        qdisc.replace("eth0", "htb", handle="1:", default="1:20")
        qdisc.add_class("eth0", "htb", "1:1", parent="1:", rate_bps=8_800_000)
        qdisc.add_class(
            "eth0", "htb", "1:10", parent="1:1", rate_bps=800_000, ceil_bps=800_000, burst=3000
        )
        qdisc.add_class("eth0", "htb", "1:20", parent="1:1", rate_bps=8_000_000, burst=3000)
        qdisc.add("eth0", "fq_codel", parent="1:10", target=0.02)
        qdisc.add_filter(
            "eth0", "1:10", parent="1:", protocol="tcp", destination_port=7001, source="10.0.0.1"
        )
        assert 1.9 < transfer(left, right, "10.0.0.2", 2_000_000, port=7000) < 2.3
        assert 1.9 < transfer(left, right, "10.0.0.2", 200_000, port=7001) < 2.5
        classes = {c.handle: c for c in qdisc.classes("eth0")}
        # The flows of fq_codel are classes of its own.
        assert {c for c in classes if c.startswith("1:")} == {"1:1", "1:10", "1:20"}
        assert classes["1:10"].parent == "1:1"
        assert 200_000 < classes["1:10"].bytes < 300_000
        assert classes["1:20"].bytes > 2_000_000
        qdisc.remove_filters("eth0", parent="1:")
        assert transfer(left, right, "10.0.0.2", 200_000, port=7001) < 0.5
        qdisc.remove_class("eth0", "1:10")
        assert "1:10" not in {c.handle for c in qdisc.classes("eth0")}


@kernel_test
class TestChanges:
    """Disciplines come and go."""

    def test_every_kind(self, kernel: Kernel) -> None:
        options: dict[str, dict[str, Any]] = {
            "tbf": {"rate_bps": 1e6, "burst": 3000, "limit": 30000, "peak_bps": 2e6},
            "netem": {
                "delay": 0.1,
                "jitter": 0.01,
                "delay_correlation": 0.3,
                "reorder": 0.1,
                "corrupt": 0.1,
                "corrupt_correlation": 0.5,
                "ecn": True,
                "rate_bps": 40e9,
            },
            "pfifo": {"limit": 7},
            "bfifo": {"limit": 7000},
            "sfq": {"quantum": 3000},
            "prio": {"bands": 4},
            "codel": {"target": 0.01, "interval": 0.2, "ecn": True},
            "fq_codel": {"flows": 64, "memory_limit": 1 << 20, "quantum": 300},
            "fq": {"maxrate_bps": 1e6, "flow_limit": 50},
            "cake": {"rtt": 0.01, "bandwidth_bps": 1e9, "nat": True, "overhead": -4},
            "htb": {"default": 7, "direct_qlen": 100},
        }
        kernel.net.add_link("d0", kind="dummy").up()
        for kind in KINDS:
            if kind in ("mq", "noqueue"):
                continue  # of devices with several queues, and for those that have none
            parent = "ingress" if kind in ("ingress", "clsact") else "root"
            kernel.net.qdisc.add("d0", kind, **options.get(kind, {}))
            assert [(q.kind, q.parent) for q in kernel.net.qdisc if q.dev == "d0"] == [
                (kind, parent)
            ] or kind in ("ingress", "clsact")
            assert kind in [q.kind for q in kernel.net.qdisc]
            kernel.net.qdisc.remove("d0", parent=parent)
        assert kernel.net.qdisc.classes("d0") == []

    def test_refused_by_the_kernel(self, kernel: Kernel) -> None:
        qdisc = kernel.net.qdisc
        kernel.net.add_link("d0", kind="dummy").up()
        qdisc.add("d0", "pfifo", limit=10)
        with pytest.raises(FileExistsError, match="Exclusivity flag on"):
            qdisc.add("d0", "pfifo", limit=10)
        qdisc.remove("d0")
        with pytest.raises(OSError, match="d0") as caught:
            qdisc.remove("d0")
        assert caught.value.errno in (errno.ENOENT, errno.EINVAL)
        with pytest.raises(OSError, match="eth9") as caught:
            qdisc.add("eth9", "pfifo")
        assert caught.value.errno == errno.ENODEV
        with pytest.raises(OSError, match="Failed to find specified qdisc"):
            qdisc.add("d0", "pfifo", parent="7:1")


class TestOptions:
    """What is refused before the kernel is asked."""

    @pytest.mark.parametrize(
        ("kind", "options", "message"),
        [
            ("netem", {"loss": 1.5}, "loss is a fraction between 0 and 1, not 1.5"),
            ("netem", {"delay": -1}, "delay cannot be negative"),
            ("netem", {"reorder": 0.5}, "reordering needs a delay"),
            ("netem", {"rate_bps": 1}, "at least 8"),
            ("prio", {"priomap": (1,)}, "16 bands"),
            ("hfsc", {}, "not known here"),
        ],
    )
    def test_values(self, kind: str, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            discipline_options(kind, options)

    @pytest.mark.parametrize(
        ("kind", "options", "message"),
        [
            ("netem", {"dealy": 1}, "netem has no option 'dealy', but delay, jitter"),
            ("netem", {"delay": "10ms"}, "delay is a number of seconds, not '10ms'"),
            ("netem", {"loss": "1%"}, "loss is a number between 0 and 1, not '1%'"),
            ("tbf", {"burst": 1000}, "tbf needs rate_bps"),
            ("fq_codel", {"nonsense": 1}, "fq_codel has no option 'nonsense', but target"),
            ("ingress", {"limit": 1}, "has no options"),
            ("tbf", {"rate_bps": 1e6, "burst": 1}, "either latency"),
        ],
    )
    def test_names(self, kind: str, options: dict[str, Any], message: str) -> None:
        with pytest.raises(TypeError, match=message):
            discipline_options(kind, options)

    def test_handles(self) -> None:
        assert handle("1:") == 0x10000
        assert handle("1:1f") == 0x1001F
        assert handle(":2") == 2
        for bad in ("1", "x:y", "", "10000:10000"):
            with pytest.raises(ValueError, match="not a handle"):
                handle(bad)
