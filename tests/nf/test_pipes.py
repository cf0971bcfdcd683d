# SPDX-License-Identifier: GPL-2.0-only
"""Stages in a shell's pipelines: packets on standard input and output."""

from __future__ import annotations

import importlib
import io
import os
import subprocess
from pathlib import Path

import dpkt
import pytest

from tests.nf.tools import echo_request, flood, line, nf, shell

pytestmark = [pytest.mark.kernel, pytest.mark.once]


def test_ping_through_plain_pipes(default_image: str) -> None:
    """Requests go through nat, a filter and grep, without a way back."""
    done = shell(
        f"{nf(default_image, 'ping -c 3 -i 0.05 -W 0 10.0.0.2')} | {nf(default_image, 'nat')} |"
        f" {nf(default_image, 'filter')} | grep -v 'seq 2'"
    )
    assert done.returncode == 0, done.stderr
    pings = [x for x in done.stdout.splitlines() if "ICMP echo" in x]
    assert all(" IP 100.64.0.1 > 10.0.0.2 ICMP echo request id " in x for x in pings)
    assert [x.rpartition(" ")[2] for x in pings] == ["1", "3"]


def test_tcpdump_reads_what_a_stage_writes(default_image: str) -> None:
    """In both formats of captures, and without complaint."""
    for form in ("pcap", "pcapng"):
        command = nf(default_image, f"ping -c 2 -i 0.05 -W 0 10.0.0.2 --format {form}")
        done = shell(f"{command} | tcpdump -nr -")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("10.0.0.1 > 10.0.0.2: ICMP echo request") == 2


def test_a_stage_reads_a_capture(default_image: str) -> None:
    """Of another program; the way through is the same as that of text."""
    file = io.BytesIO()
    writer = dpkt.pcap.Writer(file)
    for number in range(20):
        writer.writepkt(echo_request("10.0.0.2", number), ts=number)
    done = subprocess.run(
        ["bash", "-c", nf(default_image, "bridge --format pcap")],
        input=file.getvalue(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    frames = [bytes(frame) for _, frame in dpkt.pcap.Reader(io.BytesIO(done.stdout))]
    assert frames == [echo_request("10.0.0.2", number) for number in range(20)]
    assert done.stderr == b""


def test_a_flood_through_one_stage(default_image: str, tmp_path: Path) -> None:
    """What comes in as fast as it can be read goes out: nothing grows, and none is lost."""
    count = 400_000
    flood(tmp_path / "once", count // 10)
    data = (tmp_path / "once").read_bytes()
    head, body = data[:24], data[24:]
    (tmp_path / "flood").write_bytes(head + 10 * body)
    done = shell(f"{nf(default_image, 'route --format pcap')} < {tmp_path}/flood | wc -c")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(head) + 10 * len(body)


def test_other_lines_pass_and_bad_ones_are_told(default_image: str) -> None:
    """Remarks go through in their place; a damaged packet is told by its line's number."""
    frame = echo_request("10.0.0.2", 1)
    text = f"# before\n{line(frame)}1.0 > 0102zz\n{line(frame)}# behind\n"
    done = shell(nf(default_image, "bridge"), input=text)
    assert done.returncode == 0
    assert [x for x in done.stdout.splitlines() if x.startswith("#")] == ["# before", "# behind"]
    assert done.stdout.count(frame.hex()) == 2
    assert "line 3: what should be the frame has other characters" in done.stderr


def test_a_truncated_capture(default_image: str, tmp_path: Path) -> None:
    """What can be read passes; then the stage ends with a message and an error."""
    file = io.BytesIO()
    writer = dpkt.pcap.Writer(file)
    for number in range(3):
        writer.writepkt(echo_request("10.0.0.2", number), ts=number)
    (tmp_path / "cut").write_bytes(file.getvalue()[:-5])
    done = shell(f"{nf(default_image, 'bridge')} < {tmp_path}/cut")
    assert done.returncode == 1
    assert done.stdout.count("ICMP echo request") == 2
    assert "packet 3: the capture ends in the middle of a packet" in done.stderr


@pytest.mark.parametrize(
    ("module", "program"), [("gzip", "zcat"), ("lzma", "xzcat"), (None, "zstdcat")]
)
def test_a_compressed_capture(
    default_image: str, tmp_path: Path, module: str | None, program: str
) -> None:
    """It would pass as a remark: it is said how to unpack it."""
    packed = b"\x28\xb5\x2f\xfd...."
    if module is not None:
        packed = importlib.import_module(module).compress(
            line(echo_request("10.0.0.2", 1)).encode()
        )
    (tmp_path / "packed").write_bytes(packed)
    done = shell(f"{nf(default_image, 'bridge')} < {tmp_path}/packed")
    assert done.returncode == 1
    assert f"the capture is compressed: unpack it with {program} first" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "words",
    [
        "route < {}",
        "chain 'nat | filter' < {}",
        "chain --fuse 'filter | nat' < {}",
        "chain 'pcap -r {} --flood | filter | nat | bridge'",
    ],
)
def test_a_capture_of_other_stations(default_image: str, tmp_path: Path, words: str) -> None:
    """A router takes them, and asks nobody, wherever it stands between a capture and a pipe."""
    frame = echo_request("10.0.0.2", 1)
    frame = bytes.fromhex("020000000005020000000006") + frame[12:]
    (tmp_path / "trace").write_text(line(frame) * 2)
    done = shell(nf(default_image, words.format(tmp_path / "trace")))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == done.stdout.count("> 10.0.0.2 ICMP echo request") == 2


def test_a_closed_output_ends_the_stage(default_image: str) -> None:
    """As ``yes | head`` does: silently, with the exit code of SIGPIPE."""
    frames = "".join(line(echo_request("10.0.0.2", n)) for n in range(20000))
    done = shell(f"{nf(default_image, 'bridge')} | head -n 1", input=frames)
    assert done.stdout.count("ICMP echo request") == 1
    assert done.returncode == 141
    assert done.stderr == ""


def test_a_slow_reader_loses_nothing(default_image: str) -> None:
    """What comes in is held up: every packet of a long capture comes out."""
    frames = "".join(line(echo_request("10.0.0.2", n)) for n in range(20000))
    done = shell(f"{nf(default_image, 'bridge')} | (sleep 1; grep -c echo)", input=frames)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "20000"


def test_a_way_back_by_a_named_pipe(default_image: str, tmp_path: Path) -> None:
    """Two commands, a pipe between them and a named one for the answers."""
    back = tmp_path / "back"
    os.mkfifo(back)
    done = shell(
        f"{nf(default_image, f'ping -c 2 -i 0.05 -W 20 10.0.0.2 --return {back}')} |"
        f" {nf(default_image, f'host 10.0.0.2 --return {back}')}"
    )
    assert done.returncode == 0, done.stderr
    assert "2 sent, 2 answered" in done.stderr


@pytest.mark.parametrize(
    "stage",
    [
        *(
            "bridge",
            "filter 'udp dport 9 drop'",
            "shape --delay 0.001",
            "offload --gro off",
            "vlan 7",
        ),
        *("pcap -w /dev/null", "tee /dev/null", "mux /dev/null", "mangle p"),
    ],
)
def test_jumbo_frames(default_image: str, stage: str) -> None:
    """Who lets packets pass lets long ones pass, too."""
    big = echo_request("10.0.0.2", 1) + bytes(9000)
    text = line(big) + line(echo_request("10.0.0.2", 2))
    done = shell(nf(default_image, stage), input=text)
    assert done.returncode == 0, done.stderr
    lengths = [len(x.split()[2]) // 2 for x in done.stdout.splitlines()]
    tag = 4 if "vlan" in stage else 0
    assert lengths == [len(big) + tag, len(echo_request("10.0.0.2", 2)) + tag]


def test_what_is_too_long_for_a_router(default_image: str) -> None:
    """It has the MTU of an Ethernet: it cuts a datagram, and goes on with the others."""
    data = echo_request("10.0.0.2", 1, size=4000)
    text = line(data) + line(echo_request("10.0.0.2", 2))
    done = shell(nf(default_image, "route"), input=text)
    lengths = [len(x.split()[2]) // 2 for x in done.stdout.splitlines()]
    assert len(lengths) == 4
    assert max(lengths) == 1514


def test_a_stage_that_does_not_exist(default_image: str) -> None:
    """The one that is meant is suggested."""
    done = shell(nf(default_image, "briDge"))
    assert done.returncode == 2
    assert "there is no stage 'briDge': do you mean bridge" in done.stderr
    assert done.stderr.count("\n") == 1


def test_tcp_needs_a_way_back(default_image: str) -> None:
    """A plain pipe cannot carry a connection, and it is said how to do it."""
    done = shell(nf(default_image, "tcp 10.0.0.2 80"))
    assert done.returncode == 1
    assert "TCP needs a way back" in done.stderr


def test_a_filter_drops_what_no_rule_accepts(default_image: str, tmp_path: Path) -> None:
    """--drop and --file: rules of nft decide, and what they count can be seen."""
    (tmp_path / "rules").write_text(
        "table bridge more {\nchain f { type filter hook forward priority 10;"
        " icmp sequence 3 drop; }\n}\n"
    )
    text = "".join(line(echo_request("10.0.0.2", n)) for n in range(1, 5))
    options = f"--drop 'icmp type echo-request ip daddr 10.0.0.2 accept' --file {tmp_path}/rules"
    done = shell(nf(default_image, f"filter {options}"), input=text)
    assert done.returncode == 0, done.stderr
    assert [n for n in range(1, 5) if f"seq {n}\n" in done.stdout] == [1, 2, 4]
    text = line(echo_request("10.0.0.3", 1))
    assert shell(nf(default_image, f"filter {options}"), input=text).stdout == ""


def test_two_sides_need_two_ways_back(default_image: str) -> None:
    """--return is for stages with one side."""
    done = shell(nf(default_image, "nat --return x"))
    assert done.returncode == 2
    assert "say --return-left or --return-right" in done.stderr


def test_rules_of_iptables(default_image: str) -> None:
    """Their syntax is accepted, of both families; what is none is told."""
    text = "".join(line(echo_request(f"10.0.0.{n}", n)) for n in (1, 2, 3))
    rules = "--iptables '-d 10.0.0.2 -p icmp -j DROP' --iptables '-s fd00::1 -j DROP'"
    done = shell(nf(default_image, f"filter {rules}"), input=text)
    assert done.returncode == 0, done.stderr
    assert [n for n in (1, 2, 3) if f"seq {n}\n" in done.stdout] == [1, 3]
    for rule in ("--nonsense", "-s 10.0.0.1 -j NOWHERE --to x", '-s "10.0.0.1'):
        done = shell(nf(default_image, f"filter --iptables '{rule}'"), input=text)
        assert done.returncode == 1
        assert "not a rule of iptables" in done.stderr
        assert done.stderr.count("\n") == 1
