# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``mangle``: packets changed by Python code."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from rumpel.nf.middlebox import coalesce, rewrite_sequence, split
from rumpel.packets import Packet
from tests.api.test_packets import check, tcp
from tests.nf.tools import RUMPEL, chain, echo_request, line, shell

MANGLE = f"{RUMPEL} nf mangle"


@pytest.mark.parametrize(
    ("code", "out"),
    [
        ("p.ip.ttl = 9", "1 2 3"),
        ("p.icmp.sequence != 2", "1 3"),
        ("p.icmp and p.icmp.sequence > 1", "2 3"),
        ("if p.icmp.sequence == 2: p.icmp.sequence = 7", "1 7 3"),
        ("[] if p.icmp.sequence == 2 else [p, p.copy()]", "1 1 3 3"),
        ("p if p.icmp.sequence == 2 else False", "2"),
        ("state['n'] = state.get('n', 0) + 1; state['n'] % 2 == 0", "2"),
        ("p.icmp.sequence -= 1; p", "0 1 2"),
    ],
)
def test_code_decides(code: str, out: str) -> None:
    """What an expression says, and what statements do."""
    text = "".join(line(echo_request("10.0.0.2", n)) for n in (1, 2, 3))
    done = shell(f"{MANGLE} '{code.replace(chr(39), chr(34))}'", input=f"# remark\n{text}")
    assert done.returncode == 0, done.stderr
    remark, *lines = done.stdout.splitlines()
    assert remark == "# remark"
    assert " ".join(x.rpartition(" ")[2] for x in lines) == out
    for x in lines:
        frame = bytes.fromhex(x.split()[2])
        assert Packet(frame).ip is not None
        checked = subprocess.run(
            ["tcpdump", "-nvr", "-"], input=pcap(frame), capture_output=True, check=True
        )
        assert b"bad cksum" not in checked.stdout
        assert b"wrong icmp cksum" not in checked.stdout


def pcap(frame: bytes) -> bytes:
    """A capture of one packet."""
    from rumpel import _native

    return _native.packets_begin(_native.PACKETS_PCAP) + _native.packets_encode(
        _native.PACKETS_PCAP, [Packet(frame)]
    )


def test_a_file(tmp_path: Path) -> None:
    """It has a function for a packet, or one for all that came together."""
    text = "".join(line(echo_request("10.0.0.2", n)) for n in (1, 2, 3))
    file = tmp_path / "code.py"
    file.write_text("def mangle(p):\n    return p.icmp.sequence != 2\n")
    done = shell(f"{MANGLE} --file {file}", input=text)
    assert [x.rpartition(" ")[2] for x in done.stdout.splitlines()] == ["1", "3"]
    file.write_text("def batch(packets):\n    return packets[::-1]\n")
    done = shell(f"{MANGLE} --file {file}", input=text)
    assert [x.rpartition(" ")[2] for x in done.stdout.splitlines()] == ["3", "2", "1"]


def test_checksums_may_be_kept(tmp_path: Path) -> None:
    """Then they are wrong."""
    text = line(echo_request("10.0.0.2", 1))
    for option in ("", "--keep-checksums"):
        done = shell(f"{MANGLE} {option} 'p.ip.ttl = 9' --format pcap | tcpdump -nvr -", input=text)
        assert ("bad cksum" in done.stdout) == bool(option)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "give either CODE or --file"),
        ("'p.ip.ttl ='", "not Python: invalid syntax"),
        ("'p.foo'", "<code>, line 1: AttributeError: "),
        ("'pass\n\np.ip.ttl = 300'", "<code>, line 3: ValueError: not a number of 8 bits: 300"),
        ("'\"text\"'", "neither packets nor a truth, but 'text'"),
        ("' '", "there is no code"),
        ("--file nothing", "'nothing' does not exist"),
        ("--file /dev/null", "has no function"),
        ("--file FILE", "has no function mangle(p) or batch(packets)"),
        ("p --direction up", "is not one of"),
    ],
)
def test_a_mistake_is_one_line(arguments: str, message: str, tmp_path: Path) -> None:
    """With the place of it in the code; nothing hangs."""
    (tmp_path / "FILE").write_text("x = 1\n")
    text = line(echo_request("10.0.0.2", 1))
    done = shell(f"cd {tmp_path} && {MANGLE} {arguments}", input="\n\n" + text)
    assert done.returncode != 0
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_bad_lines_and_ends() -> None:
    """As for stages with a kernel: told by number, a truncated capture is an error."""
    text = f"# remark\n1.0 > 01zz\n{line(echo_request('10.0.0.2', 1))}"
    done = shell(f"{MANGLE} p", input=text)
    assert done.returncode == 0
    assert "line 2: what should be the frame has other characters" in done.stderr
    assert done.stdout.splitlines()[0] == "# remark"
    capture = pcap(echo_request("10.0.0.2", 1))[:-1]
    cut = subprocess.run(["bash", "-c", f"{MANGLE} p"], input=capture, capture_output=True)
    assert cut.returncode == 1
    assert b"the capture ends in the middle of a packet" in cut.stderr


def test_a_closed_output_ends_the_stage() -> None:
    """As ``yes | head`` does: silently, with the exit code of SIGPIPE."""
    frames = "".join(line(echo_request("10.0.0.2", n)) for n in range(20000))
    done = shell(f"{MANGLE} p | head -n 1", input=frames)
    assert done.stdout.count("ICMP echo request") == 1
    assert done.returncode == 141
    assert done.stderr == ""


def test_one_direction_only() -> None:
    """--direction left leaves alone what goes to the right."""
    text = line(echo_request("10.0.0.2", 1))
    for direction, out in (("right", 0), ("left", 1), ("both", 0)):
        done = shell(f"{MANGLE} --direction {direction} False", input=text)
        assert done.stdout.count("echo request") == out


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("p.tcp and p.tcp.strip(3, 4, 5, 8, 30)", "--mptcp"),
        ("rewrite_sequence(p, 0xfffffff0, 12345)", ""),
        ("split(p, 300)", ""),
        ("[p] + [p.copy()] * (p.ip is not None and p.ip.id % 5 == 0)", ""),
    ],
)
def test_tcp_survives(default_image: str, tmp_path: Path, code: str, options: str) -> None:
    """What boxes on the way do to TCP: each byte arrives, both ways."""
    data = bytes(range(256)) * 400
    (tmp_path / "in").write_bytes(data)
    done = chain(
        default_image,
        f"tcp 10.0.0.2 7 {options} --input {tmp_path}/in --output {tmp_path}/out |"
        f" mangle '{code}' | host 10.0.0.2 --echo 7",
    )
    assert done.returncode == 0, done.stderr
    assert digest((tmp_path / "out").read_bytes()) == digest(data)


def digest(data: bytes) -> str:
    """Short enough for a message of pytest."""
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}"


@pytest.mark.kernel
def test_who_fails_ends_the_chain(default_image: str) -> None:
    """An error in the code is that of the stage, and of the chain."""
    done = chain(default_image, "ping -c 1 10.0.0.2 | mangle 'p.nonsense' | host 10.0.0.2")
    assert done.returncode == 1
    assert "rumpel nf mangle: <code>, line 1: AttributeError" in done.stderr
    assert "rumpel nf chain: mangle ended with 1" in done.stderr


def test_split_and_coalesce_are_inverse() -> None:
    """Pieces have the right numbers, flags and checksums, and together they are the whole."""
    whole = Packet(tcp(bytes(range(250)), b"\x03\x03\x07\x00", flags=0x19))
    pieces = split(whole, 100)
    assert [len(p.payload) for p in pieces] == [100, 100, 50]
    assert [p.tcp.sequence for p in pieces if p.tcp] == [100, 200, 300]
    assert [p.tcp.flags for p in pieces if p.tcp] == [0x10, 0x10, 0x19]
    for piece in pieces:
        check(piece)
    (again,) = coalesce(pieces)
    assert isinstance(again, Packet)
    check(again)
    assert bytes(again) == bytes(whole)
    assert split(whole, 250) == [whole]
    with pytest.raises(ValueError, match="cannot be"):
        split(whole, 0)


def test_coalesce_keeps_apart_what_does_not_follow() -> None:
    """Gaps, other flows and directions, SYN, and what would be too long."""
    a, b = (Packet(tcp(b"x" * 10)) for _ in range(2))
    assert b.tcp
    b.tcp.sequence = 111
    assert len(coalesce([a.copy(), b.copy()])) == 2
    b.tcp.sequence = 110
    assert len(coalesce([a.copy(), b.copy()], 19)) == 2
    back = b.copy()
    back.direction = "<"
    assert len(coalesce([a.copy(), back])) == 2
    lines = coalesce([a.copy(), b"remark\n", b.copy()])
    assert len(lines) == 2 if a.tcp and not a.tcp.flags & 2 else 3


def test_sequence_numbers_are_moved_in_both_directions() -> None:
    """Those of one way, acknowledgements and selective ones of the other; they wrap."""
    there = Packet(tcp(flags=0x10))
    rewrite_sequence(there, 2**32 - 1, 5)
    assert there.tcp
    assert (there.tcp.sequence, there.tcp.ackseq) == (99, 2)
    check(there)
    sack = b"\x05\x0a" + (50).to_bytes(4, "big") + (60).to_bytes(4, "big") + b"\x01\x01"
    for follow, edges in ((True, (40, 50)), (False, (50, 60))):
        back = Packet(tcp(options=sack, flags=0x10), direction="<")
        rewrite_sequence(back, 10, 0, sack=follow)
        assert back.tcp
        assert (back.tcp.sequence, back.tcp.ackseq) == (100, 2**32 - 3)
        data = back.tcp.option(5)
        assert data == b"".join(edge.to_bytes(4, "big") for edge in edges)
        check(back)
