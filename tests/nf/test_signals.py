# SPDX-License-Identifier: GPL-2.0-only
"""What ends a chain: one signal, or a stage that dies. Nobody is left behind."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumpel.packets import PacketReader

pytestmark = [pytest.mark.kernel, pytest.mark.once]

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


@contextlib.contextmanager
def echoed(image: str, text: str, *how: str) -> Iterator[subprocess.Popen[bytes]]:
    """A chain in a group of its own that has echoed something, and waits for more input."""
    with subprocess.Popen(
        [*WORDS, *how, "--image", image, text],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=defaults,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        os.write(process.stdin.fileno(), b"hello")
        answer = b""
        while b"hello" not in answer:
            answer += (more := read(process.stderr.fileno()))
            assert more, answer
        try:
            yield process
        finally:
            process.kill()


def rest(process: subprocess.Popen[bytes]) -> bytes:
    """What it says until its end, and that of all its stages."""
    assert process.stderr is not None
    said = b""
    while more := read(process.stderr.fileno()):
        said += more
    assert b"Traceback" not in said, said
    return said


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=str
)
def test_one_signal_ends_all(default_image: str, protocol: str, number: signal.Signals) -> None:
    """Sent to the command alone, while a stage waits for its standard input."""
    text = f"{protocol} 10.0.0.2 7 | route | host 10.0.0.2 --echo 7"
    with echoed(default_image, text) as process:
        process.send_signal(number)
        status = process.wait(PATIENCE)
        assert status == (-number if number == signal.SIGKILL else 128 + number)
        rest(process)


@pytest.mark.parametrize("how", [[], ["--fuse"]], ids=["pipes", "fused"])
def test_an_interrupt_of_the_terminal(default_image: str, how: list[str]) -> None:
    """It comes to all processes at once, and the stages hear of it from the command, too."""
    text = "tcp 10.0.0.2 7 | route | host 10.0.0.2 --echo 7"
    with echoed(default_image, text, *how) as process:
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE) == 128 + signal.SIGINT
        rest(process)


def test_stages_clean_up(default_image: str, tmp_path: Path) -> None:
    """What was recorded is whole, and the last table is there."""
    trace = tmp_path / "trace.pcap"
    text = f"tcp 10.0.0.2 7 | stats | pcap -w {trace} | host 10.0.0.2 --echo 7"
    with echoed(default_image, text) as process:
        process.terminate()
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
        assert b"tcp 10.0.0.1." in rest(process)
    with trace.open("rb") as file:
        payloads = [p.payload for p in PacketReader(file) if not isinstance(p, bytes) and p.tcp]
    assert payloads.count(b"hello") == 2


def test_a_stage_that_dies(default_image: str) -> None:
    """The chain ends with its name, also if nothing is under way that would notice."""
    text = "tcp 10.0.0.2 7 | route | nat | route | host 10.0.0.2 --echo 7"
    with echoed(default_image, text) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 5
        os.kill(int(children[2]), signal.SIGKILL)
        assert process.wait(PATIENCE) == 128 + signal.SIGKILL
        assert b"rumpel nf chain: nat ended with 137" in rest(process)
