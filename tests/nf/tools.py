# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of chains share: the command, and packets."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rumpel.packets import Packet, PacketWriter

WRONG_SUM = "(tcp.checksum.status == Bad && tcp.checksum != 0xffff)"
"""For tshark. Linux writes a sum of 0 as 0xffff, of TCP as of UDP (skb_checksum_help() in
net/core/dev.c), which is as good to any receiver, and which tshark points out."""
RUMPEL = f"{shlex.quote(sys.executable)} -c 'from rumpel.cli import main; main()'"


def nf(image: str, words: str) -> str:
    """A stage's command line, for a shell."""
    stage, _, rest = words.partition(" ")
    return f"{RUMPEL} nf {stage} --image {shlex.quote(image)} {rest}"


def shell(script: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a shell's pipeline; its exit code is the first that is not 0."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        **options,
    )


@contextlib.contextmanager
def behind(script: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a shell beside others. What has not ended by then is killed."""
    with subprocess.Popen(["bash", "-c", script], start_new_session=True) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def chain(image: str, text: str, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run ``rumpel nf chain``."""
    words = [sys.executable, "-c", "from rumpel.cli import main; main()", "nf", "chain"]
    return subprocess.run(
        [*words, *options, "--image", image, text],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        **more,
    )


def install(directory: Path, code: str, *entries: str) -> dict[str, str]:
    """Make a package ``my_package`` with stages; the environment of commands that see it."""
    (directory / "my_package.py").write_text(code)
    info = directory / "my_package-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1\n")
    (info / "entry_points.txt").write_text("\n".join(["[rumpel.nf]", *entries, ""]))
    return {**os.environ, "PYTHONPATH": str(directory)}


def echo_request(
    destination: str, sequence: int, source: str = "10.0.0.1", size: int = 32
) -> bytes:
    """An Ethernet frame with a ping, to any station of a wire with one direction."""
    import dpkt

    echo = dpkt.icmp.ICMP.Echo(id=7, seq=sequence, data=b"x" * size)
    ip = dpkt.ip.IP(
        src=bytes(map(int, source.split("."))),
        dst=bytes(map(int, destination.split("."))),
        p=dpkt.ip.IP_PROTO_ICMP,
        data=dpkt.icmp.ICMP(type=dpkt.icmp.ICMP_ECHO, data=echo),
    )
    mac = bytes.fromhex("026e66000001")
    return bytes(dpkt.ethernet.Ethernet(src=mac, dst=mac, data=ip))


def line(frame: bytes, time: str = "1.0") -> str:
    """A frame as a stage reads it."""
    return f"{time} > {frame.hex()}\n"


def flood(path: Path, count: int, size: int = 32) -> None:
    """Write a capture of pings, numbered from 0, with so many bytes of data."""
    packet = Packet(echo_request("10.0.0.2", 0, size=size))
    packets = []
    for number in range(count):
        packet = packet.copy()
        assert packet.icmp is not None
        packet.icmp.sequence = number
        packets.append(packet)
    with path.open("wb") as file:
        PacketWriter(file, "pcap").write(packets)
