# SPDX-License-Identifier: GPL-2.0-only
"""Middleboxes of the talk: TCP survives them, and Multipath TCP falls back as RFC 8684 says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.nf.tools import WRONG_SUM, chain

pytestmark = pytest.mark.kernel

REWRITE = 'mangle "rewrite_sequence(p, 1000000, 77)"'
STRIP = 'mangle "p.tcp and p.tcp.strip(2, 3, 4, 5, 8)"'
SPLIT = 'mangle "split(p, 400)"'
COALESCE = "mangle --file {}/coalesce.py"
STRIP_MPTCP = 'mangle "p.tcp and p.tcp.strip(30)"'
STRIP_LATER = 'mangle "if p.tcp and not p.tcp.flags & SYN: p.tcp.strip(30)"'
STRIP_DATA = 'mangle "if p.tcp and not p.tcp.flags & SYN and p.payload: p.tcp.strip(30)"'
STRIP_ANSWER = 'mangle --direction left "if p.tcp and p.tcp.flags & SYN: p.tcp.strip(30)"'


def transfer(image: str, path: Path, middle: str, options: str = "", *, whole: bool = True) -> str:
    """Send some bytes through stages, and get them back, all or the first; what was said."""
    data = bytes(range(256)) * 400
    (path / "in").write_bytes(data)
    (path / "coalesce.py").write_text(
        "from rumpel.nf.middlebox import coalesce\n"
        "def batch(packets):\n    return coalesce(packets, 1400)\n"
    )
    text = (
        f"tcp 10.0.0.2 7 {options} --input {path}/in --output {path}/out |"
        f" {middle.format(path)} | host 10.0.0.2 --echo 7 {options}"
    )
    done = chain(image, text)
    out = (path / "out").read_bytes()
    assert out == data if whole else data.startswith(out)
    assert (done.returncode == 0) == (out == data), done.stderr
    assert ("the connection was cut off" in done.stderr) == (out != data)
    return done.stderr


@pytest.mark.parametrize(
    "middle",
    [REWRITE, STRIP, SPLIT, COALESCE, f"nat | {REWRITE} | {SPLIT} | filter 'tcp dport 7 accept'"],
    ids=["rewritten", "stripped", "split", "coalesced", "all-with-nat"],
)
def test_tcp_survives(default_image: str, tmp_path: Path, middle: str) -> None:
    """All bytes arrive, in their order."""
    transfer(default_image, tmp_path, middle)


@pytest.mark.parametrize(
    "middle",
    ["nat", REWRITE, SPLIT],
    ids=["nat", "rewritten", "split"],
)
def test_mptcp_survives(default_image: str, tmp_path: Path, middle: str) -> None:
    """Mappings are relative to the first number, and longer than a segment (3.3.1)."""
    said = transfer(default_image, tmp_path, middle, "--mptcp")
    assert "MPTCP: 1 subflow\n" in said
    assert "Fallback" not in said
    assert "MPCapableACKRX 1" in said


@pytest.mark.parametrize(
    ("middle", "client", "server"),
    [
        # The SYN has it no more: the listener sees plain TCP (3.1).
        (STRIP_MPTCP, "MPCapableFallbackSYNACK 1", None),
        # Its answer has lost it: the client goes on without.
        (STRIP_ANSWER, "MPCapableFallbackSYNACK 1", "MPCapableFallbackACK 1"),
        # All that follows the handshake has: so do both (3.7).
        (STRIP_LATER, "MPCapableDataFallback 1", "MPCapableFallbackACK 1"),
        # The data have lost their mapping.
        (STRIP_DATA, "MPCapableDataFallback 1", "DssFallback 1"),
    ],
    ids=["all", "answer", "later", "data"],
)
def test_mptcp_falls_back(
    default_image: str, tmp_path: Path, middle: str, client: str, server: str | None
) -> None:
    """Without its options the connection goes on as TCP, and the kernels' counters say so."""
    said = transfer(default_image, tmp_path, middle, "--mptcp")
    lines = re.findall(r"MPTCP: (.*)", said)
    assert len(lines) == 2, said
    fell = next(x for x in lines if x.startswith("fell back to TCP"))
    assert client in fell, said
    # Of the listener it is the counters that tell.
    other = next(x for x in lines if x != fell)
    assert (server or "not asked for") in other, said


@pytest.mark.parametrize("mode", ["", "--fuse", "--virtual"])
def test_who_does_not_know_mptcp_drops_it(default_image: str, tmp_path: Path, mode: str) -> None:
    """The client asks again without the option, as plain TCP."""
    (tmp_path / "in").write_bytes(bytes(range(256)) * 400)
    box = 'mangle "not (p.tcp and p.tcp.flags & SYN and p.tcp.option(30) is not None)"'
    text = f"tcp 10.0.0.2 7 --mptcp --input {tmp_path}/in --output {tmp_path}/out"
    done = chain(default_image, f"{text} | {box} | host 10.0.0.2 --echo 7 --mptcp", *mode.split())
    assert done.returncode == 0, done.stderr
    assert "MPTCP: fell back to TCP (MPCapableSYNTXDrop 1)" in done.stderr
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()


@pytest.mark.parametrize("options", ["", "--checksums"])
def test_who_changes_data(default_image: str, tmp_path: Path, options: str) -> None:
    """Only MPTCP's own checksums notice it, if they are there (3.3): both fall back (3.7)."""
    (tmp_path / "in").write_bytes(bytes(range(256)) * 400)
    box = "mangle --direction right \"p.payload = p.payload.replace(b'ABC', b'XYZ')\""
    text = f"tcp 10.0.0.2 7 --mptcp {options} --input {tmp_path}/in --output {tmp_path}/out"
    done = chain(default_image, f"{text} | {box} | host 10.0.0.2 --echo 7 --mptcp", "--virtual")
    assert done.returncode == 0, done.stderr
    assert ("DataCsumErr 1" in done.stderr) == bool(options)
    assert ("fell back to TCP" in done.stderr) == bool(options)
    assert ("MPTCP: 1 subflow" in done.stderr) != bool(options)
    assert b"XYZ" in (tmp_path / "out").read_bytes()


def test_mptcp_through_what_coalesces(default_image: str, tmp_path: Path) -> None:
    """Where two mappings were put together, one is lost, and both ends fall back.

    What is under way then Linux 6.12 may forget, which tcp says: one transfer of six.
    """
    middle = f"{SPLIT} | {COALESCE}"
    said = transfer(default_image, tmp_path, middle, "--mptcp", whole=False)
    fell = "fell back to TCP" in said
    assert fell == ("DSSCorruptionFallback" in said or "DssFallback" in said), said
    assert fell or ("MPTCP: 1 subflow\n" in said and "cut off" not in said)


@pytest.mark.parametrize("options", ["", "--mptcp --timeout 2"], ids=["tcp", "mptcp"])
def test_who_resets(default_image: str, tmp_path: Path, options: str) -> None:
    """A box that resets a connection in the middle: that is no end of the stream.

    It resets the client, whose kernel then resets the server.
    """
    (tmp_path / "in").write_bytes(bytes(2_000_000))
    (tmp_path / "reset.py").write_text(
        "count = 0\n"
        "def mangle(p):\n"
        "    global count\n"
        "    count += len(p.payload) > 0\n"
        "    if count > 200 and p.tcp:\n"
        "        p.tcp.flags, p.payload = 0x14, b''\n"
    )
    text = (
        f"tcp 10.0.0.2 7 {options} --input {tmp_path}/in --output {tmp_path}/out |"
        f" mangle --direction left --file {tmp_path}/reset.py | host 10.0.0.2 --echo 7 --mptcp"
    )
    done = chain(default_image, text)
    assert done.returncode == 1
    assert re.search(r"rumpel nf tcp: .*(reset|cut off|not connected|Broken pipe)", done.stderr), (
        done.stderr
    )
    assert len((tmp_path / "out").read_bytes()) < 2_000_000


def test_captures_are_well_formed(default_image: str, tmp_path: Path) -> None:
    """Wireshark's own decoder finds no malformed packet and no wrong checksum behind any box."""
    boxes = [REWRITE, STRIP, SPLIT, "nat"]
    middle = " | ".join(f"{box} | pcap -w {tmp_path}/{n}.pcap" for n, box in enumerate(boxes))
    transfer(default_image, tmp_path, middle)
    for number in range(len(boxes)):
        file = tmp_path / f"{number}.pcap"
        assert not tshark(
            file,
            f"_ws.malformed || ip.checksum.status == Bad || {WRONG_SUM}"
            " || _ws.expert.severity == error",
        )
        assert len(tshark(file, "tcp && tcp.checksum.status == Good").splitlines()) > 50


def tshark(file: Path, expression: str) -> str:
    """The packets of a capture for which it is true."""
    done = subprocess.run(
        [
            "tshark", "-n", "-r", file, "-Y", expression,
            "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )  # fmt: skip
    return done.stdout
