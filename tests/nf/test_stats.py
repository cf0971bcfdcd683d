# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``stats``: what passes is counted for each flow."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rumpel.packets import Packet, PacketWriter
from tests.api.test_packets import tcp, udp
from tests.nf.tools import RUMPEL, chain, shell

STATS = f"{RUMPEL} nf stats"


def segment(time: float, there: bool, sequence: int, ack: int, data: bytes, flags: int) -> Packet:
    """A segment of one connection."""
    packet = Packet(tcp(data, flags=flags), time)
    assert packet.tcp
    assert packet.ip
    packet.tcp.sequence, packet.tcp.ackseq = sequence, ack
    if not there:
        packet.ip.saddr, packet.ip.daddr = "10.0.0.2", "10.0.0.1"
        packet.tcp.sport, packet.tcp.dport = 80, 1234
    return packet


def connection() -> list[Packet]:
    """With an answer after 10 ms, and a segment that was sent again."""
    return [
        segment(1.0, True, 2**32 - 1, 0, b"", 0x02),
        segment(1.01, False, 500, 0, b"", 0x12),
        segment(1.01, True, 0, 501, b"x" * 100, 0x10),
        segment(1.02, True, 100, 501, b"y" * 100, 0x10),
        segment(1.05, False, 501, 100, b"", 0x10),
        segment(1.30, True, 100, 501, b"y" * 100, 0x10),
        segment(1.31, False, 501, 200, b"z" * 50, 0x18),
        segment(2.00, True, 200, 551, b"", 0x10),
    ]


def counted(stderr: str) -> list[Any]:
    """What --json said."""
    found: list[Any] = json.loads(stderr)["flows"]
    return found


def test_a_capture(tmp_path: Path) -> None:
    """Packets, bytes, rates, round trips and what was sent again, by the packets' times."""
    packets = [*connection(), Packet(udp(), 5.0), Packet(bytes(60), 5.0)]
    with (tmp_path / "trace").open("wb") as file:
        PacketWriter(file, "pcap").write(packets)
    done = shell(f"{STATS} --json --capture-time < {tmp_path}/trace")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == len(packets)
    tcp_flow, udp_flow, other = counted(done.stderr)
    assert tcp_flow["flow"] == "tcp 10.0.0.1.1234 10.0.0.2.80"
    assert tcp_flow["seconds"] == 1.0
    right, left = tcp_flow["right"], tcp_flow["left"]
    assert (right["packets"], left["packets"]) == (5, 3)
    assert (right["retransmitted"], left["retransmitted"]) == (1, 0)
    assert right["bytes"] == sum(len(p) for p in packets[:8] if p.ip and p.ip.saddr == "10.0.0.1")
    assert right["bits_per_second"] == 8 * right["bytes"]
    # SYN: 10 ms; the first data: 40; the one that was sent again does not count.
    assert right["rtt_min"] == pytest.approx(0.01)
    assert right["rtt_mean"] == pytest.approx(0.025)
    assert (udp_flow["flow"], udp_flow["right"]["packets"]) == ("udp 10.0.0.1.53 10.0.0.2.1234", 1)
    assert (other["flow"], other["right"]["packets"]) == ("other", 1)


def test_the_table(tmp_path: Path) -> None:
    """Without --json it is a table for people, once if standard error is no terminal."""
    with (tmp_path / "trace").open("wb") as file:
        PacketWriter(file, "pcap").write(connection())
    done = subprocess.run(
        ["bash", "-c", f"{STATS} --format pcap --capture-time < {tmp_path}/trace"],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == (tmp_path / "trace").read_bytes()
    table = done.stderr.decode()
    assert table.count("tcp 10.0.0.1.1234 10.0.0.2.80") == 1
    assert "25.000" in table


@pytest.mark.kernel
def test_in_a_chain(default_image: str, tmp_path: Path) -> None:
    """A delay behind the stage is a round trip of at least twice that."""
    (tmp_path / "in").write_bytes(bytes(30000))
    done = chain(
        default_image,
        f"tcp 10.0.0.2 7 --input {tmp_path}/in --output {tmp_path}/out | stats --json |"
        " shape --delay 0.01 | shape --delay 0.01 --direction left | host 10.0.0.2 --echo 7",
    )
    assert done.returncode == 0, done.stderr
    line = next(x for x in done.stderr.splitlines() if x.startswith('{"flows"'))
    flows = [flow for flow in counted(line) if flow["flow"].startswith("tcp ")]
    assert len(flows) == 1
    assert flows[0]["right"]["bytes"] > 30000
    assert flows[0]["left"]["bytes"] > 30000
    assert flows[0]["right"]["rtt_min"] >= 0.02
