# SPDX-License-Identifier: GPL-2.0-only
"""Users' mistakes: one line on standard error, and an exit code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.nf.tools import nf, shell

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
        ("udp 10.0.0.2 7 --input /nowhere/file", "No such file or directory: '/nowhere/file'"),
        ("udp 10.0.0.300 7", "'10.0.0.300'"),
        ("udp 10.0.0.2 70000", "70000 is not in the range"),
        ("pcap -r /nowhere/file", "No such file or directory: '/nowhere/file'"),
        ("pcap -r / -w /", "give either --write or --read"),
        ("pcap -r /", "Is a directory"),
        ("tunnel wireguard", "WireGuard needs a way back"),
        ("filter 'nonsense'", "nft does not take the rules"),
        ("host 10.0.0.2 --http 80", "not a port and a directory: '80'"),
        ("tcp 10.0.0.2 80 --timeout inf", "is not a finite number"),
        ("chain --file /bin/true", "/bin/true is not a chain: it is no text"),
        ("mux", "Missing argument 'FILE...'"),
    ],
)
def test_one_line(default_image: str, words: str, message: str) -> None:
    """It says what is wrong, and there is no traceback."""
    done = shell(nf(default_image, words), input="")
    assert done.returncode not in (0, 141)
    assert message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    # nft's own words have more.
    assert done.stderr.count("\n") == 1 or "nft" in message


def test_garbage_is_no_packet(default_image: str, tmp_path: Path) -> None:
    """Bytes that are neither text nor a capture pass as lines, or are told; nothing hangs."""
    noise = bytes(range(256)) * 400
    (tmp_path / "noise").write_bytes(noise + b"\n" + os.urandom(100_000))
    for stage in ("bridge", "route", "mux /dev/null", "tee /dev/null"):
        done = shell(f"{nf(default_image, stage)} < {tmp_path}/noise | wc -c")
        assert done.returncode == 0, done.stderr
