# SPDX-License-Identifier: GPL-2.0-only
"""Users' mistakes: one line on standard error, and an exit code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.nf.tools import chain, flood, nf, shell

pytestmark = [pytest.mark.kernel, pytest.mark.once]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("vlan 0", "0 is not in the range"),
        ("vlan seven", "'seven' is not a valid integer"),
        ("user --forward nonsense", "not a forwarded port: 'nonsense'"),
        ("user --forward tcp:99999:10.0.0.1", "not a forwarded port"),
        ("nat --address6 10.0.0.1", "not an address: '10.0.0.1'"),
        ("packet nowhere0", "nowhere0: "),
        (
            "udp 10.0.0.2 7 --input /nowhere/file",
            "rumpel: /nowhere/file: No such file or directory\n",
        ),
        ("udp 10.0.0.300 7", "'10.0.0.300'"),
        ("udp 10.0.0.2 70000", "70000 is not in the range"),
        ("pcap -r /nowhere/file", "rumpel: /nowhere/file: No such file or directory\n"),
        ("pcap -r / -w /", "give either --write or --read"),
        ("pcap -r /", "Is a directory"),
        ("tunnel wireguard", "WireGuard needs a way back"),
        ("shape --delay 10min", "'10min' is not a time in seconds, or such as 10ms"),
        ("shape --loss 101%", "'101%' is not a fraction from 0 to 1, or such as 1%"),
        ("shape --rate fast", "'fast' is not bits a second, or such as 8mbit"),
        ("filter 'nonsense'", "nft does not take the rules"),
        ("host 10.0.0.2 --http 80", "not a port and a directory: '80'"),
        ("tcp 10.0.0.2 80 --timeout inf", "is not a finite number"),
        ("chain --file /bin/true", "/bin/true is not a chain: it is no text"),
        ("tap a-name-that-is-too-long", "is longer than the 15 bytes"),
        ("filter --file {noise}", "has no rules: it is no text"),
        ("ping 10.0.0.2 > /dev/full", "rumpel nf ping: output: No space left on device"),
        ("mux", "Missing argument 'FILE...'"),
        ("bridge --port in", "not a port: 'in' (write in:out)"),
        ("bridge --prot in:out", "No such option '--prot'. Did you mean '--port'?"),
        ("shape --seed -1", "-1 is not in the range"),
        ("shape --limit 0", "0 is not in the range"),
    ],
)
def test_one_line(default_image: str, words: str, message: str, tmp_path: Path) -> None:
    """It says what is wrong, and there is no traceback."""
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    done = shell(nf(default_image, words.format(noise=tmp_path / "noise")), input="")
    assert done.returncode != 0
    assert message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    # nft's own words have more.
    assert done.stderr.count("\n") == 1 or "nft" in message or "/dev/full" in words


@pytest.mark.parametrize("mode", ["", "--fuse", "--virtual"])
def test_a_chain_that_cannot_write(default_image: str, mode: str) -> None:
    """It has failed, whatever those at its other end say."""
    words = f"chain {mode} 'ping -c 1 10.0.0.2 | bridge'"
    for where, why in ((">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")):
        done = shell(f"{nf(default_image, words)} {where}")
        assert done.returncode == 141, done.stderr
        assert why in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("mode", ["", "--fuse", "--virtual"])
@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("tee /dev/full", "tee: output: No space left on device"),
        ("pcap -w /dev/full", "pcap: /dev/full: No space left on device"),
        ("mux {cut}", "mux: packet 1: the capture ends in the middle of a packet"),
        ("mux /nowhere", "mux: /nowhere: No such file or directory"),
        ("mangle p+", "mangle: not Python: invalid syntax"),
    ],
)
def test_the_stage_is_named(
    default_image: str, tmp_path: Path, mode: str, stage: str, message: str
) -> None:
    """Whose file cannot be written or read; and the chain has failed, whatever was answered."""
    flood(tmp_path / "cut", 1)
    (tmp_path / "cut").write_bytes((tmp_path / "cut").read_bytes()[:-1])
    text = f"ping -c 1 10.0.0.2 | {stage.format(cut=tmp_path / 'cut')} | host 10.0.0.2"
    done = chain(default_image, text, *mode.split())
    assert done.returncode == 1, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_closed_standard_descriptors(default_image: str) -> None:
    """No kernel is where standard input or output would be."""
    assert shell(nf(default_image, "route <&- >&-")).returncode == 0
    done = shell(nf(default_image, "ping 10.0.0.2 >&-"))
    assert "rumpel nf ping: output: Bad file descriptor" in done.stderr
    assert "Traceback" not in done.stderr


def test_garbage_is_no_packet(default_image: str, tmp_path: Path) -> None:
    """Bytes that are neither text nor a capture pass as lines, or are told; nothing hangs."""
    noise = bytes(range(256)) * 400
    (tmp_path / "noise").write_bytes(noise + b"\n" + os.urandom(100_000))
    for stage in ("bridge", "route", "mux /dev/null", "tee /dev/null"):
        done = shell(f"{nf(default_image, stage)} < {tmp_path}/noise | wc -c")
        assert done.returncode == 0, done.stderr
