# SPDX-License-Identifier: GPL-2.0-only
"""The stages that wrap, copy and join packets."""

from __future__ import annotations

import io
import itertools
import os
import re
import struct
import subprocess
from pathlib import Path

import dpkt
import pytest

from tests.nf.tools import WRONG_SUM, behind, chain, echo_request, install, line, nf, shell

pytestmark = [pytest.mark.kernel, pytest.mark.once]


def ping(image: str, middle: str, address: str = "10.0.0.2", size: int = 56) -> str:
    """Ping through stages, twice; what was said."""
    text = f"ping -c 2 -i 0.05 -W 20 -s {size} {address} | {middle} | host {address}"
    done = chain(image, text, "--fuse")
    assert f"{size + 8} bytes from {address}" in done.stderr, done.stderr
    assert "2 sent, 2 answered" in done.stderr
    return done.stderr


def frames(path: Path) -> list[dpkt.ethernet.Ethernet]:
    """What a capture has."""
    with path.open("rb") as file:
        return [dpkt.ethernet.Ethernet(bytes(frame)) for _, frame in dpkt.pcap.Reader(file)]


@pytest.mark.parametrize("protocol", ["802.1Q", "802.1ad"])
def test_a_vlan(default_image: str, tmp_path: Path, protocol: str) -> None:
    """Between the two stages frames have the tag, and only there."""
    record = tmp_path / "trace"
    options = f"--protocol {protocol}"
    middle = f"vlan 7 {options} | pcap -w {record} | vlan 7 {options} --tagged left"
    ping(default_image, middle)
    ethertype = {"802.1Q": b"\x81\x00", "802.1ad": b"\x88\xa8"}[protocol]
    with record.open("rb") as file:
        seen = [bytes(frame) for _, frame in dpkt.pcap.Reader(file)]
    assert len(seen) >= 4
    assert all(frame[12:16] == ethertype + b"\x00\x07" for frame in seen)
    # It says nothing itself, not even which groups it listens to.
    assert not any(frame[16:18] == b"\x86\xdd" for frame in seen)


def test_another_vlan_goes_nowhere(default_image: str) -> None:
    """Nor does what has no tag."""
    for middle in ("vlan 7 | vlan 8 --tagged left", "vlan 7 --tagged left"):
        text = f"ping -c 1 -W 1 10.0.0.2 | {middle} | host 10.0.0.2"
        assert "1 sent, 0 answered" in chain(default_image, text, "--virtual").stderr


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [("vxlan", 17), ("gretap", 47), ("gre", 47), ("ipip", 4), ("wireguard", 17)],
)
def test_a_tunnel(default_image: str, tmp_path: Path, kind: str, protocol: int) -> None:
    """On the wire are only packets of the tunnel's protocol between its two ends."""
    record = tmp_path / "trace"
    middle = f"tunnel {kind} | pcap -w {record} | tunnel {kind} --outer left"
    ping(default_image, middle)
    outer = [frame.ip for frame in frames(record) if isinstance(frame.data, dpkt.ip.IP)]
    assert len(outer) >= 4
    assert {ip.p for ip in outer} == {protocol}
    assert {ip.src for ip in outer} == {bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])}
    # Not a word of what is carried.
    assert (b"." * 40 in record.read_bytes()) == (kind != "wireguard")


@pytest.mark.parametrize("kind", ["vxlan", "gre", "wireguard"])
def test_ping_learns_how_much_a_tunnel_carries(default_image: str, kind: str) -> None:
    """IPv6 of 3,000 bytes: the first is too big, and the sender told (RFC 8201)."""
    text = (
        f"ping -c 3 -i 0.1 -W 20 -s 3000 fd00::2 | tunnel {kind} |"
        f" tunnel {kind} --outer left | host fd00::2"
    )
    done = chain(default_image, text, "--virtual")
    assert "3008 bytes from fd00::2: seq 3" in done.stderr, done.stderr


@pytest.mark.parametrize("kind", ["vxlan", "gre", "ipip", "wireguard"])
def test_a_tunnel_over_ipv6(default_image: str, tmp_path: Path, kind: str) -> None:
    """Of IPv6 and of IPv4: on its wire is only IPv6 between the two ends."""
    record = tmp_path / "trace"
    ends = "--local fd77::1 --remote fd77::2", "--local fd77::2 --remote fd77::1 --outer left"
    middle = f"tunnel {kind} {ends[0]} | pcap -w {record} | tunnel {kind} {ends[1]}"
    for address in ("fd00::2", "10.0.0.2"):
        ping(default_image, middle, address)
        data = [frame.data for frame in frames(record)]
        assert all(isinstance(ip, dpkt.ip6.IP6) for ip in data)
        wire = [ip for ip in data if ip.src[:2] == b"\xfd\x77" and ip.nxt != dpkt.ip.IP_PROTO_ICMP6]
        assert len(wire) >= 4
        assert {ip.src[-1] for ip in wire} == {1, 2}


def test_ipip_carries_both(default_image: str) -> None:
    """What Linux calls so would drop IPv6."""
    ping(default_image, "tunnel ipip | tunnel ipip --outer left", "fd00::2")


def test_wireguard_finds_an_end_behind_nat(default_image: str) -> None:
    """As it does outside: answers go to where the peer's packets come from."""
    text = "ping -c 1 10.0.0.2 | tunnel wireguard | nat | tunnel wireguard --outer left"
    done = chain(default_image, f"{text} | host 10.0.0.2", "--virtual")
    assert "1 sent, 1 answered" in done.stderr, done.stderr


def test_tcp_learns_how_much_a_tunnel_carries(default_image: str, tmp_path: Path) -> None:
    """Path MTU discovery (RFC 1191) through a tunnel that makes packets longer."""
    data = bytes(range(256)) * 1000
    (tmp_path / "in").write_bytes(data)
    for kind in ("gre", "vxlan", "gretap"):
        text = (
            f"tcp 10.0.0.2 7 --input {tmp_path}/in --output {tmp_path}/out |"
            f" tunnel {kind} | tunnel {kind} --outer left | host 10.0.0.2 --echo 7"
        )
        done = chain(default_image, text, "--virtual")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "out").read_bytes() == data


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("gre --local fd00::1", "no two addresses of one family"),
        ("gretap --local fd00::1 --remote fd00::2", "gretap goes over IPv4"),
        ("vxlan --local nonsense", "not an address"),
        ("wireguard --peer nonsense", "a key has 32 bytes"),
        ("gere", "'gere' is not one of"),
    ],
)
def test_a_tunnel_that_cannot_be(default_image: str, options: str, message: str) -> None:
    """One line says why."""
    done = chain(default_image, f"ping -c 1 10.0.0.2 | tunnel {options} | host 10.0.0.2", "--fuse")
    assert done.returncode != 0
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_tee_copies_one_direction_or_both(default_image: str, tmp_path: Path) -> None:
    """To several files, in the format that is asked for; the chain does not notice."""
    names = {"right": "echo request", "left": "echo reply"}
    for direction in ("right", "left", "both"):
        copies = [tmp_path / f"{direction}{number}" for number in range(2)]
        ping(default_image, f"tee {copies[0]} {copies[1]} --direction {direction}")
        text = copies[0].read_text()
        assert [text.count(name) for name in names.values()] == [
            2 * (direction != "left"),
            2 * (direction != "right"),
        ]
        assert len(copies[1].read_text().splitlines()) == len(text.splitlines())
    ping(default_image, f"tee {tmp_path}/capture --as pcap --direction both")
    assert sum(isinstance(frame.data, dpkt.ip.IP) for frame in frames(tmp_path / "capture")) == 4


def test_a_copy_for_another_stage(default_image: str, tmp_path: Path) -> None:
    """Behind a named pipe; it ends when the chain does."""
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(
        ["bash", "-c", f"{nf(default_image, 'filter')} < {tmp_path}/pipe"],
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        ping(default_image, f"tee {tmp_path}/pipe")
        out, _ = reader.communicate(timeout=240)
    assert out.count("echo request") == 2


def test_mux_joins_streams(default_image: str, tmp_path: Path) -> None:
    """Standard input, a capture and text, all of it; then there is an end."""
    (tmp_path / "text").write_text("".join(line(echo_request("10.0.0.3", n)) for n in range(5)))
    file = io.BytesIO()
    writer = dpkt.pcap.Writer(file)
    for number in range(4):
        writer.writepkt(echo_request("10.0.0.4", number), ts=number)
    (tmp_path / "capture").write_bytes(file.getvalue())
    text = "".join(line(echo_request("10.0.0.2", n)) for n in range(3))
    command = nf(default_image, f"mux {tmp_path}/text {tmp_path}/capture")
    done = shell(command, input=text)
    assert done.returncode == 0, done.stderr
    seen = re.findall(r"> (10\.0\.0\.\d) ", done.stdout)
    assert {address: seen.count(address) for address in seen} == {
        "10.0.0.2": 3,
        "10.0.0.3": 5,
        "10.0.0.4": 4,
    }


@pytest.mark.parametrize("stage", ["mux /nowhere/file", "tee /nowhere/file", "pcap -w /nowhere/f"])
def test_a_file_that_is_not_there(default_image: str, stage: str) -> None:
    """One line says which."""
    done = shell(nf(default_image, stage), input="")
    assert done.returncode == 1
    assert "/nowhere/f" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_replay_has_the_timing_of_the_record(default_image: str, tmp_path: Path) -> None:
    """A tenth of it at --speed 10, none with --flood; on a virtual clock it is exact."""
    frames = "".join(line(echo_request("10.0.0.2", n), f"{100 + n * 2}.5") for n in range(1, 5))
    (tmp_path / "text").write_text(f"# a remark\n{frames}")
    for options, seconds in (("", 2.0), ("--speed 10", 0.2), ("--flood", 0.0)):
        text = f"pcap -r {tmp_path}/text {options} | bridge"
        done = chain(default_image, text, "--virtual")
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert [x.rpartition(" ")[2] for x in lines] == ["1", "2", "3", "4"]
        times = [float(x.split()[0]) for x in lines]
        for before, after in itertools.pairwise(times):
            assert after - before == pytest.approx(seconds, abs=0.001)


def test_a_replay_is_exact(default_image: str, tmp_path: Path) -> None:
    """Nanoseconds since 1970, which a float has no room for; interfaces with other units."""
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    interfaces = b"".join(
        struct.pack("<IIHHIHHB3xI", 1, 28, 1, 0, 0, 9, 1, unit, 28) for unit in (6, 9)
    )
    data = section + interfaces
    for number, unit, time in ((1, 0, 1_700_000_000_500_000), (2, 1, 1_700_000_001_123_456_789)):
        frame = echo_request("10.0.0.2", number, size=30)
        lengths = len(frame), len(frame)
        head = struct.pack("<IIIIIII", 6, 32 + 72, unit, time >> 32, time & 0xFFFFFFFF, *lengths)
        data += head + frame + struct.pack("<I", 32 + 72)
    (tmp_path / "trace").write_bytes(data)
    done = chain(default_image, f"pcap -r {tmp_path}/trace | bridge", "--virtual")
    assert done.returncode == 0, done.stderr
    first, second = (int(x.split()[0].replace(".", "")) for x in done.stdout.splitlines())
    assert second - first == pytest.approx(623_456_789, abs=2)


def test_a_replay_into_a_pipeline(default_image: str, tmp_path: Path) -> None:
    """What is recorded can be replayed; a damaged end is told, and what is too long."""
    ping(default_image, f"pcap -w {tmp_path}/trace --as pcapng")
    done = shell(nf(default_image, f"pcap -r {tmp_path}/trace --flood"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ICMP echo") == 4
    data = (tmp_path / "trace").read_bytes()
    (tmp_path / "trace").write_bytes(data[:-5])
    done = shell(nf(default_image, f"pcap -r {tmp_path}/trace --flood"))
    assert done.returncode == 1
    assert "ends in the middle of a packet" in done.stderr
    (tmp_path / "long").write_text(line(echo_request("10.0.0.2", 1).ljust(65557, b"x")))
    done = shell(nf(default_image, f"pcap -r {tmp_path}/long"))
    assert "1 packets are longer than the wire can carry" in done.stderr
    done = shell(nf(default_image, "pcap"))
    assert done.returncode == 1
    assert "give either --write or --read" in done.stderr


def test_a_router_with_three_ports(default_image: str, tmp_path: Path) -> None:
    """A host on a further port answers; those on the right still do; both reach each other's."""
    for name in ("in", "out"):
        os.mkfifo(tmp_path / name)
    third = f"{nf(default_image, f'host 10.2.0.2 --return {tmp_path}/in')} < {tmp_path}/out"
    with behind(third) as process:
        text = (
            f"ping -c 2 -i 0.05 -W 20 10.2.0.2 --address 10.1.0.1 |"
            f" route --port 10.2.0.0/16={tmp_path}/in:{tmp_path}/out | host 10.0.0.2"
        )
        done = chain(default_image, text)
        assert "2 sent, 2 answered" in done.stderr, done.stderr
        assert process.wait(timeout=240) == 0


@pytest.mark.parametrize("mode", ["", "--fuse"])
@pytest.mark.parametrize(("address", "count"), [("10.0.0.3", 2), ("10.0.0.2", 0)])
def test_a_switch_with_three_ports(
    default_image: str, tmp_path: Path, mode: str, address: str, count: int
) -> None:
    """It learns who is where: pings between two of them are nothing for the third."""
    for name in ("in", "out"):
        os.mkfifo(tmp_path / name)
    host = nf(default_image, f"host 10.0.0.3 --return {tmp_path}/in")
    third = f"cat {tmp_path}/out | tee {tmp_path}/seen | {host}"
    with behind(third) as process:
        text = f"ping -c 2 -i 0.05 -W 20 {address} |"
        text += f" bridge --port {tmp_path}/in:{tmp_path}/out | host 10.0.0.2"
        done = chain(default_image, text, *mode.split())
        assert "2 sent, 2 answered" in done.stderr, done.stderr
        assert process.wait(timeout=240) == 0
    assert sum(isinstance(x.data, dpkt.ip.IP) for x in frames(tmp_path / "seen")) == count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--port 10.2.0.0/16", "not a port"),
        ("--port 10.2.0.0/99=in:out", "not a network"),
        ("--right nonsense", "not an address"),
    ],
)
def test_a_port_that_cannot_be(default_image: str, options: str, message: str) -> None:
    """One line says why."""
    done = shell(nf(default_image, f"route {options}"), input="")
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


RECORD = """\
import os
from rumpel.nf import Argument, Stage

class Record(Stage):
    params = (Argument("file"),)
    devices = ("left",)

    def configure(self, k):
        fd = os.open(self.options.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        self.interfaces["left"].capture(fd, "pcap")
        os.close(fd)
        self.bridge(k)

    def end(self, k):
        self.interfaces["left"].capture(None)
"""


def test_offloads_are_switched(default_image: str, tmp_path: Path) -> None:
    """Segments cross a fused chain whole and without sums, unless it is switched off.

    ``pcap -w`` would not tell: for it packets are as on a wire.
    """
    (tmp_path / "in").write_bytes(bytes(300_000))
    environment = install(tmp_path, RECORD, "record = my_package:Record")
    for options, whole, summed in (
        ("", True, False),
        ("--segmentation off --checksum off", False, True),
    ):
        text = (
            f"tcp 10.0.0.2 9 --input {tmp_path}/in | offload {options} |"
            f" record {tmp_path}/trace | host 10.0.0.2 --discard 9"
        )
        done = chain(default_image, text, "--fuse", env=environment)
        assert "300000 bytes in" in done.stderr, done.stderr
        data = [x for x in frames(tmp_path / "trace") if isinstance(x.data, dpkt.ip.IP)]
        data = [x for x in data if x.ip.src == bytes([10, 0, 0, 1]) and len(x.ip.tcp.data) > 1000]
        assert (max(len(bytes(x)) for x in data) > 1514) == whole
        bad = f"{WRONG_SUM} && ip.src == 10.0.0.1"
        command = ["tshark", "-nr", str(tmp_path / "trace"), "-Y", bad]
        out = subprocess.run(
            [*command, "-o", "tcp.check_checksum:TRUE"], capture_output=True, text=True, check=True
        ).stdout
        assert (out == "") == summed


def test_what_never_was_on_is_off(default_image: str) -> None:
    """Beside a stage that sees packets as on a wire, a port between pipes has no offloads."""
    off = "--segmentation off --checksum off --gro off"
    text = f"ping -c 1 10.0.0.2 | offload {off} | shape | host 10.0.0.2"
    done = chain(default_image, text)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("mode", ["", "--fuse"])
def test_goodput_through_nat_and_an_acl(default_image: str, tmp_path: Path, mode: str) -> None:
    """The talk's benchmark: all bytes come through both, and how fast is told."""
    (tmp_path / "in").write_bytes(bytes(5_000_000))
    text = (
        f"tcp 10.0.0.2 9 --input {tmp_path}/in | nat |"
        " filter --drop 'tcp dport 9 accept' 'tcp sport 9 ct state established accept' |"
        " host 10.0.0.2 --discard 9"
    )
    done = chain(default_image, text, *mode.split())
    assert done.returncode == 0, done.stderr
    found = re.search(r"5000000 bytes in ([0-9.]+) s: ([0-9.]+) MB/s", done.stderr)
    assert found is not None, done.stderr
    assert float(found[2]) > 0
