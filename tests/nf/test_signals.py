# SPDX-License-Identifier: GPL-2.0-only
"""What ends a chain: one signal, and nobody is left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.kernel

PATIENCE = 30
WORDS = [sys.executable, "-c", "from rumpel.cli import main; main()", "nf", "chain"]


def read(fd: int) -> bytes:
    """What comes next; nothing at the end, when nobody has the other side any more."""
    assert select.select([fd], [], [], PATIENCE)[0], "nothing comes, and there is no end"
    return os.read(fd, 1000)


def defaults() -> None:
    """Where the tests run, some may be ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=str)
def test_one_signal_ends_all(default_image: str, protocol: str, number: signal.Signals) -> None:
    """Sent to the command alone, while a stage waits for its standard input."""
    text = f"{protocol} 10.0.0.2 7 | route | host 10.0.0.2 --echo 7"
    with subprocess.Popen(
        [*WORDS, "--image", default_image, text],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=defaults,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        os.write(process.stdin.fileno(), b"hello")
        answer = b""
        while b"hello" not in answer:
            answer += (more := read(process.stderr.fileno()))
            assert more, answer
        process.send_signal(number)
        status = process.wait(PATIENCE)
        assert status == (-number if number == signal.SIGKILL else 128 + number)
        while said := read(process.stderr.fileno()):
            assert b"Traceback" not in said, said
