# SPDX-License-Identifier: GPL-2.0-only
"""The stage tcp, and what the other end may do to it."""

from __future__ import annotations

import asyncio
import re
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rumpel
from rumpel.nf.mptcp import IPPROTO_MPTCP
from rumpel.nf.stages import tcp
from rumpel.nf.wire import name_ports
from rumpel.options import parse
from tests.conftest import Boot

pytestmark = [pytest.mark.kernel, pytest.mark.once]

SIZE = 220_000
PATIENCE = 100
FIN_WAIT2 = 5


class Tcp(tcp.Tcp):
    """Says when all is in the kernel's buffer."""

    all_sent: threading.Event

    async def _arrived(self, *arguments: Any) -> str:
        self.all_sent.set()
        return await super()._arrived(*arguments)


class Pair:
    """A stage tcp whose other end reads nothing, and has no room for all."""

    def __init__(self, boot: Boot, directory: Path, *options: str, buffer: int = 4_000_000) -> None:
        cable = rumpel.Link()
        self.left, self.right = (boot(nics=[end]) for end in cable)
        name_ports(self.left, ["right"])
        self.right.ifup("eth0", "10.0.0.2/24")
        (directory / "in").write_bytes(bytes(SIZE))
        self.output = directory / "out"
        words = ["10.0.0.2", "9", "--input", f"{directory}/in", "--output", str(self.output)]
        values = parse(Tcp.params, [*words, *options])
        assert values is not None
        self.stage = Tcp(**values)
        self.stage.all_sent, self.over = threading.Event(), threading.Event()
        self.stage.configure(self.left)
        self.left.sysctl["net.ipv4.tcp_wmem"] = f"4096 {buffer} {buffer}"
        if buffer < SIZE:
            self.stage.all_sent.set()
        socket = self.right.socket
        protocol = IPPROTO_MPTCP if self.stage.options.mptcp else 0
        self.server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.server.bind(("10.0.0.2", 9))
        self.server.listen()

    def run(self, what: Callable[[Any], None]) -> int:
        """The stage's exit code. Meanwhile it is answered, and then something else is done."""
        peer = threading.Thread(target=self.serve, args=(what,))
        peer.start()

        async def run() -> int:
            return await asyncio.wait_for(self.stage.run(self.left), PATIENCE)

        code: int = self.left.aio.run(run())
        self.over.set()
        peer.join()
        return code

    def serve(self, what: Callable[[Any], None]) -> None:
        """Answer and close, so that the stage reads an end."""
        with self.server, self.server.accept()[0] as sock:
            assert self.stage.all_sent.wait(PATIENCE)
            sock.sendall(b"no more")
            sock.shutdown(self.right.socket.SHUT_WR)
            while self.output.read_bytes() != b"no more":
                time.sleep(0.01)
            what(sock)

    def reset(self, sock: Any) -> None:
        """Once the end has been taken, a reset."""
        socket, info = self.right.socket, b""
        while info[:1] != bytes([FIN_WAIT2]):
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
            time.sleep(0.01)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def leave(self, sock: Any) -> None:
        """Nothing more happens."""
        assert self.over.wait(PATIENCE)


def test_a_reset_behind_the_answer(
    boot: Boot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the other end has not read is told, though the answer has a proper end."""
    pair = Pair(boot, tmp_path)
    assert pair.run(pair.reset) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(rf"rumpel nf tcp: .* cut off: .* has \d+ bytes of {SIZE}\n", said)


def test_nobody_reads_by_mptcp(
    boot: Boot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once the answer has ended, what does not come on for the timeout is given up."""
    pair = Pair(boot, tmp_path, "--mptcp", "--timeout", "1.5")
    assert pair.run(pair.leave) == 1
    said = capsys.readouterr().err
    assert f"bytes of {SIZE}" in said
    assert "MPTCP: 1 subflow" in said


def test_nobody_takes_by_mptcp(
    boot: Boot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same when it does not even fit into the kernel's buffer."""
    pair = Pair(boot, tmp_path, "--mptcp", "--timeout", "1.5", buffer=16_000)
    assert pair.run(pair.leave) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(r"rumpel nf tcp: .* cut off: .* has \d+ bytes, and takes no more\n", said)
