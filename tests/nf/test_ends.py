# SPDX-License-Identifier: GPL-2.0-only
"""What stands at the ends of chains: services, and the host's network."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.netns import Namespace, namespace
from tests.nf.tools import chain

__all__ = ["namespace"]

pytestmark = pytest.mark.kernel


def test_a_web_server(default_image: str, tmp_path: Path) -> None:
    """Files of the host, over the kernels' TCP."""
    (tmp_path / "page").write_text("a page of the host\n")
    (tmp_path / "request").write_bytes(b"GET /page HTTP/1.0\r\n\r\n")
    text = (
        f"tcp 10.0.0.2 80 --input {tmp_path}/request --output {tmp_path}/answer | route |"
        f" host 10.0.0.2 --http 80:{tmp_path}"
    )
    done = chain(default_image, text)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "answer").read_bytes().endswith(b"\r\n\r\na page of the host\n")


def test_what_is_discarded_is_counted(default_image: str, tmp_path: Path) -> None:
    """All of it."""
    (tmp_path / "data").write_bytes(bytes(3_000_000))
    text = f"tcp 10.0.0.2 9 --input {tmp_path}/data | host 10.0.0.2 --discard 9"
    done = chain(default_image, text)
    assert done.returncode == 0, done.stderr
    assert "3000000 bytes in " in done.stderr


def test_the_host_behind_a_tap(default_image: str, namespace: Namespace) -> None:
    """The host's ping goes through nat to a kernel, whose answer comes back."""
    text = f"tap tap0 --netns {namespace.name} | nat | host 10.0.0.2"
    words = [sys.executable, "-c", "from rumpel.cli import main; main()", "nf", "chain"]
    process = subprocess.Popen([*words, "--image", default_image, text])
    try:
        while namespace.run("ip", "link", "show", "tap0", check=False) == "":
            assert process.poll() is None
            time.sleep(0.05)
        namespace.address("tap0", "10.0.0.1/24")
        ping = namespace.run("ping", "-c", "1", "-W", "30", "10.0.0.2")
        assert "1 received" in ping
    finally:
        process.send_signal(2)
        assert process.wait(timeout=30) == 130
