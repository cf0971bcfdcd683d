# SPDX-License-Identifier: GPL-2.0-only
"""Packets for Python: headers, checksums, streams."""

from __future__ import annotations

import os
import random
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dpkt
import pytest

from rumpel.packets import FORMATS, Packet, PacketReader, PacketWriter, packet_format

MACS = {"src": b"\x02\0\0\0\0\x01", "dst": b"\x02\0\0\0\0\x02"}


def tcp(data: bytes = b"hello", options: bytes = b"", six: bool = False, **fields: Any) -> bytes:
    """A segment of TCP, with right checksums."""
    segment = dpkt.tcp.TCP(sport=1234, dport=80, seq=100, ack=7, opts=options, data=data, **fields)
    segment.off = (20 + len(options)) // 4
    return ip(segment, dpkt.ip.IP_PROTO_TCP, six)


def udp(data: bytes = b"hello", six: bool = False) -> bytes:
    """A datagram of UDP."""
    datagram = dpkt.udp.UDP(sport=53, dport=1234, data=data, ulen=8 + len(data))
    return ip(datagram, dpkt.ip.IP_PROTO_UDP, six)


def ip(payload: Any, protocol: int, six: bool) -> bytes:
    """A frame with that."""
    if six:
        packet = dpkt.ip6.IP6(src=b"\xfd" * 16, dst=b"\xfe" * 16, nxt=protocol, data=payload)
        packet.plen = len(payload)
        packet.extension_hdrs = []
        return bytes(dpkt.ethernet.Ethernet(type=0x86DD, data=packet, **MACS))
    packet = dpkt.ip.IP(src=b"\x0a\0\0\x01", dst=b"\x0a\0\0\x02", p=protocol, data=payload)
    packet.len = 20 + len(payload)
    return bytes(dpkt.ethernet.Ethernet(data=packet, **MACS))


def words(data: bytes) -> int:
    """The sum of RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def check(packet: Packet) -> None:
    """All lengths and checksums of a packet are right, by the rules of the RFCs."""
    frame = bytes(packet)
    if packet.ip:
        start, length = 14 + packet.ip.hdrlength * 4, packet.ip.length
        assert 14 + length == len(frame)
        assert words(frame[14:start]) == 0xFFFF
        pseudo, protocol = frame[26:34], packet.ip.protocol
    else:
        assert packet.ip6
        start = 54
        assert packet.ip6.length == len(frame) - start
        pseudo, protocol = frame[22:54], packet.ip6.nexthdr
    body = frame[start:]
    if packet.udp:
        assert packet.udp.length == len(body)
    assert words(pseudo + struct.pack("!HH", protocol, len(body)) + body) == 0xFFFF


@pytest.mark.parametrize("six", [False, True])
def test_fields_are_where_others_see_them(six: bool) -> None:
    """What dpkt wrote is read, under nft's names."""
    packet = Packet(tcp(six=six, flags=0x18, win=500, urp=3))
    assert packet.tcp
    assert (packet.tcp.sport, packet.tcp.dport, packet.tcp.sequence, packet.tcp.ackseq) == (
        *(1234, 80, 100, 7),
    )
    assert (packet.tcp.flags, packet.tcp.window, packet.tcp.urgptr) == (0x18, 500, 3)
    assert packet.payload == b"hello"
    assert packet.ether
    assert packet.ether.saddr == "02:00:00:00:00:01"
    assert [packet.udp, packet.icmp, packet.arp, packet.vlan] == [None] * 4
    if six:
        assert packet.ip is None
        assert packet.ip6
        assert packet.ip6.saddr == "fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd"
    else:
        assert packet.ip6 is None
        assert packet.ip
        assert (packet.ip.saddr, packet.ip.daddr) == ("10.0.0.1", "10.0.0.2")


def test_a_change_keeps_everything_right() -> None:
    """Whatever is set in whatever order: lengths and checksums are those of the RFCs."""
    chance = random.Random(1)
    for round in range(300):
        six = round % 2 == 0
        packet = Packet(tcp(six=six) if round % 3 else udp(six=six))
        check(packet)
        for _ in range(8):
            _change(packet, chance)
            check(packet)


def _change(packet: Packet, chance: random.Random) -> None:
    address = bytes(chance.randrange(256) for _ in range(16))
    match chance.randrange(8):
        case 0:
            packet.payload = bytes(chance.randrange(256) for _ in range(chance.randrange(40)))
        case 1 if packet.ip:
            packet.ip.saddr = address[:4]  # type: ignore[assignment]
        case 2 if packet.ip:
            packet.ip.ttl = chance.randrange(256)
        case 3 if packet.ip6:
            packet.ip6.daddr = address  # type: ignore[assignment]
        case 4 if packet.tcp:
            packet.tcp.sequence = chance.randrange(1 << 32)
        case 5 if packet.tcp:
            packet.tcp.options = [
                (chance.randrange(2, 256), address[: chance.randrange(8)])
                for _ in range(chance.randrange(4))
            ]
        case 6 if packet.tcp:
            packet.tcp.strip(*(kind for kind, _ in packet.tcp.options[:1]))
        case 7 if packet.udp:
            packet.udp.dport = chance.randrange(65536)


def test_a_wrong_checksum_stays_wrong() -> None:
    """What was damaged on the way is not made whole."""
    packet = Packet(tcp())
    assert packet.tcp
    packet.tcp.checksum += 16
    packet.tcp.dport = 81
    packet.payload = b"something else"
    with pytest.raises(AssertionError):
        check(packet)
    packet.tcp.checksum -= 16
    check(packet)


def test_checksums_may_be_left_alone() -> None:
    """As they were, if asked so; and of UDP 0 means that there is none."""
    packet = Packet(tcp())
    assert packet.tcp
    assert packet.ip
    before = packet.tcp.checksum, packet.ip.checksum
    packet.checksums = False
    packet.tcp.dport = 81
    packet.ip.ttl = 3
    assert (packet.tcp.checksum, packet.ip.checksum) == before
    packet = Packet(udp())
    assert packet.udp
    packet.udp.checksum = 0
    packet.udp.dport = 7
    assert packet.udp.checksum == 0


def test_options() -> None:
    """Read, stripped as firewalls do, set; the payload stays."""
    packet = Packet(tcp(options=b"\x02\x04\x05\xb4\x01\x1e\x04\xaa\xbb\x01\x01\x01"))
    assert packet.tcp
    assert packet.tcp.options == [(2, b"\x05\xb4"), (30, b"\xaa\xbb")]
    assert packet.tcp.option(30) == b"\xaa\xbb"
    assert packet.tcp.strip(30, 4) == 1
    assert packet.tcp.options == [(2, b"\x05\xb4")]
    assert packet.tcp.option(30) is None
    packet.tcp.options = [(3, b"\x07")]
    assert bytes(packet)[54:58] == b"\x03\x03\x07\x00"
    packet.tcp.options = []
    assert packet.tcp.doff == 5
    assert packet.payload == b"hello"
    check(packet)


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("p.tcp.sport = 65536", ValueError, "not a number of 16 bits: 65536"),
        ("p.tcp.sport = -1", ValueError, "not a number of 16 bits: -1"),
        ("p.tcp.sport = 'x'", TypeError, "integer"),
        ("p.ip.saddr = 'fd00::1'", ValueError, "not an IPv4 address: 'fd00::1'"),
        ("p.ip.saddr = b'123'", ValueError, "not an IPv4 address"),
        ("p.ether.saddr = '02:00:00:00:00:0g'", ValueError, "not a MAC address"),
        ("p.tcp.options = [(2, bytes(40))]", ValueError, "room for 40 bytes"),
        ("p.tcp.options = [(1, b'')]", ValueError, "from 2 to 255"),
        ("p.tcp.options = [5]", TypeError, "a pair of a kind and bytes"),
        ("p.payload = bytes(65536)", ValueError, "longer than any"),
        ("p.payload = 5", TypeError, "bytes-like"),
        ("p.frame = b''", ValueError, "no Ethernet frame"),
        ("p.direction = '?'", ValueError, "'>' or '<'"),
        ("p.time = -1", ValueError, "not a time"),
        ("p.time = float('nan')", ValueError, "not a time"),
        ("del p.tcp.sport", AttributeError, "deleted"),
        ("p.nonsense = 1", AttributeError, "nonsense"),
        ("Packet(b'short')", ValueError, "as long as an Ethernet header"),
        ("Packet(bytes(70000))", ValueError, "longer than Ethernet"),
    ],
)
def test_mistakes(code: str, error: type[Exception], message: str) -> None:
    """Each has its exception, and changes nothing."""
    packet = Packet(tcp(), 1.0)
    before = bytes(packet), packet.time_ns, packet.direction
    with pytest.raises(error, match=message):
        exec(code, {"p": packet, "Packet": Packet})
    assert (bytes(packet), packet.time_ns, packet.direction) == before


def test_a_header_that_has_gone() -> None:
    """Who holds it is told, and touches nothing."""
    packet = Packet(tcp())
    header = packet.tcp
    assert header
    assert packet.ip
    packet.ip.protocol = 17
    with pytest.raises(ValueError, match="does not have this header any more"):
        header.sport = 1
    packet.frame = bytes(14)
    with pytest.raises(ValueError, match="does not have this header any more"):
        _ = header.options
    assert packet.ip is None


def test_any_bytes() -> None:
    """Nonsense has the headers that it can have; fields and options never leave the frame."""
    chance = random.Random(2)
    names = ("ether", "vlan", "arp", "ip", "ip6", "tcp", "udp", "icmp", "icmpv6")
    for round in range(3000):
        frame = bytearray(chance.randbytes(chance.randrange(14, 120)))
        good = (tcp, udp)[round % 2](six=round % 4 < 2)
        keep = chance.randrange(len(good))
        frame[:keep] = good[:keep]
        packet = Packet(frame)
        for name in names:
            header = getattr(packet, name)
            for field in dir(header) if header is not None else ():
                if not field.startswith("_") and not callable(getattr(header, field)):
                    value = getattr(header, field)
                    assert getattr(header, field) == value
        assert len(packet.payload) <= len(packet) == len(frame)
        assert str(packet) is not None
        _ = packet.flow


def test_flows_have_one_name_in_both_directions() -> None:
    """And different ones for others."""
    there, back, other = Packet(tcp()), Packet(tcp()), Packet(tcp())
    assert back.ip
    assert back.tcp
    assert other.tcp
    back.ip.saddr, back.ip.daddr = "10.0.0.2", "10.0.0.1"
    back.tcp.sport, back.tcp.dport = 80, 1234
    other.tcp.sport = 1235
    assert there.flow == back.flow != other.flow
    assert Packet(udp()).flow != there.flow
    assert Packet(bytes(60)).flow is None


def written(items: Sequence[Packet | bytes], form: str, path: Path) -> Path:
    """A file with these."""
    with path.open("wb") as file:
        PacketWriter(file, packet_format(form)).write(items)
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_formats(form: str, tmp_path: Path) -> None:
    """Frames and times come back as they were; lines only where there is a place for them."""
    items: list[Packet | bytes] = [b"# first\n", b"# second"]
    items += [Packet(tcp(bytes(n)), n + 0.000000001, "<") for n in range(1, 900)]
    with written(items, form, tmp_path / "file").open("rb") as file:
        got = list(PacketReader(file))
    text = form == "text"
    assert [x for x in got if isinstance(x, bytes)] == [b"# first\n", b"# second\n"] * text
    packets = [x for x in got if isinstance(x, Packet)]
    assert [bytes(p) for p in packets] == [bytes(x) for x in items[2:]]
    assert [p.time_ns for p in packets] == [n * 10**9 + 1 for n in range(1, 900)]
    assert {p.direction for p in packets} == {"<" if text else ">"}


def test_times_of_other_programs(tmp_path: Path) -> None:
    """In microseconds, as dpkt writes them in both formats, and tcpdump does."""
    for module in (dpkt.pcap, dpkt.pcapng):
        path = tmp_path / "file"
        with path.open("wb") as file:
            writer = module.Writer(file)
            writer.writepkt(tcp(), ts=1234567890.000042)
        with path.open("rb") as file:
            (packet,) = PacketReader(file)
        assert isinstance(packet, Packet)
        assert abs(packet.time_ns - 1234567890_000042000) < 2000


def test_bad_lines_are_reported_or_raised(tmp_path: Path) -> None:
    """With their numbers; what is around them is read."""
    good = b"1.0 > " + tcp().hex().encode() + b" summary\n"
    path = tmp_path / "file"
    path.write_bytes(b"# remark\n" + good + b"1.0 > 01zz\n" + good + b"2.0 < 0102\n")
    problems: list[str] = []
    with path.open("rb") as file:
        items = list(PacketReader(file, direction="<", report=problems.append))
    assert len(items) == 3
    assert isinstance(items[1], Packet)
    assert items[1].direction == "<"
    assert [p.split(":")[0] for p in problems] == ["line 3", "line 5"]
    with path.open("rb") as file:
        reader = PacketReader(file)
        assert len(reader.read()) == 3
        with pytest.raises(ValueError, match="line 3: "):
            reader.read()
        with pytest.raises(ValueError, match="line 5: the frame is shorter than"):
            reader.read()
        assert reader.read() == []


def test_a_truncated_capture(tmp_path: Path) -> None:
    """What is whole is read, then it is said what is wrong."""
    path = written([Packet(tcp())] * 3, "pcap", tmp_path / "file")
    os.truncate(path, path.stat().st_size - 1)
    with path.open("rb") as file:
        reader = PacketReader(file)
        assert len(reader.read()) == 2
        with pytest.raises(ValueError, match="ends in the middle of a packet"):
            reader.read()
        assert reader.damaged
        assert reader.read() == []


def test_bytes_in_any_pieces() -> None:
    """A pipe gives what it has: a packet may come in many reads."""
    frame = tcp(b"x" * 100)
    for form in FORMATS:
        come, go = os.pipe()
        writer = PacketWriter(go, packet_format(form))
        writer.write([Packet(frame)] * 3)
        os.close(go)
        stream = os.read(come, 65536)
        os.close(come)
        come, go = os.pipe()
        reader, got = PacketReader(come), 0
        for start in range(0, len(stream), 7):
            os.write(go, stream[start : start + 7])
        os.close(go)
        while items := reader.read():
            got += sum(bytes(item) == frame for item in items)
        os.close(come)
        assert got == 3


def test_items_of_another_kind(tmp_path: Path) -> None:
    """They are named, and nothing is written."""
    with (tmp_path / "file").open("wb") as file:
        writer = PacketWriter(file)
        with pytest.raises(TypeError, match="not str"):
            writer.write([Packet(tcp()), "text"])  # type: ignore[list-item]
    assert (tmp_path / "file").read_bytes() == b""
    with pytest.raises(ValueError, match="not a format of packets"):
        packet_format("json")


def test_copies_are_apart() -> None:
    """A copy has the same time and direction, and its own bytes."""
    packet = Packet(tcp(), 5.5, "<")
    copy = packet.copy()
    assert copy.ip
    copy.ip.ttl = 1
    copy.time = time.time()
    assert packet.ip
    assert packet.ip.ttl == 64
    assert (packet.time, copy.direction) == (5.5, "<")
