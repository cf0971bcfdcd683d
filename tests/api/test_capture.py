# SPDX-License-Identifier: GPL-2.0-only
"""Captures, read by programs that others wrote: tcpdump and dpkt."""

from __future__ import annotations

import socket as host
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dpkt
import pytest

from rumpel import Kernel, Link, VirtualClock

pytestmark = pytest.mark.kernel

Boot = Callable[..., Kernel]

READERS = {"pcap": dpkt.pcap.Reader, "pcapng": dpkt.pcapng.Reader}


def pair(boot: Boot, **options: Any) -> tuple[Kernel, Link]:
    """A kernel that can send to 10.0.0.2, which is another."""
    cable = Link()
    left, right = (boot(nics=[end], **options) for end in cable)
    left.ifup("eth0", "10.0.0.1/24")
    right.ifup("eth0", "10.0.0.2/24")
    # They know each other's addresses from now on.
    with right.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
        sock.bind(("10.0.0.2", 7))
        send(left, [1])
        assert sock.recv(10)
    return left, cable


def send(kernel: Kernel, sizes: list[int]) -> None:
    with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
        for size in sizes:
            sock.sendto(bytes(size), ("10.0.0.2", 7))


@pytest.mark.parametrize("format", ["pcap", "pcapng"])
def test_dpkt_reads_it(boot: Boot, tmp_path: Path, format: Any) -> None:
    """Frames of all lengths, with their times on the kernel's clock, here a virtual one."""
    clock = VirtualClock(start=1_000_000_000.0)
    kernel, cable = pair(boot, clock=clock)
    sizes = [0, 1, 2, 3, 4, 1000, 1472]
    with open(tmp_path / "trace", "w+b") as file:
        cable[0].capture(file, format, "left")
        send(kernel, sizes)
        cable[0].capture(None)
        file.seek(0)
        packets = [(time, dpkt.ethernet.Ethernet(frame)) for time, frame in READERS[format](file)]
    datagrams = [(t, p.data.data) for t, p in packets if isinstance(p.data.data, dpkt.udp.UDP)]
    assert [len(udp.data) for _, udp in datagrams] == sizes
    assert all(abs(float(time) - clock.now) < 1 for time, _ in datagrams)


def test_pcapng_names_the_interface(boot: Boot, tmp_path: Path) -> None:
    """With its address and the resolution of times; tcpdump agrees that it is pcapng."""
    kernel, cable = pair(boot)
    path = tmp_path / "trace"
    with path.open("w+b") as file:
        cable[0].capture(file, "pcapng", "left")
        send(kernel, [10])
        cable[0].capture(None)
        file.seek(0)
        reader = dpkt.pcapng.Reader(file)
        options = {option.code: option.data for option in reader.idb.opts}
    with kernel.open("/sys/class/net/eth0/address") as file:
        mac = bytes.fromhex(file.read().strip().replace(":", ""))
    assert options[2] == b"left"
    assert options[6] == mac
    assert options[9] == b"\x09"
    said = subprocess.run(
        ["tcpdump", "-nr", str(path), "udp"], capture_output=True, text=True, check=True
    )
    assert "10.0.0.2.7: UDP, length 10" in said.stdout


@pytest.mark.parametrize("format", ["pcap", "pcapng"])
def test_a_path_will_do(boot: Boot, tmp_path: Path, format: str) -> None:
    """It says the format, too; what was there before is not."""
    kernel, cable = pair(boot)
    path = tmp_path / f"trace.{format}"
    path.write_bytes(b"x" * 10_000)
    cable[0].capture(path)
    send(kernel, [10])
    cable[0].capture(None)
    with path.open("rb") as file:
        packets = [dpkt.ethernet.Ethernet(frame) for _, frame in READERS[format](file)]
    (udp,) = [p.data.data for p in packets if isinstance(p.data.data, dpkt.udp.UDP)]
    assert len(udp.data) == 10
    with pytest.raises(FileNotFoundError):
        cable[0].capture(tmp_path / "nowhere" / "trace")
    with pytest.raises(ValueError, match="not a capture format"):
        cable[0].capture(tmp_path / "new", "text")  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("format", ["pcap", "pcapng"])
def test_live_into_tcpdump(boot: Boot, format: Any) -> None:
    """Through a pipe: each frame is seen at once."""
    kernel, cable = pair(boot)
    command = ["tcpdump", "-lnr", "-", "udp"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as tcpdump:
        assert tcpdump.stdin is not None
        assert tcpdump.stdout is not None
        cable[0].capture(tcpdump.stdin.fileno(), format)
        tcpdump.stdin.close()
        for size in (10, 20, 30):
            send(kernel, [size])
            assert f"length {size}" in tcpdump.stdout.readline()
        cable[0].capture(None)
        assert tcpdump.wait(10) == 0


def test_mistakes(boot: Boot, tmp_path: Path) -> None:
    _, cable = pair(boot)
    with open(tmp_path / "x", "wb") as file:
        with pytest.raises(ValueError, match="not a capture format: 'text'"):
            cable[0].capture(file, "text")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="null character"):
            cable[0].capture(file, "pcapng", "a\0b")
        cable[0].capture(file, "pcapng", "x" * 1000)
        cable[0].capture(None)
    with open(tmp_path / "x", "rb") as read_only, pytest.raises(OSError, match="descriptor"):
        cable[0].capture(read_only)


def test_a_full_disk(boot: Boot) -> None:
    """It is told when all should be written, once."""
    _, cable = pair(boot)
    cable[0].capture("/dev/full", "pcap")
    with pytest.raises(OSError, match="No space left on device"):
        cable[0].capture(None)
    cable[0].capture(None)
