# SPDX-License-Identifier: GPL-2.0-only
"""Chains: stages joined full duplex, with programs between them."""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import rumpel
from rumpel.packets import Packet, PacketReader, PacketWriter
from tests.conftest import Boot
from tests.nf.tools import WRONG_SUM, chain, echo_request

pytestmark = pytest.mark.kernel

TALK = "ping -c 3 -i 0.05 -W 20 10.0.0.2 | nat | filter 'ip daddr 10.0.0.9 drop' | host 10.0.0.2"


@pytest.mark.parametrize("mode", ["", "--fuse", "--virtual"])
def test_ping_through_nat_and_filter(default_image: str, mode: str) -> None:
    """The talk's first demo: every request is answered, in each mode."""
    done = chain(default_image, TALK, *mode.split())
    assert done.returncode == 0, done.stderr
    assert "3 sent, 3 answered" in done.stderr
    assert done.stdout == ""


def test_a_filter_keeps_out_what_its_rules_say(default_image: str) -> None:
    """An address is blocked, and only that one."""
    for address, answered in (("10.0.0.2", 2), ("10.0.0.9", 0)):
        done = chain(
            default_image,
            f"ping -c 2 -i 0.05 -W {20 if answered else 1} {address} |"
            " filter 'ip daddr 10.0.0.9 drop' | host 10.0.0.2 10.0.0.9",
        )
        assert f"2 sent, {answered} answered" in done.stderr, done.stderr


def test_nat_hides_who_is_behind_it(default_image: str) -> None:
    """On its right only its own address is seen, on its left only that of the host."""
    text = "ping -c 2 -i 0.05 -W 20 10.0.0.2 | nat | <> tee /dev/stderr | host 10.0.0.2"
    done = chain(default_image, text)
    assert done.returncode == 0, done.stderr
    seen = re.findall(r"(?:IP (\S+) > (\S+) ICMP echo (\S+))", done.stderr)
    assert set(seen) == {
        ("100.64.0.1", "10.0.0.2", "request"),
        ("10.0.0.2", "100.64.0.1", "reply"),
    }


@pytest.mark.parametrize(
    ("address", "answered", "patience"), [("10.0.0.2", 2, 20), ("10.0.0.3", 0, 1)]
)
def test_grep_is_a_firewall(default_image: str, address: str, answered: int, patience: int) -> None:
    """The talk's second demo: an address is blocked by its text, and others pass."""
    text = (
        f"ping -c 2 -i 0.05 -W {patience} {address} | grep -v '> 10.0.0.3' | host 10.0.0.2 10.0.0.3"
    )
    done = chain(default_image, text)
    assert f"2 sent, {answered} answered" in done.stderr
    assert done.returncode == (0 if answered else 1)


def test_a_program_may_see_the_answers_only(default_image: str) -> None:
    """Marked with < it filters what comes back."""
    text = "ping -c 3 -i 0.05 -W 5 10.0.0.2 | < grep -v 'seq 2' | host 10.0.0.2"
    done = chain(default_image, text)
    assert "seq 1" in done.stderr
    assert "3 sent, 2 answered" in done.stderr


@pytest.mark.parametrize("mode", ["", "--fuse"])
@pytest.mark.parametrize(
    "middle", ["", "route |", "bridge | route |", "route | nat | filter 'tcp dport 7 accept' |"]
)
def test_tcp_through_stages(default_image: str, tmp_path: Path, mode: str, middle: str) -> None:
    """What is sent comes back byte for byte, and the chain ends when it has."""
    data = bytes(range(256)) * 4000
    (tmp_path / "in").write_bytes(data)
    text = (
        f"tcp 10.0.0.2 7 --input {tmp_path}/in --output {tmp_path}/out |"
        f" {middle} host 10.0.0.2 --echo 7"
    )
    done = chain(default_image, text, *mode.split())
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == data


def test_a_forwarded_port(default_image: str, tmp_path: Path) -> None:
    """A port of the address of nat leads to a host behind it."""
    (tmp_path / "in").write_text("through the nat")
    text = (
        f"host 10.0.0.1 --echo 7 | nat --forward tcp:8080:10.0.0.1:7 |"
        f" tcp 100.64.0.1 8080 --input {tmp_path}/in --output {tmp_path}/out"
    )
    done = chain(default_image, text)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text() == "through the nat"


def test_a_forwarded_port_of_another_address(default_image: str, tmp_path: Path) -> None:
    """Is not ours: who is meant is who gets it."""
    (tmp_path / "in").write_text("to somebody else")
    text = (
        "host 10.0.0.1 10.0.0.3 --echo 7 | nat --forward tcp:7:10.0.0.1:9 |"
        f" tcp 10.0.0.3 7 --address 10.0.0.7 --input {tmp_path}/in --output {tmp_path}/out"
    )
    done = chain(default_image, text, "--fuse")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text() == "to somebody else"


def test_ipv6(default_image: str) -> None:
    """The same with IPv6, through a filter."""
    done = chain(default_image, "ping -c 2 -i 0.05 -W 20 fd00::2 | filter | host fd00::2")
    assert "2 sent, 2 answered" in done.stderr, done.stderr


def test_a_delay_is_exact_in_virtual_time(default_image: str) -> None:
    """And every run loses the same packets: the same bytes come out."""
    text = (
        "ping -c 50 -i 1 10.0.0.2 | bridge | shape --delay 0.01 --loss 0.2 --seed 3 |"
        " shape --delay 0.01 --direction left | host 10.0.0.2"
    )
    first, second = (chain(default_image, text, "--virtual") for _ in range(2))
    assert first.stderr == second.stderr
    answers = re.findall(r"seq \d+ ([0-9.]+) ms", first.stderr)
    # But for those that had to look for the neighbour.
    assert answers.count("20.000") > len(answers) - 5
    assert 25 < len(answers) < 50


def test_answers_that_come_twice(default_image: str) -> None:
    """They are told, and are no answers to other requests."""
    text = (
        "ping -c 4 10.0.0.2 | shape --duplicate 1 | filter 'icmp sequence 2 drop' | host 10.0.0.2"
    )
    done = chain(default_image, text, "--virtual")
    assert done.returncode == 1
    assert done.stderr.count("seq 1 0.000 ms") == 2
    assert "4 sent, 3 answered, and " in done.stderr


def test_a_file_with_remarks(default_image: str, tmp_path: Path) -> None:
    """A chain may be kept in a file."""
    file = tmp_path / "chain"
    file.write_text(
        "# who asks\nping -c 1 -W 20 10.0.0.2 |\n  route |  # who is between\nhost 10.0.0.2\n"
    )
    done = chain(default_image, f"--file={file}")
    assert "1 sent, 1 answered" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pnig 10.0.0.2 | host 10.0.0.2", "neither a stage nor a program 'pnig': do you mean ping"),
        ("ping 10.0.0.2 | | host 10.0.0.2", "nothing between two |"),
        ("ping 10.0.0.2 | host 10.0.0.2 | nat", "'host' has one port"),
        ("nat | ping 10.0.0.2 | nat", "'ping' has one port"),
        ("grep x | host 10.0.0.2", "begins and ends with stages"),
        ("ping 10.0.0.2 | host '10.0.0.2", "not a chain: No closing quotation"),
        ("ping 10.0.0.2 | host 10.0.0.2 --nonsense", "No such option"),
        ("ping 10.0.0.2 | host 10.0.0.2 --echo 99999", "99999 is not in the range"),
    ],
)
def test_a_mistake_is_one_line(default_image: str, text: str, message: str) -> None:
    """Nothing is started; the message says what is wrong."""
    done = chain(default_image, text)
    assert done.returncode != 0
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message", "code"),
    [
        ("ping 10.0.0.2 | filter 'nonsense' | host 10.0.0.2", "nft does not take the rules", 1),
        ("ping 10.0.0.2 | host 10.0.0", "not an address: '10.0.0'", 1),
        ("ping 10.0.0.2 | nat --address x | host 10.0.0.2", "not an address: 'x'", 1),
        ("nat | sh -c 'exit 3' | host 10.0.0.2", "sh ended with 3", 3),
    ],
)
def test_who_fails_is_named(default_image: str, text: str, message: str, code: int) -> None:
    """A member that ends badly ends the chain, with its name and its exit code."""
    done = chain(default_image, text)
    assert message in done.stderr
    assert "rumpel nf chain: " in done.stderr
    assert done.returncode == code


def test_programs_cannot_be_fused(default_image: str) -> None:
    """They need pipes."""
    done = chain(default_image, "ping 10.0.0.2 | cat | host 10.0.0.2", "--fuse")
    assert done.returncode == 1
    assert "'cat' is a program, which cannot be fused" in done.stderr


@pytest.mark.parametrize("mode", [[], ["--fuse"]], ids=["pipes", "fused"])
def test_a_flood_loses_nothing(default_image: str, tmp_path: Path, mode: list[str]) -> None:
    """Whoever sends waits for the slowest: a reader that begins late, and a stage that counts."""
    count = 30_000
    with (tmp_path / "flood").open("wb") as file:
        frames = [Packet(echo_request("10.0.0.2", n % 65536)) for n in range(count)]
        PacketWriter(file, "pcap").write(frames)
    text = "route | filter 'icmp type echo-request counter' | route"
    words = [sys.executable, "-c", "from rumpel.cli import main; main()", "nf", "chain", *mode]
    with (tmp_path / "flood").open("rb") as stdin:
        process = subprocess.Popen(
            [*words, "--image", default_image, "--format", "pcap", text],
            stdin=stdin,
            stdout=subprocess.PIPE,
        )
    assert process.stdout is not None
    time.sleep(1.5)  # longer than a cable's patience with a receiver that takes nothing
    got = [p for p in PacketReader(process.stdout) if not isinstance(p, bytes)]
    process.stdout.close()
    assert process.wait(120) == 0
    assert len(got) == count
    assert all(p.ip and p.ip.ttl == 62 for p in got)
    assert [p.icmp.sequence for p in got if p.icmp] == [n % 65536 for n in range(count)]


def send(sock: Any, data: bytes) -> None:
    """All, and the end."""
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize(("offload", "sharing"), [(False, False), (True, False), (True, True)])
def test_segments_stay_whole_between_kernels(boot: Boot, offload: bool, sharing: bool) -> None:
    """Only if both ends say so: frames are larger than a wire's then, and the bytes the same.

    A socket that takes a part of a frame gets the rest of it later; memory that both have
    is full now and then.
    """
    shared = os.memfd_create("test") if sharing else 0
    ends = socket.socketpair()
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
    nics = [
        rumpel.PipeNic(
            end, end, write="pcap", offload=offload, shared=shared, backward=end is ends[1]
        )
        for end in ends
    ]
    for end in ends:
        end.close()
    if sharing:
        os.close(shared)
    left, right = (boot(nics=[nic]) for nic in nics)
    left.ifup("eth0", "10.0.0.1/24")
    right.ifup("eth0", "10.0.0.2/24")
    data = random.Random(1).randbytes(2_000_000)
    with (
        right.socket.create_server(("10.0.0.2", 9)) as server,
        left.socket.create_connection(("10.0.0.2", 9)) as client,
        server.accept()[0] as got,
    ):
        sender = threading.Thread(target=send, args=(client, data))
        sender.start()
        received = b""
        while more := got.recv(1 << 16):
            received += more
        sender.join()
    assert received == data
    stats = nics[1].stats
    assert (stats.received_bytes / stats.received > 1514) == offload
    assert not stats.errors


def test_memory_is_for_a_socket_between_kernels() -> None:
    """Who sleeps is told through it."""
    shared = os.memfd_create("test")
    left, right = socket.socketpair()
    reader, writer = os.pipe()
    for input, output, offload in [(left, right, True), (left, left, False), (left, None, True)]:
        with pytest.raises(ValueError, match="one socket"):
            rumpel.PipeNic(input, output, offload=offload, shared=shared)
    with pytest.raises(ValueError, match="stream of packets"):
        rumpel.PipeNic(reader, reader, offload=True, shared=shared)
    with pytest.raises(OSError, match="Bad file descriptor"):
        rumpel.PipeNic(left, left, offload=True, shared=12345)
    for fd in (shared, reader, writer):
        os.close(fd)
    left.close()
    right.close()


@pytest.mark.parametrize("mode", [[], ["--fuse"], ["--virtual"]], ids=["pipes", "fused", "virtual"])
def test_what_is_recorded_is_as_on_a_wire(
    default_image: str, tmp_path: Path, mode: list[str]
) -> None:
    """A stage that records is given no segments that were left whole, with the right checksums."""
    (tmp_path / "in").write_bytes(bytes(1_000_000))
    trace = tmp_path / "trace"
    text = f"tcp 10.0.0.2 9 --input {tmp_path}/in | nat | pcap -w {trace} | "
    text += "host 10.0.0.2 --discard 9"
    done = chain(default_image, text, *mode)
    assert "1000000 bytes in" in done.stderr, done.stderr
    with trace.open("rb") as file:
        assert max(len(p) for p in PacketReader(file)) <= 1514
    wrong = f"_ws.malformed || {WRONG_SUM}"
    tshark = ["tshark", "-r", str(trace), "-o", "tcp.check_checksum:TRUE", "-Y", wrong]
    assert subprocess.run(tshark, capture_output=True, check=True).stdout == b""


def test_a_program_as_it_is(default_image: str, tmp_path: Path) -> None:
    """It is a host at either end: curl asks Python's web server, through nat."""
    (tmp_path / "page").write_text("a page\n" * 1000)
    server = f"python3 -u -m http.server 80 --directory {tmp_path}"
    client = f"curl -sS --retry 60 --retry-delay 1 --retry-all-errors -o {tmp_path}/got http://10.9.0.2/page"
    done = chain(
        default_image, f"host 10.0.0.1 --run '{client}' | nat | host 10.9.0.2 --run '{server}'"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "got").read_text() == "a page\n" * 1000
    assert "100.64.0.1 - - " in done.stdout + done.stderr
    done = chain(default_image, "host 10.0.0.1 --run 'sh -c \"exit 7\"' | host 10.9.0.2")
    assert done.returncode == 7
    assert "host ended with 7" in done.stderr
